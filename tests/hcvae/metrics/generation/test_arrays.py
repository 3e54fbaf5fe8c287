import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from hcvae.errors import UserError
from hcvae.metrics.generation import standardised


def test_the_scale_is_the_real_features():
    random = np.random.default_rng(0)
    real, generated = random.normal(5, 3, (50, 4)), random.normal(0, 1, (30, 4))
    scaler = StandardScaler().fit(real)
    for found, expected in zip(standardised(real, generated), map(scaler.transform, (real, generated)), strict=True):
        np.testing.assert_allclose(found, expected)


def test_features_that_are_constant_in_the_recordings_are_dropped_from_both():
    random = np.random.default_rng(0)
    real, generated = random.normal(size=(2, 20, 3))
    real[:, 1] = 0.1
    first, second = standardised(real, generated)
    assert first.shape == second.shape == (20, 2)
    np.testing.assert_allclose(first[:, 1], (real[:, 2] - real[:, 2].mean()) / real[:, 2].std())


@pytest.mark.parametrize(
    ("real", "generated", "message"),
    [
        (np.ones(5), np.ones((5, 1)), r"real: must have two dimensions, .* got the shape \(5,\)"),
        (np.eye(3), np.eye(3)[:, :2], "generated: must have the 3 features of real, but got 2"),
        (np.eye(3), np.full((3, 3), np.nan), "generated: .* infinity in 3 of 3 rows"),
        (np.ones((4, 2)), np.eye(2), "real: features must vary, but got 4 equal rows"),
    ],
)
def test_bad_input_is_refused(real, generated, message):
    with pytest.raises(UserError, match=message):
        standardised(real, generated)
