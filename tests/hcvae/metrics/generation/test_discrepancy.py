import numpy as np
import pytest

from hcvae.errors import UserError
from hcvae.metrics.generation import maximum_mean_discrepancy


def by_definition(real, generated, bandwidth):
    """Lemma 6 of Gretton et al. 2012: three means over pairs of different rows."""

    def kernel(a, b):
        return np.exp(-np.sum((a - b) ** 2) / (2 * bandwidth**2))

    def within(rows):
        return np.mean([kernel(a, b) for i, a in enumerate(rows) for j, b in enumerate(rows) if i != j])

    return within(real) + within(generated) - 2 * np.mean([kernel(x, y) for x in real for y in generated])


def test_the_published_definition():
    random = np.random.default_rng(0)
    real, generated = random.normal(size=(30, 3)), random.normal(0.5, 1, size=(20, 3))
    pooled = np.concatenate([real, generated])
    pairs = [np.linalg.norm(a - b) for i, a in enumerate(pooled) for b in pooled[:i]]
    squared_median = np.sqrt(np.median(np.square(pairs)))
    expected = by_definition(real, generated, squared_median)
    assert maximum_mean_discrepancy(real, generated) == pytest.approx(expected)


def test_equal_distributions_give_zero_within_the_standard_error():
    random = np.random.default_rng(1)
    found = [maximum_mean_discrepancy(*random.normal(size=(2, 60, 3))) for _ in range(200)]
    error = np.std(found) / np.sqrt(len(found))
    assert abs(np.mean(found)) < 4 * error
    assert error < 1e-3  # the biased estimate is 2 (1 - mean kernel) / 60, about 0.02, too high
    shifted = maximum_mean_discrepancy(random.normal(size=(60, 3)), random.normal(0.7, 1, size=(60, 3)))
    assert shifted > 3 * np.std(found)


def test_gaussians_have_a_known_discrepancy():
    """E k of x - y ~ N(m, 2) with kernel width s is sqrt(s^2 / (s^2 + 2)) exp(-m^2 / (2 (s^2 + 2)))."""
    random = np.random.default_rng(2)
    real, generated = random.normal(size=(2000, 1)), random.normal(3, 1, size=(2000, 1))
    pooled = np.concatenate([real, generated])[:, 0]
    width = np.median(np.abs(pooled[:, None] - pooled)[np.triu_indices(4000, 1)])
    expected = 2 * np.sqrt(width**2 / (width**2 + 2)) * -np.expm1(-9 / (2 * (width**2 + 2)))
    assert maximum_mean_discrepancy(real, generated) == pytest.approx(expected, rel=0.05)


def test_many_rows_are_drawn_by_the_seed():
    random = np.random.default_rng(3)
    real, generated = random.normal(size=(2001, 1)), random.normal(size=(2001, 1))
    first, again, other = (maximum_mean_discrepancy(real, generated, seed=seed) for seed in (0, 0, 1))
    assert first == again != other


def test_rows_that_do_not_differ_are_refused():
    with pytest.raises(UserError, match="rows must differ"):
        maximum_mean_discrepancy(np.ones((5, 2)), np.ones((5, 2)))
