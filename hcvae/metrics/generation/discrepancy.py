"""Maximum mean discrepancy: do two sets of features come from one distribution?

Shapes: N real rows, M generated rows, F features.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import pdist, squareform

from hcvae.arrays import FloatArray
from hcvae.errors import UserError
from hcvae.metrics.generation.arrays import checked_pair

MAX_ROWS = 2000


def maximum_mean_discrepancy(real: ArrayLike, generated: ArrayLike, *, seed: int = 0) -> float:
    """Unbiased MMD^2 with a Gaussian kernel: about 0, of either sign, for equal distributions (Gretton et al. 2012).

    The kernel is exp(-d^2 / (2 s^2)); s is the median distance of the pooled rows. Of each set at most 2000 rows are
    taken, drawn by the seed: 0.4 GB at most.

    Args:
        real: features of recordings on a common scale (see `standardised`), [N, F].
        generated: the same features of generated waveforms, [M, F].
        seed: seed of the draw.

    Raises:
        UserError: shapes that do not fit, fewer than 2 rows, values that are not finite, or rows that are nearly all
            equal.
    """
    random = np.random.default_rng(seed)
    first, second = (_some(rows, random) for rows in checked_pair(real, generated))
    squared = pdist(np.concatenate([first, second]), "sqeuclidean")
    bandwidth = float(np.median(squared))
    if bandwidth == 0:
        raise UserError("real, generated: rows must differ, but more than half of the pairs are equal; check the rows")
    kernel = squareform(np.exp(squared / (-2 * bandwidth)))  # its diagonal is 0: rows are not compared with themselves
    n, m = len(first), len(second)
    within = kernel[:n, :n].sum() / (n * (n - 1)) + kernel[n:, n:].sum() / (m * (m - 1))
    return float(within - 2 * kernel[:n, n:].mean())


def _some(rows: FloatArray, random: np.random.Generator) -> FloatArray:
    return rows if len(rows) <= MAX_ROWS else rows[random.choice(len(rows), MAX_ROWS, replace=False)]
