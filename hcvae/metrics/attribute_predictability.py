"""The SAP score: how much better the best code predicts a factor linearly than the second best.

Shapes: N rows, D codes (latent dimensions), F factors.
"""

import numpy as np
from numpy.typing import ArrayLike

from hcvae.arrays import FloatArray
from hcvae.metrics.checks import checked_codes_and_factors


def separated_attribute_predictability(codes: ArrayLike, factors: ArrayLike) -> float:
    """Return SAP for continuous factors: the gap between the two largest squared correlations, mean over the factors.

    A constant code predicts nothing. Factors with few levels are treated as continuous, too: the published variant for
    them, the accuracy of a linear classifier, is not implemented.

    Args:
        codes: latent means, [N, D], with 2 codes or more.
        factors: known factors, [N, F].

    Raises:
        UserError: fewer than 2 codes, different numbers of rows, values that are not finite, or a constant factor.

    Source: Kumar et al. 2018, "Variational inference of disentangled latent concepts from unlabeled observations",
    ICLR, section 3; Locatello et al. 2019, arXiv 1811.12359.
    """
    code_table, factor_table = checked_codes_and_factors(codes, factors, min_codes=2)
    correlation = _unit_columns(code_table).T @ _unit_columns(factor_table)
    second, first = np.sort(correlation**2, axis=0)[-2:]
    return float(np.mean(first - second))


def _unit_columns(table: FloatArray) -> FloatArray:
    """Return the columns scaled to mean 0 and length 1; constant columns become 0."""
    varies = np.ptp(table, axis=0) > 0
    centred = np.where(varies, table - table.mean(axis=0), 0.0)
    return centred / np.where(varies, np.linalg.norm(centred, axis=0), 1.0)
