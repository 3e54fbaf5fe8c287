import numpy as np
import pytest
from scipy.linalg import sqrtm

from hcvae.metrics.generation import frechet_distance


def matched(random, n, mean, covariance):
    """n rows whose sample mean and covariance are exactly these."""
    rows = random.normal(size=(n, len(mean)))
    rows -= rows.mean(axis=0)
    white = rows @ np.linalg.inv(np.linalg.cholesky(np.cov(rows.T))).T
    return mean + white @ np.linalg.cholesky(covariance).T


def test_gaussians_with_commuting_covariances():
    random = np.random.default_rng(0)
    rotation = np.linalg.qr(random.normal(size=(3, 3)))[0]
    first = matched(random, 40, np.zeros(3), rotation @ np.diag([1.0, 4, 9]) @ rotation.T)
    second = matched(random, 60, np.array([1.0, 2, 2]), rotation @ np.diag([4.0, 4, 1]) @ rotation.T)
    assert frechet_distance(first, second) == pytest.approx(9 + 1 + 0 + 4)  # (s - t)^2 of deviations 1 2, 2 2, 3 1


def test_any_gaussians_as_in_the_published_formula():
    random = np.random.default_rng(1)
    roots = random.normal(size=(2, 5, 5))
    covariances = roots @ roots.transpose(0, 2, 1)
    means = random.normal(size=(2, 5))
    rows = [matched(random, 50, *moments) for moments in zip(means, covariances, strict=True)]
    root = sqrtm(covariances[0] @ covariances[1]).real
    expected = np.sum((means[0] - means[1]) ** 2) + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert frechet_distance(*rows) == pytest.approx(expected)


def test_singular_covariances():
    random = np.random.default_rng(2)
    line = np.array([[3.0, 4.0, 0.0]])
    first, second = (random.normal(size=(20, 1)) * scale @ line for scale in (1, 2))
    deviations = np.std(first @ line.T / 5, ddof=1), np.std(second @ line.T / 5, ddof=1)
    means = np.sum((first.mean(axis=0) - second.mean(axis=0)) ** 2)
    assert frechet_distance(first, second) == pytest.approx(means + (deviations[0] - deviations[1]) ** 2)


def test_fewer_rows_than_features():
    random = np.random.default_rng(3)
    first, second = random.normal(size=(6, 30)), random.normal(size=(4, 30))
    np.testing.assert_allclose(frechet_distance(first, first), 0, atol=1e-12)
    together = np.cov(first.T) @ np.cov(second.T)
    shared = np.sum(np.sqrt(np.maximum(np.linalg.eigvals(together).real, 0)))
    means = np.sum((first.mean(axis=0) - second.mean(axis=0)) ** 2)
    expected = means + np.trace(np.cov(first.T)) + np.trace(np.cov(second.T)) - 2 * shared
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-6)
