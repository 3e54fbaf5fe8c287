"""Whether a generator copies its training data.

Shapes: M generated rows, N training rows, H held-out rows, F features (or the T samples of a waveform).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import mannwhitneyu
from sklearn.neighbors import NearestNeighbors

from hcvae.arrays import FloatArray
from hcvae.metrics.generation.arrays import checked_features


@dataclass(frozen=True)
class Memorisation:
    """Distances to the nearest training row, of generated rows compared with held-out ones."""

    share_nearer: float
    """Probability that a generated row is nearer to its nearest training row than a held-out row is to its own: 0.5 for
    new rows of the data's distribution, 1 for copies."""
    z: float
    """Z score of the Mann-Whitney U: about N(0, 1) for new rows of the data's distribution, below -3 for copies, above
    3 for rows that lie farther from the training data than recordings do."""


def memorisation(generated: ArrayLike, train: ArrayLike, held_out: ArrayLike) -> Memorisation:
    """Test for data-copying by nearest neighbours, over the whole space (Meehan et al. 2020, with one cell).

    The z score assumes independent rows; several rows of one subject increase its variance. Rows without the noise of
    the recordings are nearer to everything, whether copies or not: add the recordings' noise to generated rows, or use
    features that do not depend on noise.

    Args:
        generated: generated waveforms or features of them, [M, F].
        train: the same for the recordings that the generator was trained on, [N, F].
        held_out: the same for recordings that were not used for training, [H, F].

    Raises:
        UserError: shapes that do not fit, or values that are not finite.
    """
    train_rows, new = checked_features(train, generated, min_rows=1)
    _, unseen = checked_features(train, held_out, min_rows=1)
    neighbours = NearestNeighbors(n_neighbors=1).fit(train_rows)
    distances_new = _nearest_distances(neighbours, new)
    distances_unseen = _nearest_distances(neighbours, unseen)
    # U counts the pairs in which the generated row is farther from its nearest training row.
    u = float(mannwhitneyu(distances_new, distances_unseen, method="asymptotic").statistic)
    pairs = len(new) * len(unseen)
    deviation = np.sqrt(pairs * (len(new) + len(unseen) + 1) / 12)
    return Memorisation(share_nearer=1 - u / pairs, z=float((u - pairs / 2) / deviation))


def _nearest_distances(neighbours: NearestNeighbors, rows: FloatArray) -> FloatArray:
    distances, _ = neighbours.kneighbors(rows)
    return np.asarray(distances[:, 0])
