import numpy as np
import pytest

from hcvae.metrics.fidelity import IndependentReference
from hcvae.metrics.regression import ConditionResidual


def reference(first, second):
    regression = ConditionResidual.fit(np.ones((len(first), 1)))
    rows = np.ones(len(first), dtype=bool)
    return IndependentReference(rows, regression, {"a": regression.residual(first)}, {"a": regression.residual(second)})


def test_reliability_of_one_coordinate_is_the_correlation():
    random = np.random.default_rng(0)
    first = random.standard_normal((300, 1))
    second = first + random.standard_normal((300, 1))
    reliability = reference(first, second).reliability("a")
    assert reliability.correlation == pytest.approx(np.corrcoef(first[:, 0], second[:, 0])[0, 1])
    quantile = 3.02536  # of Student's t with 298 degrees, exceeded in 1 of 741 cases; t = r sqrt(298 / (1 - r^2))
    assert reliability.chance == pytest.approx(quantile / np.sqrt(298 + quantile**2), rel=1e-4)


def test_chance_equals_that_of_sampled_permutations():
    random = np.random.default_rng(0)
    signal = random.standard_normal((200, 4)) * [3, 1, 1, 0.2]
    first, second = signal + random.standard_normal((2, 200, 4))
    pairs = reference(first, second)
    r, s = pairs.residuals["a"], pairs.independent["a"]
    scale = np.sqrt(np.sum(r**2) * np.sum(s**2))
    drawn = [np.sum(r * s[random.permutation(200)]) / scale for _ in range(20_000)]
    assert pairs.reliability("a").chance == pytest.approx(3 * np.std(drawn), rel=0.02)


@pytest.mark.parametrize("rows", [6, 12, 24])
def test_noise_exceeds_chance_in_one_of_741_cases_for_few_rows_too(rows):
    """Beyond a condition of two or three terms, which leaves fewer degrees of freedom than there are rows."""
    random = np.random.default_rng(rows)
    regression = ConditionResidual.fit(np.resize([0.0, 1.0, 2.0][: 2 + (rows > 6)], (rows, 1)))
    all_rows, above = np.ones(rows, bool), 0
    for _ in range(10_000):
        first, second = (regression.residual(random.standard_normal((rows, 1))) for _ in range(2))
        found = IndependentReference(all_rows, regression, {"a": first}, {"a": second}).reliability("a")
        above += found.correlation > found.chance
    assert 4 <= above <= 27  # 13.5 expected; a normal's 3 standard deviations are exceeded by none, or by many more


def test_an_attribute_without_coordinates_is_not_reliable():
    assert reference(np.ones((50, 0)), np.ones((50, 0))).reliability("a") == (0.0, 0.0)


def test_copied_noise_does_not_change_the_fidelity():
    random = np.random.default_rng(0)
    clean = random.standard_normal((20_000, 2))
    first, second = clean + random.standard_normal((2, 20_000, 2))  # half of the variance is noise
    pairs = reference(first, second)
    assert pairs.fidelity("a", 0.4 * clean) == pytest.approx(0.4, abs=0.01)
    assert pairs.fidelity("a", 0.4 * first) == pytest.approx(0.4, abs=1e-9)
    assert pairs.fidelity("a", clean) == pytest.approx(1, abs=0.02)
    assert pairs.fidelity("a", 3 * first) == 1
    assert pairs.fidelity("a", -clean) == 0
