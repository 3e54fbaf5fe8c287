import numpy as np
import pytest
from scipy.stats import linregress
from sklearn.datasets import make_regression

from hcvae.metrics.disentanglement import separated_attribute_predictability


def test_by_the_r2_of_straight_lines():
    factors, codes = make_regression(n_samples=300, n_features=3, n_targets=6, noise=20.0, random_state=0)
    gaps = []
    for factor in factors.T:
        second, best = sorted(linregress(code, factor).rvalue ** 2 for code in codes.T)[-2:]
        gaps.append(best - second)
    assert separated_attribute_predictability(codes, factors) == pytest.approx(np.mean(gaps), abs=1e-12)
    assert 0.02 < np.mean(gaps) < 0.9


def orthonormal(columns):
    """Columns of mean 0 and no sample correlation at all, [100, columns]."""
    random = np.random.default_rng(0).standard_normal((100, columns))
    return np.linalg.qr(random - random.mean(axis=0))[0]


def test_closed_forms():
    factors, noise = np.split(orthonormal(4), 2, axis=1)
    assert separated_attribute_predictability(factors, factors) == pytest.approx(1)
    assert separated_attribute_predictability(factors + 0.5 * noise, factors) == pytest.approx(1 / 1.25)
    assert separated_attribute_predictability(np.hstack([factors, factors]), factors) == pytest.approx(0)
    angle = np.pi / 6  # cos^2 - sin^2 of the rotation
    rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    assert separated_attribute_predictability(factors @ rotation, factors) == pytest.approx(np.cos(2 * angle))


def test_idle_codes_predict_nothing():
    factors = orthonormal(2)
    one_idle = np.column_stack([factors[:, 0], np.full(100, 0.1)])
    assert separated_attribute_predictability(one_idle, factors) == pytest.approx(0.5)
    assert separated_attribute_predictability(np.full((100, 2), 0.1), factors) == 0
