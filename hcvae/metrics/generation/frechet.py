"""Fréchet distance between two sets of features, each treated as a Gaussian.

Shapes: N real rows, M generated rows, F features.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import qr

from hcvae.arrays import FloatArray
from hcvae.metrics.generation.arrays import checked_features


def frechet_distance(real: ArrayLike, generated: ArrayLike) -> float:
    """Return |m - n|^2 + tr(A + B - 2 (A B)^(1/2)) for means m, n and covariances A, B: 0 if both moments are equal.

    It is the squared 2-Wasserstein distance of two Gaussians (Dowson & Landau 1982), as in Heusel et al. 2017. It
    depends on the features' units (see `standardised`) and decreases with the number of rows, even for equal
    distributions: compare values only for equal N and M.

    With A = R'R and B = S'S, from QR decompositions of the centred rows, tr (A B)^(1/2) is the sum of the singular
    values of R S'. So no root of a covariance is computed, and singular covariances need no special treatment.

    Args:
        real: features of recordings, [N, F].
        generated: the same features of generated waveforms, [M, F].

    Raises:
        UserError: shapes that do not fit, fewer than 2 rows, or values that are not finite.
    """
    first, second = checked_features(real, generated)
    root_first = _covariance_root(first)
    root_second = _covariance_root(second)
    means = np.sum((first.mean(axis=0) - second.mean(axis=0)) ** 2)
    traces = np.sum(root_first**2) + np.sum(root_second**2)
    shared = np.linalg.norm(root_first @ root_second.T, "nuc")
    return max(0.0, float(means + traces - 2 * shared))


def _covariance_root(rows: FloatArray) -> FloatArray:
    """Return R [min(N, F), F] with R'R equal to the unbiased covariance."""
    (root,) = qr((rows - rows.mean(axis=0)) / np.sqrt(len(rows) - 1), mode="r")
    return np.asarray(root[: rows.shape[1]])
