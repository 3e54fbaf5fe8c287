"""Fréchet distance of two sets of features, each taken as a Gaussian.

Shapes: N real rows, M generated rows, F features.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import qr

from hcvae.arrays import FloatArray
from hcvae.metrics.generation.arrays import checked_pair


def frechet_distance(real: ArrayLike, generated: ArrayLike) -> float:
    """|m - n|^2 + tr(A + B - 2 (A B)^(1/2)) of the means m, n and covariances A, B: 0 where both moments agree.

    The squared 2-Wasserstein distance of two Gaussians (Dowson & Landau 1982), as in Heusel et al. 2017. Its value
    depends on the features' units (see `standardised`) and falls with the number of rows, even for equal distributions:
    compare values of equal N and M.

    With A = R'R and B = S'S, the triangles of the centred rows' QR decompositions, tr (A B)^(1/2) is the sum of the
    singular values of R S': no root of a covariance is taken, so that singular ones need no care.

    Args:
        real: features of recordings, [N, F].
        generated: the same features of generated waveforms, [M, F].

    Raises:
        UserError: shapes that do not fit, fewer than 2 rows, or values that are not finite.
    """
    first, second = checked_pair(real, generated)
    root_first, root_second = _covariance_root(first), _covariance_root(second)
    means = np.sum((first.mean(axis=0) - second.mean(axis=0)) ** 2)
    traces = np.sum(root_first**2) + np.sum(root_second**2)
    shared = np.linalg.norm(root_first @ root_second.T, "nuc")
    return max(0.0, float(means + traces - 2 * shared))


def _covariance_root(rows: FloatArray) -> FloatArray:
    """R [min(N, F), F] with R'R = the unbiased covariance."""
    (root,) = qr((rows - rows.mean(axis=0)) / np.sqrt(len(rows) - 1), mode="r")
    return np.asarray(root[: rows.shape[1]])
