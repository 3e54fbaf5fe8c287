"""Properties of all metrics with known factors: what they must not depend on, and which tables they refuse."""

from dataclasses import astuple

import numpy as np
import pytest

from hcvae.errors import UserError
from hcvae.metrics.disentanglement import (
    dci,
    gaussian_total_correlation,
    modularity,
    mutual_information_gap,
    separated_attribute_predictability,
)

random = np.random.default_rng(0)
FACTORS = np.column_stack([random.integers(0, 2, 300), random.integers(0, 3, 300), random.uniform(size=300)])
CODES = FACTORS @ random.standard_normal((3, 4)) + 0.3 * random.standard_normal((300, 4))

METRICS = {
    "mig": mutual_information_gap,
    "sap": separated_attribute_predictability,
    "modularity": modularity,
    "dci": lambda codes, factors: astuple(dci(codes, factors)),
    "total correlation": lambda codes, factors: gaussian_total_correlation(codes),
}
WITH_FACTORS = {name: metric for name, metric in METRICS.items() if name != "total correlation"}


@pytest.fixture(params=METRICS)
def metric(request):
    return METRICS[request.param]


@pytest.fixture(params=WITH_FACTORS)
def with_factors(request):
    return WITH_FACTORS[request.param]


def test_order_sign_and_scale_of_the_codes_do_not_matter(metric):
    value = metric(CODES, FACTORS)
    assert metric(CODES[:, [2, 0, 3, 1]], FACTORS) == pytest.approx(value, abs=5e-3)
    assert metric(CODES * [1000.0, 0.01, 1.0, 7.0] + 3, FACTORS) == pytest.approx(value, abs=5e-3)
    assert metric(-CODES, FACTORS) == pytest.approx(value, abs=0.02)


def test_order_of_the_factors_does_not_matter(with_factors):
    assert with_factors(CODES, FACTORS[:, [2, 0, 1]]) == pytest.approx(with_factors(CODES, FACTORS), abs=1e-9)


def test_shuffled_rows_share_no_information():
    shuffled = np.random.default_rng(1).permutation(CODES)
    assert mutual_information_gap(shuffled, FACTORS) < 0.05
    assert separated_attribute_predictability(shuffled, FACTORS) < 0.02
    assert dci(shuffled, FACTORS).informativeness < 0.3


def changed(table, row, column, value):
    table = table.copy()
    table[row, column] = value
    return table


@pytest.mark.parametrize(
    ("codes", "factors", "message"),
    [
        (CODES[:10], FACTORS, "factors: must have a row for each of the 10 rows of codes, but got 300 rows"),
        (changed(CODES, 7, 1, np.nan), FACTORS, "codes: .* NaN or infinity in 1 of 300 rows, first 7"),
        (CODES, changed(FACTORS, 8, 0, np.inf), "factors: .* NaN or infinity in 1 of 300 rows, first 8"),
        (CODES, changed(FACTORS, slice(None), 1, 2), "factors: .* got 2 in all 300 rows of column 1"),
        (CODES, FACTORS[:, 0], r"factors: must have two dimensions, .* got the shape \(300,\)"),
        (CODES[:0], FACTORS[:0], r"codes: must have at least 1 row, but got 0"),
    ],
)
def test_tables_that_do_not_fit_are_refused(with_factors, codes, factors, message):
    with pytest.raises(UserError, match=message):
        with_factors(codes, factors)


@pytest.mark.parametrize("metric", [mutual_information_gap, separated_attribute_predictability, dci])
def test_a_gap_needs_two_codes(metric):
    with pytest.raises(UserError, match=r"codes: must have at least 2 columns, but got 1"):
        metric(CODES[:, :1], FACTORS)


@pytest.mark.parametrize("metric", [modularity, dci])
def test_a_comparison_of_factors_needs_two(metric):
    with pytest.raises(UserError, match=r"factors: must have at least 2 columns, but got 1"):
        metric(CODES, FACTORS[:, :1])


def test_total_correlation_refuses_values_that_are_not_finite():
    with pytest.raises(UserError, match=r"codes: .* first 7"):
        gaussian_total_correlation(changed(CODES, 7, 1, np.nan))
