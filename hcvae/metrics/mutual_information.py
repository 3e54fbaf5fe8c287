"""How much information each code holds about each known factor, and the two scores that are made of it.

Shapes: N rows, D codes (latent dimensions), F factors.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import entropy

from hcvae.metrics.checks import checked_pair

BINS = 20  # of Locatello et al. 2019
ROUNDING = 1e-12  # of the difference of entropies, in nats


def mutual_information_gap(codes: ArrayLike, factors: ArrayLike, bins: int = BINS) -> float:
    """MIG: how much more one code says of a factor than any other code does, over the factor's entropy.

    The plug-in mutual information in nats between the binned code and the factor; its gap between the best and the
    second code over the entropy of the factor; the mean over the factors. 1: each factor is in one code, which alone
    determines it; 0: in two codes alike, or in none. The plug-in estimate is too high where bins hold few rows.

    Codes are cut into bins of equal width between their minimum and maximum, as in disentanglement_lib. A factor of
    whole numbers is taken as it is; any other is cut into as many bins of equal width as the codes.

    Args:
        codes: latent means, [N, D], with 2 codes or more.
        factors: known factors, [N, F].
        bins: number of bins.

    Raises:
        UserError: fewer than 2 codes, different numbers of rows, values that are not finite, or a constant factor.

    Source: Chen et al. 2018, arXiv 1802.04942; Locatello et al. 2019, arXiv 1811.12359.
    """
    code_table, factor_table = checked_pair(codes, factors, codes_at_least=2)
    levels = _levels(factor_table, bins)
    second, first = np.sort(_mutual_information(_binned(code_table, bins), levels), axis=0)[-2:]
    of_factor = np.array([_entropy(level) for level in levels.T])
    return float(np.mean((first - second) / of_factor))


def modularity(codes: ArrayLike, factors: ArrayLike, bins: int = BINS) -> float:
    """Whether each code informs about one factor only; 1 is best.

    With m the mutual information of a code with its best factor, a code scores 1 minus the sum of its squared
    informations with the other F - 1 factors over m^2 (F - 1), and 0 if it informs about none; the mean over the
    codes. It says nothing of how much of a factor the codes hold. Binned as for `mutual_information_gap`.

    Args:
        codes: latent means, [N, D].
        factors: known factors, [N, F], with 2 factors or more.
        bins: number of bins.

    Raises:
        UserError: fewer than 2 factors, different numbers of rows, values that are not finite, or a constant factor.

    Source: Ridgeway and Mozer 2018, arXiv 1802.05312; Locatello et al. 2019, arXiv 1811.12359.
    """
    code_table, factor_table = checked_pair(codes, factors, factors_at_least=2)
    squared = _mutual_information(_binned(code_table, bins), _levels(factor_table, bins)) ** 2
    best = squared.max(axis=1)
    others = squared.sum(axis=1) - best
    spread = np.divide(others, best * (squared.shape[1] - 1), out=np.ones_like(best), where=best > 0)
    return float(np.mean(1 - spread))


def _mutual_information(codes: NDArray[np.int64], factors: NDArray[np.int64]) -> NDArray[np.float64]:
    """Plug-in mutual information in nats of labels [N, D] with labels [N, F], [D, F]: H(code) + H(factor) - H(both).

    As scikit-learn's `mutual_info_score`, which sorts the labels of each pair anew and takes five times as long.
    """
    of_code, of_factor = (np.array([_entropy(labels) for labels in columns.T]) for columns in (codes, factors))
    ranks = np.column_stack([np.unique(factor, return_inverse=True)[1] for factor in factors.T])
    together = [[_entropy(code * len(codes) + rank) for rank in ranks.T] for code in codes.T]
    information = of_code[:, None] + of_factor - np.array(together)
    return np.where(information > ROUNDING, information, 0.0)


def _entropy(labels: NDArray[np.int64]) -> float:
    """Of labels [N], in nats."""
    return float(entropy(np.unique(labels, return_counts=True)[1]))


def _levels(factors: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    """Whole numbers as they are, other factors binned, [N, F]."""
    whole = (factors == np.round(factors)).all(axis=0)
    return np.where(whole, factors.astype(np.int64), _binned(factors, bins))


def _binned(values: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    """The bin of each value, between its column's minimum and maximum, [N, D]."""
    return np.column_stack([np.digitize(column, np.histogram_bin_edges(column, bins)[:-1]) for column in values.T])
