"""Models that reconstruct no better than the mean: NMSE 1 by its definition."""

import numpy as np
import pytest

from hcvae.metrics.reconstruction import nmse
from hcvae.poor_reconstruction import poor_reconstruction, reconstruction_warning


def test_the_mean_itself_is_poor():
    waveforms = np.random.default_rng(0).normal(size=(50, 40))
    mean = np.broadcast_to(waveforms.mean(), waveforms.shape)
    value = nmse(mean, waveforms, np.zeros(50, np.int64))
    assert value == pytest.approx(1)
    assert poor_reconstruction({"validation": max(value, 1.0)}) is not None


@pytest.mark.parametrize(
    ("metrics", "evidence"),
    [
        ({"validation": 1.0001, "test": 0.9}, "1.0001 on the validation part"),
        ({"validation": 0.9, "test": 1.2}, "1.2000 on the test part"),
        ({"validation": 1.5, "test": 2.0}, "1.5000 on the validation part and 2.0000 on the test part"),
    ],
)
def test_the_parts_and_numbers_are_named(metrics, evidence):
    found = poor_reconstruction(metrics)
    assert evidence in found.evidence
    assert "--training.epochs" in found.remedy
    assert len(reconstruction_warning(metrics)) == 2


@pytest.mark.parametrize("metrics", [{}, {"validation": None}, {"validation": 0.9999, "test": 0.5}])
def test_better_models_have_no_warning(metrics):
    assert poor_reconstruction(metrics) is None
    assert reconstruction_warning(metrics) == []
