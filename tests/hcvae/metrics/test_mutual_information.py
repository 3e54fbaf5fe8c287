from itertools import product

import numpy as np
import pytest

from hcvae.metrics.disentanglement import modularity, mutual_information_gap

GRID = np.array(list(product(range(4), range(4), range(4))), dtype=float)
"""Three independent factors of four levels, every combination once."""


@pytest.fixture
def table():
    """Codes that mix four factors of 3, 5, 2 and 7 levels, with noise and an idle code."""
    random = np.random.default_rng(0)
    factors = np.column_stack([random.integers(0, levels, 3000) for levels in (3, 5, 2, 7)])
    mixed = factors @ random.standard_normal((4, 5)) + 0.5 * random.standard_normal((3000, 5))
    return np.column_stack([factors[:, 0], mixed, random.standard_normal(3000)]), factors


def information(codes, factors, bins):
    """Mutual information in nats from the joint histogram: sum p(x, y) ln(p(x, y) / p(x) p(y)), [D, F]."""
    result = np.zeros((codes.shape[1], factors.shape[1]))
    for (d, code), (f, factor) in product(enumerate(codes.T), enumerate(factors.T)):
        edges = np.linspace(code.min(), code.max(), bins + 1)
        levels = np.append(np.unique(factor), np.inf)
        joint = np.histogram2d(code, factor, [edges, levels])[0] / len(code)
        independent = np.outer(joint.sum(axis=1), joint.sum(axis=0))
        seen = joint > 0
        result[d, f] = np.sum(joint[seen] * np.log(joint[seen] / independent[seen]))
    return result


@pytest.mark.parametrize("bins", [20, 7])
def test_mig_by_its_definition(table, bins):
    codes, factors = table
    gaps = []
    for column, factor in zip(information(codes, factors, bins).T, factors.T, strict=True):
        p = np.unique(factor, return_counts=True)[1] / len(factor)
        best, second, *_ = sorted(column, reverse=True)
        gaps.append((best - second) / -np.sum(p * np.log(p)))
    assert mutual_information_gap(codes, factors, bins) == pytest.approx(np.mean(gaps), abs=1e-9)
    assert 0.05 < np.mean(gaps) < 0.9


@pytest.mark.parametrize("bins", [20, 7])
def test_modularity_by_its_definition(table, bins):
    codes, factors = table
    scores = []
    for row in information(codes, factors, bins):
        ideal = np.where(np.arange(4) == np.argmax(row), row.max(), 0)
        scores.append(1 - np.sum((row - ideal) ** 2) / (row.max() ** 2 * 3))
    assert modularity(codes, factors, bins) == pytest.approx(np.mean(scores), abs=1e-9)
    assert 0.2 < np.mean(scores) < 0.99


def test_one_code_for_each_factor_is_perfect():
    assert mutual_information_gap(GRID, GRID) == pytest.approx(1, abs=1e-12)
    assert modularity(GRID, GRID) == pytest.approx(1, abs=1e-12)


def test_a_duplicated_code_has_no_gap_and_stays_modular():
    twice = np.hstack([GRID, GRID])
    assert mutual_information_gap(twice, GRID) == pytest.approx(0, abs=1e-12)
    assert modularity(twice, GRID) == pytest.approx(1, abs=1e-12)


def test_a_noiseless_half_of_a_factor():
    # the code separates levels {0, 1} from {2, 3}: ln 2 of the ln 4 nats; the other codes have no information about it
    codes = np.column_stack([GRID[:, 0] // 2, GRID[:, 1], GRID[:, 2]])
    assert mutual_information_gap(codes, GRID) == pytest.approx((0.5 + 1 + 1) / 3, abs=1e-12)


def test_rotated_codes():
    factors = GRID[:, :2]
    rotated = factors @ [[1, 1], [1, -1]]  # sum and difference have the same information about either factor
    assert mutual_information_gap(rotated, factors) == pytest.approx(0, abs=1e-12)
    assert modularity(rotated, factors) == pytest.approx(0, abs=1e-12)


def test_a_code_of_two_factors_out_of_three_is_half_modular():
    code = 4 * GRID[:, :1] + GRID[:, 1:2]  # ln 4 nats of the first and the second, none of the third: 1 - 1 / 2
    assert modularity(code, GRID, bins=16) == pytest.approx(0.5, abs=1e-12)


def test_an_idle_code_counts_0():
    assert modularity(np.column_stack([GRID, np.ones(64)]), GRID) == pytest.approx(3 / 4, abs=1e-12)


def test_continuous_factors_are_binned_like_the_codes():
    factors = np.random.default_rng(0).uniform(size=(5000, 2))
    factors[:2] = [[0, 0], [1, 1]]
    binned = np.minimum(np.floor(10 * factors), 9)
    assert mutual_information_gap(factors, factors, 10) == mutual_information_gap(binned, binned, 10)
    assert modularity(factors, factors, 10) == modularity(binned, binned, 10)
    beside_whole = np.column_stack([factors[:, 0], binned[:, 1]])
    assert mutual_information_gap(factors, beside_whole, 10) == mutual_information_gap(factors, binned, 10)
