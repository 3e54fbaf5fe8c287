from dataclasses import FrozenInstanceError, astuple

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.metrics import r2_score

from hcvae.errors import UserError
from hcvae.metrics.disentanglement import dci

random = np.random.default_rng(0)
LEVELS = random.integers(0, 3, (600, 2))
AMOUNTS = random.uniform(-1, 1, (600, 2))


def test_by_the_published_formulas():
    mixing = np.array([[1, 0.3], [0.2, 1], [0.5, 0.5]])
    codes = LEVELS @ mixing.T + 0.2 * np.random.default_rng(1).standard_normal((600, 3))
    importance, accuracy = np.zeros((3, 2)), np.zeros(2)
    for f, factor in enumerate(LEVELS.T):
        model = GradientBoostingClassifier(random_state=5).fit(codes[:300], factor[:300])
        importance[:, f] = model.feature_importances_
        accuracy[f] = np.mean(model.predict(codes[300:]) == factor[300:])
    over_factors = importance / importance.sum(axis=1, keepdims=True)  # P of equation 1: of a code, over factors
    over_codes = importance / importance.sum(axis=0)
    per_code = 1 + np.sum(over_factors * np.log(over_factors), axis=1) / np.log(2)
    per_factor = 1 + np.sum(over_codes * np.log(over_codes), axis=0) / np.log(3)
    disentanglement = np.average(per_code, weights=importance.sum(axis=1))
    completeness = np.average(per_factor, weights=importance.sum(axis=0))
    result = dci(codes, LEVELS)
    assert astuple(result) == pytest.approx((disentanglement, completeness, accuracy.mean()), abs=0.02)
    assert 0.1 < completeness < 0.95
    assert 0.1 < disentanglement < 0.95


def test_one_code_for_each_factor_is_perfect():
    assert astuple(dci(LEVELS, LEVELS)) == pytest.approx((1, 1, 1), abs=1e-6)
    assert astuple(dci(AMOUNTS, AMOUNTS)) == pytest.approx((1, 1, 1), abs=0.02)


def test_levels_and_amounts_together():
    factors = np.column_stack([LEVELS[:, 0], AMOUNTS[:, 0]])
    codes = np.column_stack([factors[:, 0], np.random.default_rng(1).standard_normal(600)])
    informativeness = dci(codes, factors).informativeness
    assert informativeness == pytest.approx(0.5, abs=0.15)  # accuracy 1, and an R2 near 0
    assert informativeness < 0.5  # of noise, the R2 on other rows is below 0; no accuracy is


def test_rotated_codes():
    result = dci(AMOUNTS @ [[1, 1], [1, -1]], AMOUNTS)
    assert result.disentanglement == pytest.approx(0, abs=0.05)
    assert result.completeness == pytest.approx(0, abs=0.05)
    assert result.informativeness > 0.9


def test_a_factor_in_two_codes_is_disentangled_but_incomplete():
    codes = np.column_stack([LEVELS[:, 0] >= 1, LEVELS[:, 0] >= 2, LEVELS[:, 1]])
    result = dci(codes, LEVELS)
    assert result.disentanglement == pytest.approx(1, abs=1e-6)
    assert result.completeness < 0.8
    assert result.informativeness == 1


def test_codes_without_information():
    assert astuple(dci(np.ones((600, 3)), LEVELS))[:2] == (0, 0)


def test_it_tests_on_rows_that_were_not_trained_on():
    labels = np.random.default_rng(1).integers(0, 2, (600, 2))
    noise = np.random.default_rng(2).standard_normal((600, 3))
    assert dci(noise, labels).informativeness == pytest.approx(0.5, abs=0.08)


def test_informativeness_of_amounts_is_r2():
    codes = np.sign(AMOUNTS)  # the best prediction from the sign is +-1/2: R2 = 1 - (1/12) / (1/3)
    assert dci(codes, AMOUNTS).informativeness == pytest.approx(0.75, abs=0.03)
    assert r2_score(AMOUNTS, codes / 2) == pytest.approx(0.75, abs=0.03)


def test_a_factor_that_is_constant_in_a_half_is_refused():
    factors = np.column_stack([np.arange(600) // 300, LEVELS[:, 0]])
    with pytest.raises(UserError, match="column 0 has one value in the 300 rows of the first half; shuffle"):
        dci(AMOUNTS, factors)


def test_the_result_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        dci(LEVELS[:100], LEVELS[:100]).completeness = 1.0
