"""Disentanglement, completeness and informativeness, from boosted trees that predict known factors from the codes.

Shapes: N rows, D codes (latent dimensions), F factors.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import entropy
from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor

from hcvae.arrays import FloatArray
from hcvae.errors import UserError
from hcvae.metrics.checks import checked_codes_and_factors


@dataclass(frozen=True)
class DCI:
    """The three scores; 1 is best."""

    disentanglement: float
    """Whether a code is important for only one factor: 1 - entropy over the factors, weighted by importance."""
    completeness: float
    """Whether only one code is important for a factor: 1 - entropy over the codes, weighted by importance."""
    informativeness: float
    """How well the codes predict the factors of held-out rows: mean of accuracy (whole numbers) or R2."""


def dci(codes: ArrayLike, factors: ArrayLike, seed: int = 0) -> DCI:
    """Return the DCI of gradient boosting with scikit-learn's defaults, which are the published settings.

    For each factor an ensemble is trained on the first half of the rows and tested on the second. Its feature
    importances are the factor's column of the importance matrix [D, F]. A factor of whole numbers has a classifier,
    whose informativeness is its accuracy, as published. Any other factor has a regressor, whose informativeness is R2
    (below 0 if it predicts worse than the mean). Rows must be in random order.

    The cost is 100 trees for each factor, or for each class of a factor with three or more.

    Args:
        codes: latent means, [N, D], with 2 codes or more.
        factors: known factors, [N, F], with 2 factors or more.
        seed: seed of the order in which a tree tries the codes; it decides only between equal splits.

    Raises:
        UserError: fewer than 2 codes or factors, different numbers of rows, values that are not finite, or a factor
            that is constant in either half.

    Source: Eastwood and Williams 2018, "A framework for the quantitative evaluation of disentangled representations",
    ICLR; Locatello et al. 2019, arXiv 1811.12359.
    """
    code_table, factor_table = checked_codes_and_factors(codes, factors, min_codes=2, min_factors=2)
    half = len(code_table) // 2
    _check_varies("first", factor_table[:half])
    _check_varies("second", factor_table[half:])
    importances = []
    scores = []
    for factor in factor_table.T:
        is_complete = (factor == np.round(factor)).all()
        kind = GradientBoostingClassifier if is_complete else GradientBoostingRegressor
        ensemble = kind(random_state=seed).fit(code_table[:half], factor[:half])
        importances.append(ensemble.feature_importances_)
        scores.append(ensemble.score(code_table[half:], factor[half:]))
    importance = np.column_stack(importances)
    return DCI(_concentration(importance.T), _concentration(importance), float(np.mean(scores)))


def _concentration(importance: FloatArray) -> float:
    """Return 1 - relative entropy of each column, weighted by the columns' sums; 0 if all importances are 0.

    The entropy is in units of its maximum.
    """
    total = importance.sum()
    if total == 0:
        return 0.0
    used = importance[:, importance.sum(axis=0) > 0]
    return float((1 - entropy(used, base=len(used))) @ used.sum(axis=0) / total)


def _check_varies(half: str, factors: FloatArray) -> None:
    constant = np.flatnonzero((factors == factors[:1]).all(axis=0))
    if len(constant):
        raise UserError(
            f"factors: each factor must vary in either half of the rows, but column {constant[0]} has one value in the "
            f"{len(factors)} rows of the {half} half; shuffle the rows or give more"
        )
