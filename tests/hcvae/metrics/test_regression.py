import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import PolynomialFeatures

from hcvae.errors import UserError
from hcvae.metrics.regression import ConditionResidual


def conditions(n):
    """Two numbers, a one-hot pair, and a column that does not vary: rank 1 + 2 + 3 + 1 + 2 = 9."""
    random = np.random.default_rng(0)
    female = random.integers(0, 2, n)
    numbers = random.standard_normal((n, 2)).astype(np.float32)
    return np.column_stack([numbers, female, 1 - female, np.full(n, 0.1)]).astype(np.float64)


def test_residual_is_that_of_all_quadratic_terms():
    condition = conditions(500)
    values = (
        np.random.default_rng(1).standard_normal((500, 3)) + condition[:, :1] * condition[:, 1:2] + condition[:, 2:3]
    )
    terms = PolynomialFeatures(degree=2).fit_transform(condition)
    expected = values - LinearRegression().fit(terms, values).predict(terms)
    regression = ConditionResidual.fit(condition)
    residual = regression.residual(values)
    assert residual == pytest.approx(expected, abs=1e-9)
    assert regression.covariance(residual, residual) == pytest.approx(np.sum(expected**2) / (500 - 9))


def test_collinear_terms_do_not_count_twice():
    assert ConditionResidual.fit(conditions(500)).basis.shape == (500, 9)


def test_scale_and_origin_of_the_condition_do_not_matter():
    assert ConditionResidual.fit(conditions(500) * [1, 1e-4, 1, 1, 1] + [1e4, 0, 0, 0, 0]).basis.shape[1] == 9


def test_a_constant_condition_leaves_the_deviation_from_the_mean():
    values = np.random.default_rng(0).standard_normal((10, 2))
    assert ConditionResidual.fit(np.ones((10, 3))).residual(values) == pytest.approx(values - values.mean(axis=0))


def test_three_rows_for_each_term():
    ConditionResidual.fit(conditions(27))
    with pytest.raises(UserError, match=r"26 waveforms are too few .* 9 independent terms .*: 27 are needed"):
        ConditionResidual.fit(conditions(26))
