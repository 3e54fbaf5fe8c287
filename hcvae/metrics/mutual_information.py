"""The mutual information of each code with each known factor, and two scores that are computed from it.

Shapes: N rows, D codes (latent dimensions), F factors.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import entropy

from hcvae.arrays import FloatArray
from hcvae.metrics.checks import checked_codes_and_factors

BINS = 20
"""Number of bins in Locatello et al. 2019."""
ROUNDING = 1e-12
"""Rounding error of a difference of entropies, in nats."""


def mutual_information_gap(codes: ArrayLike, factors: ArrayLike, bins: int = BINS) -> float:
    """Return MIG: the gap in mutual information between the best and the second code, over the factor's entropy.

    The mutual information in nats is the plug-in estimate for the binned code and the factor; the score is the mean
    over the factors. It is 1 if each factor is determined by one code alone, and 0 if two codes hold the same
    information about it, or none holds any. The plug-in estimate is too high if bins have few rows.

    Codes are divided into bins of equal width between their minimum and maximum, as in disentanglement_lib. A factor of
    whole numbers is not binned; any other factor is divided into as many bins of equal width as the codes.

    Args:
        codes: latent means, [N, D], with 2 codes or more.
        factors: known factors, [N, F].
        bins: number of bins.

    Raises:
        UserError: fewer than 2 codes, different numbers of rows, values that are not finite, or a constant factor.

    Source: Chen et al. 2018, arXiv 1802.04942; Locatello et al. 2019, arXiv 1811.12359.
    """
    code_table, factor_table = checked_codes_and_factors(codes, factors, min_codes=2)
    levels = _levels(factor_table, bins)
    second, first = np.sort(_mutual_information(_binned(code_table, bins), levels), axis=0)[-2:]
    return float(np.mean((first - second) / _entropies(levels)))


def modularity(codes: ArrayLike, factors: ArrayLike, bins: int = BINS) -> float:
    """Return to what extent each code is informative about only one factor; 1 is best.

    With m the mutual information of a code with its best factor, the score of a code is 1 minus the sum of its squared
    mutual information with the other F - 1 factors over m^2 (F - 1), or 0 if m is 0. The result is the mean over the
    codes. It does not measure how much of a factor the codes hold. Bins are those of `mutual_information_gap`.

    Args:
        codes: latent means, [N, D].
        factors: known factors, [N, F], with 2 factors or more.
        bins: number of bins.

    Raises:
        UserError: fewer than 2 factors, different numbers of rows, values that are not finite, or a constant factor.

    Source: Ridgeway and Mozer 2018, arXiv 1802.05312; Locatello et al. 2019, arXiv 1811.12359.
    """
    code_table, factor_table = checked_codes_and_factors(codes, factors, min_factors=2)
    squared = _mutual_information(_binned(code_table, bins), _levels(factor_table, bins)) ** 2
    best = squared.max(axis=1)
    others = squared.sum(axis=1) - best
    spread = np.divide(others, best * (squared.shape[1] - 1), out=np.ones_like(best), where=best > 0)
    return float(np.mean(1 - spread))


def _mutual_information(codes: NDArray[np.int64], factors: NDArray[np.int64]) -> FloatArray:
    """Return the plug-in mutual information in nats of labels [N, D] with labels [N, F], [D, F].

    It is H(code) + H(factor) - H(both), as in scikit-learn's `mutual_info_score`, which sorts the labels of each pair
    again and takes five times as long.
    """
    ranks = np.apply_along_axis(_ranks, 0, factors)
    joint = np.array([_entropies(code[:, None] * len(codes) + ranks) for code in codes.T])
    information = _entropies(codes)[:, None] + _entropies(factors) - joint
    return np.where(information > ROUNDING, information, 0.0)


def _ranks(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the position of each label [N] among the different ones, [N]."""
    _, ranks = np.unique(labels, return_inverse=True)
    return ranks


def _entropies(labels: NDArray[np.int64]) -> FloatArray:
    """Return the entropy in nats of each column of labels [N, D], [D]."""
    entropies = []
    for column in labels.T:
        _, counts = np.unique(column, return_counts=True)
        entropies.append(entropy(counts))
    return np.array(entropies)


def _levels(factors: FloatArray, bins: int) -> NDArray[np.int64]:
    """Return factors of whole numbers unchanged, and the bins of all others, [N, F]."""
    whole = (factors == np.round(factors)).all(axis=0)
    return np.where(whole, factors.astype(np.int64), _binned(factors, bins))


def _binned(values: FloatArray, bins: int) -> NDArray[np.int64]:
    """Return the bin of each value, between its column's minimum and maximum, [N, D]."""
    binned = []
    for column in values.T:
        edges = np.histogram_bin_edges(column, bins)
        binned.append(np.digitize(column, edges[:-1]))
    return np.column_stack(binned)
