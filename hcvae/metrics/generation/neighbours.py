"""Fidelity and diversity by nearest neighbours: does each set lie where the other does?

Shapes: N real rows, M generated rows, F features. A ball is centred on a row and reaches to the row's k-th nearest
neighbour in its own set; its surface belongs to it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import pairwise_distances_chunked

from hcvae.arrays import FloatArray
from hcvae.errors import UserError
from hcvae.metrics.generation.arrays import checked_pair


@dataclass(frozen=True)
class PrecisionRecallDensityCoverage:
    """How realistic generated rows are (precision, density), and how much of the real ones they reach."""

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
    """Precision, recall, density and coverage by Euclidean distance.

    Neighbours among the real rows must be independent: rows of one subject or recording shrink each other's balls,
    and coverage falls short of `expected_coverage` for a perfect generator, too.

    Args:
        real: features of recordings on a common scale (see `standardised`), [N, F].
        generated: the same features of generated waveforms, [M, F].
        k: neighbour that a ball reaches.

    Raises:
        UserError: shapes that do not fit, values that are not finite, or no k-th neighbour in a set.
    """
    if k < 1:
        raise UserError(f"k: must be at least 1, but got {k}")
    first, second = checked_pair(real, generated, at_least=k + 1)
    reach_real, reach_generated = _squared_radii(first, k), _squared_radii(second, k)
    real_balls = np.zeros(len(second), dtype=np.int64)
    recalled = covered = start = 0
    for squared in _squared_distances(first, second):
        stop = start + len(squared)
        in_real_ball = squared <= reach_real[start:stop, None]
        real_balls += in_real_ball.sum(axis=0)
        covered += int(in_real_ball.any(axis=1).sum())
        recalled += int((squared <= reach_generated).any(axis=1).sum())
        start = stop
    return PrecisionRecallDensityCoverage(
        precision=float(np.mean(real_balls > 0)),
        recall=recalled / len(first),
        density=float(np.mean(real_balls) / k),
        coverage=covered / len(first),
    )


def expected_coverage(n_real: int, n_generated: int, k: int = 5) -> float:
    """Coverage that independent rows of the real distribution reach on average.

    A real row is missed where its k nearest of the other N - 1 real and M generated rows, all equally likely to be
    near, are real: 1 - prod_j (N - j) / (N + M - j) over j = 1 to k. For M = N this is lemma 2 of Naeem et al. 2020.

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
    """Squared distance of each row to its k-th nearest neighbour, [N]; the row itself is the nearest, not counted."""
    return np.concatenate([np.partition(squared, k, axis=1)[:, k] for squared in _squared_distances(rows, rows)])


def _squared_distances(first: FloatArray, second: FloatArray) -> Iterator[FloatArray]:
    """[n, M] for n rows of the first set after the other, as many as memory allows.

    As sums of squared differences (scipy's `cdist`), so that copies of a row have exactly the same distances.
    """
    yield from pairwise_distances_chunked(first, second, metric="sqeuclidean")
