import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.stats import ranksums

from hcvae.errors import UserError
from hcvae.metrics.generation import memorisation


def test_share_and_z_by_definition():
    random = np.random.default_rng(0)
    generated, train, held_out = (
        random.normal(0.3, 1, (40, 3)),
        random.normal(size=(50, 3)),
        random.normal(size=(30, 3)),
    )
    of_generated, of_held_out = (cdist(rows, train).min(axis=1) for rows in (generated, held_out))
    result = memorisation(generated, train, held_out)
    assert result.share_nearer == pytest.approx(np.mean(of_generated[:, None] < of_held_out))
    assert result.z == pytest.approx(ranksums(of_generated, of_held_out).statistic)


def test_new_rows_of_the_distribution_give_a_standard_normal_z():
    random = np.random.default_rng(1)
    found = [memorisation(*random.normal(size=(3, 50, 4))).z for _ in range(300)]
    assert np.mean(found) == pytest.approx(0, abs=4 / np.sqrt(300))
    assert np.std(found) == pytest.approx(1, abs=4 / np.sqrt(600))


def test_copies_are_flagged(recorded, trained_on):
    result = memorisation(trained_on.signals[:500], trained_on.signals, recorded.signals)
    assert result.share_nearer == 1
    assert result.z < -20


def test_copies_among_new_rows_are_flagged(recorded, resampled, trained_on):
    noise = np.random.default_rng(0).normal(0, 0.001, (400, 200))
    mixed = np.concatenate([resampled.signals[:1600], trained_on.signals[:400] + noise])
    assert memorisation(mixed, trained_on.signals, recorded.signals).z < -5


def test_new_recordings_are_not_flagged(recorded, resampled, trained_on):
    result = memorisation(resampled.signals, trained_on.signals, recorded.signals)
    assert abs(result.z) < 3
    assert result.share_nearer == pytest.approx(0.5, abs=0.03)


def test_rows_far_from_the_training_data_have_a_positive_z():
    train, held_out = np.random.default_rng(2).normal(size=(2, 100, 3))
    assert memorisation(held_out + 10, train, held_out).z > 10


def test_other_features_are_refused():
    with pytest.raises(UserError, match="must have the 3 features of real, but got 2"):
        memorisation(np.eye(2), np.eye(3), np.eye(3))
