"""Maximum mean discrepancy, which tests whether two sets of features have the same distribution.

Shapes: N real rows, M generated rows, F features.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import pdist, squareform

from hcvae.arrays import FloatArray
from hcvae.errors import UserError
from hcvae.metrics.generation.arrays import checked_features

MAX_ROWS = 2000
"""Largest number of rows used of each set, for which the kernel takes at most 0.4 GB."""


def maximum_mean_discrepancy(real: ArrayLike, generated: ArrayLike, *, seed: int = 0) -> float:
    """Return the unbiased MMD^2 with a Gaussian kernel, about 0 for equal distributions (Gretton et al. 2012).

    It can be negative. The kernel is exp(-d^2 / (2 s^2)), with s the median distance of the pooled rows. From a larger
    set, 2000 rows are sampled.

    Args:
        real: features of recordings on a common scale (see `standardised`), [N, F].
        generated: the same features of generated waveforms, [M, F].
        seed: seed of the sampling.

    Raises:
        UserError: shapes that do not fit, fewer than 2 rows, values that are not finite, or rows that are nearly all
            equal.
    """
    random = np.random.default_rng(seed)
    real_rows, generated_rows = checked_features(real, generated)
    first = _at_most_max_rows(real_rows, random)
    second = _at_most_max_rows(generated_rows, random)
    squared = pdist(np.concatenate([first, second]), "sqeuclidean")
    bandwidth = float(np.median(squared))
    if bandwidth == 0:
        raise UserError("real, generated: rows must differ, but more than half of the pairs are equal; check the rows")
    kernel = squareform(np.exp(squared / (-2 * bandwidth)))  # its diagonal is 0, without rows paired with themselves
    n = len(first)
    m = len(second)
    within = kernel[:n, :n].sum() / (n * (n - 1)) + kernel[n:, n:].sum() / (m * (m - 1))
    return float(within - 2 * kernel[:n, n:].mean())


def _at_most_max_rows(rows: FloatArray, random: np.random.Generator) -> FloatArray:
    if len(rows) <= MAX_ROWS:
        return rows
    return rows[random.choice(len(rows), MAX_ROWS, replace=False)]
