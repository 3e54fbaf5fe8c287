"""Whether the latency of wave V depends on the stimulus level as in recordings.

Shapes: N generated rows, M reference rows, L shared levels.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import linregress, spearmanr

from hcvae.arrays import FloatArray
from hcvae.errors import UserError
from hcvae.metrics.generation.arrays import checked_column


@dataclass(frozen=True)
class LevelLatency:
    """The dependence of latency on level, over the rows of the shared levels."""

    spearman: float
    """Rank correlation of level and latency: negative for hearing subjects; 0 if the latency does not vary."""
    slope_ms_per_10_db: float
    """Slope of the least-squares line."""


@dataclass(frozen=True)
class ConditionalConsistency:
    """The level-latency relations of generated and reference waveforms."""

    mean_difference_ms: float
    """|generated - reference| of the mean latency at a level, averaged over the reference rows of the shared levels."""
    levels_db: tuple[float, ...]
    """The L shared levels."""
    generated: LevelLatency
    reference: LevelLatency


def conditional_consistency(
    level_db: ArrayLike,
    wave_v_ms_generated: ArrayLike,
    level_db_reference: ArrayLike,
    wave_v_ms_reference: ArrayLike,
) -> ConditionalConsistency:
    """Compare wave V latency by level on the levels that both sets share.

    Other conditions must have the same distribution at each level, as in waveforms generated for the conditions of the
    reference rows. Levels are shared if they are equal numbers: round both to the levels of the protocol.

    Args:
        level_db: levels that the waveforms were generated for, [N].
        wave_v_ms_generated: latencies of wave V in them (see `physiological_features`), [N].
        level_db_reference: levels of recordings, [M].
        wave_v_ms_reference: latencies of wave V in them, picked in the same way, [M].

    Raises:
        UserError: lengths that do not fit, values that are not finite, or fewer than 2 levels in common.
    """
    level = checked_column("level_db", level_db, np.size(level_db))
    latency = checked_column("wave_v_ms_generated", wave_v_ms_generated, len(level))
    level_reference = checked_column("level_db_reference", level_db_reference, np.size(level_db_reference))
    latency_reference = checked_column("wave_v_ms_reference", wave_v_ms_reference, len(level_reference))
    shared = np.intersect1d(level, level_reference)
    if len(shared) < 2:
        raise UserError(
            f"level_db: must share at least 2 levels with the reference, but got {shared.tolist()} of "
            f"{np.unique(level).tolist()} and {np.unique(level_reference).tolist()}"
        )
    difference = _mean_by_level(level, latency, shared) - _mean_by_level(level_reference, latency_reference, shared)
    reference_rows = np.sum(level_reference == shared[:, None], axis=1)
    return ConditionalConsistency(
        mean_difference_ms=float(np.average(np.abs(difference), weights=reference_rows)),
        levels_db=tuple(shared.tolist()),
        generated=_relation(level, latency, shared),
        reference=_relation(level_reference, latency_reference, shared),
    )


def _mean_by_level(level: FloatArray, latency: FloatArray, shared: FloatArray) -> FloatArray:
    """Return the mean latency at each shared level, [L]."""
    return np.array([latency[level == at].mean() for at in shared])


def _relation(level: FloatArray, latency: FloatArray, shared: FloatArray) -> LevelLatency:
    rows = np.isin(level, shared)
    spearman = 0.0
    if np.ptp(latency[rows]) > 0:
        spearman = float(spearmanr(level[rows], latency[rows]).statistic)
    return LevelLatency(spearman, 10.0 * float(linregress(level[rows], latency[rows]).slope))
