"""Does a generator copy its training data?

Shapes: M generated rows, N training rows, H held-out rows, F features (or the T samples of a waveform).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import mannwhitneyu
from sklearn.neighbors import NearestNeighbors

from hcvae.arrays import FloatArray
from hcvae.metrics.generation.arrays import checked_pair


@dataclass(frozen=True)
class Memorisation:
    """Distances to the nearest training row: of generated rows against held-out ones."""

    share_nearer: float
    """Probability that a generated row is nearer to its nearest training row than a held-out row is to its own:
    0.5 for new rows of the data's distribution, 1 for copies."""
    z: float
    """Z score of the Mann-Whitney U: about N(0, 1) for new rows of the data's distribution, below -3 for copies, above
    3 for rows that lie farther from the training data than recordings do."""


def memorisation(generated: ArrayLike, train: ArrayLike, held_out: ArrayLike) -> Memorisation:
    """Test for data-copying by nearest neighbours, over the whole space at once (Meehan et al. 2020, one cell).

    The z score holds for rows that are independent of each other: rows of one subject spread it wider. Rows without the
    noise of the recordings are nearer to everything, copies or not: give generated rows the recordings' noise, or give
    features that noise does not enter.

    Args:
        generated: generated waveforms or features of them, [M, F].
        train: the same of the recordings that the generator was trained on, [N, F].
        held_out: the same of recordings that it has not seen, [H, F].

    Raises:
        UserError: shapes that do not fit, or values that are not finite.
    """
    known, new = checked_pair(train, generated, at_least=1)
    _, unseen = checked_pair(train, held_out, at_least=1)
    neighbours = NearestNeighbors(n_neighbors=1).fit(known)
    of_new, of_unseen = (_nearest(neighbours, rows) for rows in (new, unseen))
    u = float(mannwhitneyu(of_new, of_unseen, method="asymptotic").statistic)  # pairs where the generated is farther
    pairs = len(new) * len(unseen)
    deviation = np.sqrt(pairs * (len(new) + len(unseen) + 1) / 12)
    return Memorisation(share_nearer=1 - u / pairs, z=float((u - pairs / 2) / deviation))


def _nearest(neighbours: NearestNeighbors, rows: FloatArray) -> FloatArray:
    distances, _ = neighbours.kneighbors(rows)
    return np.asarray(distances[:, 0])
