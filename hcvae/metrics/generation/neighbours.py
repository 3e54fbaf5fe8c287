"""Fidelity and diversity by nearest neighbours: whether real and generated rows occupy the same regions.

Shapes: N real rows, M generated rows, F features. A ball is centred on a row, its radius is the distance to the row's
k-th nearest neighbour in its own set, and it includes its surface.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import pairwise_distances_chunked

from hcvae.arrays import FloatArray
from hcvae.errors import UserError
from hcvae.metrics.generation.arrays import checked_features


@dataclass(frozen=True)
class PrecisionRecallDensityCoverage:
    """How realistic generated rows are (precision, density), and how many of the real ones they cover."""

    precision: float
    """Share of the generated rows inside a real ball (Kynkäänniemi et al. 2019)."""
    recall: float
    """Share of the real rows inside a generated ball (Kynkäänniemi et al. 2019)."""
    density: float
    """Mean number of real balls around a generated row, over k; 1 for equal distributions (Naeem et al. 2020)."""
    coverage: float
    """Share of the real balls with a generated row inside (Naeem et al. 2020); see `expected_coverage`."""


def precision_recall_density_coverage(
    real: ArrayLike, generated: ArrayLike, k: int = 5
) -> PrecisionRecallDensityCoverage:
    """Return precision, recall, density and coverage by Euclidean distance.

    Real rows must be independent: several rows of one subject or recording shrink each other's balls, and then even a
    perfect generator does not reach `expected_coverage`.

    Args:
        real: features of recordings on a common scale (see `standardised`), [N, F].
        generated: the same features of generated waveforms, [M, F].
        k: rank of the neighbour that determines a ball's radius.

    Raises:
        UserError: shapes that do not fit, values that are not finite, or no k-th neighbour in a set.
    """
    if k < 1:
        raise UserError(f"k: must be at least 1, but got {k}")
    first, second = checked_features(real, generated, min_rows=k + 1)
    real_radii = _squared_radii(first, k)
    generated_radii = _squared_radii(second, k)
    n_real_balls = np.zeros(len(second), dtype=np.int64)  # around each generated row
    recalled = 0
    covered = 0
    start = 0
    for squared in _squared_distances(first, second):
        stop = start + len(squared)
        in_real_ball = squared <= real_radii[start:stop, None]
        n_real_balls += in_real_ball.sum(axis=0)
        covered += int(in_real_ball.any(axis=1).sum())
        recalled += int((squared <= generated_radii).any(axis=1).sum())
        start = stop
    return PrecisionRecallDensityCoverage(
        precision=float(np.mean(n_real_balls > 0)),
        recall=recalled / len(first),
        density=float(np.mean(n_real_balls) / k),
        coverage=covered / len(first),
    )


def expected_coverage(n_real: int, n_generated: int, k: int = 5) -> float:
    """Return the mean coverage by independent rows of the real distribution.

    A real row is not covered if its k nearest of the other N - 1 real and M generated rows, all equally likely to be
    near, are real. So the coverage is 1 - prod_j (N - j) / (N + M - j) over j = 1 to k. For M = N this is lemma 2 of
    Naeem et al. 2020.

    Raises:
        UserError: k below 1, no k-th neighbour among the real rows, or no generated row.
    """
    if not (1 <= k < n_real and n_generated >= 1):
        raise UserError(
            "expected_coverage: 1 <= k < n_real and n_generated >= 1 must hold, "
            f"but got k={k}, n_real={n_real}, n_generated={n_generated}"
        )
    j = np.arange(1, k + 1)
    return float(1 - np.prod((n_real - j) / (n_real + n_generated - j)))


def _squared_radii(rows: FloatArray, k: int) -> FloatArray:
    """Return the squared distance of each row to its k-th nearest neighbour other than itself, [N]."""
    radii = []
    for squared in _squared_distances(rows, rows):
        radii.append(np.partition(squared, k, axis=1)[:, k])
    return np.concatenate(radii)


def _squared_distances(first: FloatArray, second: FloatArray) -> Iterator[FloatArray]:
    """Yield the squared distances [n, M] of the first set's rows, in chunks of n rows that fit in memory.

    They are sums of squared differences (scipy's `cdist`), so that copies of a row have exactly the same distances.
    """
    yield from pairwise_distances_chunked(first, second, metric="sqeuclidean")
