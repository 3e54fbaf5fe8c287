import numpy as np
import pytest

from hcvae.errors import UserError
from hcvae.metrics.disentanglement import gaussian_total_correlation


def codes_of_correlation(correlation, n=50):
    """Codes whose sample correlations are exactly these, [n, D]."""
    random = np.random.default_rng(0).standard_normal((n, len(correlation)))
    white = np.linalg.qr(random - random.mean(axis=0))[0]
    return white @ np.linalg.cholesky(correlation).T


@pytest.mark.parametrize("rho", [0.0, 0.5, -0.9, 1 - 1e-9])
def test_two_codes(rho):
    codes = codes_of_correlation(np.array([[1, rho], [rho, 1]]))
    assert gaussian_total_correlation(codes) == pytest.approx(-0.5 * np.log1p(-(rho**2)), rel=1e-5, abs=1e-12)


@pytest.mark.parametrize("dims", [3, 10])
def test_equal_correlations(dims):
    # det R = (1 - rho)^(D - 1) (1 + (D - 1) rho)
    codes = codes_of_correlation(np.full((dims, dims), 0.3) + 0.7 * np.eye(dims))
    expected = -0.5 * ((dims - 1) * np.log(0.7) + np.log(1 + (dims - 1) * 0.3))
    assert gaussian_total_correlation(codes) == pytest.approx(expected, rel=1e-9)


def test_by_the_published_formula_on_the_covariance():
    random = np.random.default_rng(1)
    codes = random.standard_normal((500, 6)) @ random.standard_normal((6, 6)) + 100
    covariance = np.cov(codes, rowvar=False)
    expected = 0.5 * (np.sum(np.log(np.diag(covariance))) - np.linalg.slogdet(covariance)[1])
    assert gaussian_total_correlation(codes) == pytest.approx(expected, rel=1e-9)


def test_duplicated_codes_are_infinitely_dependent():
    codes = np.random.default_rng(0).standard_normal((50, 3))
    assert gaussian_total_correlation(codes[:, [0, 1, 2, 1]]) == np.inf
    assert gaussian_total_correlation(np.column_stack([codes, codes.sum(axis=1)])) == np.inf


def test_idle_codes_add_nothing():
    codes = codes_of_correlation(np.array([[1, 0.5], [0.5, 1]]))
    idle = np.full((50, 2), 0.1)
    assert gaussian_total_correlation(np.hstack([codes, idle])) == pytest.approx(-0.5 * np.log(0.75))
    assert gaussian_total_correlation(idle) == 0


def test_as_many_codes_as_rows_are_refused():
    with pytest.raises(UserError, match=r"codes: more rows than codes .* got shape \(5, 5\)"):
        gaussian_total_correlation(np.random.default_rng(0).standard_normal((5, 5)))
