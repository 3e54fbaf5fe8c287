"""Does the latency of wave V follow the stimulus level as the recordings' does?

Shapes: N generated rows, M reference rows, L levels that both have.
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
    """How latency depends on level, over the rows of the shared levels."""

    spearman: float
    """Rank correlation of level and latency: negative in hearing; 0 where the latency does not vary."""
    slope_ms_per_10_db: float
    """Of the least-squares line."""


@dataclass(frozen=True)
class ConditionalConsistency:
    """The generated level-latency relation beside the reference's."""

    mean_difference_ms: float
    """|generated - reference| of the mean latency at a level, averaged over the reference rows of the L levels."""
    levels_db: tuple[float, ...]
    """The L levels."""
    generated: LevelLatency
    reference: LevelLatency


def conditional_consistency(
    level_db: ArrayLike,
    wave_v_ms_generated: ArrayLike,
    level_db_reference: ArrayLike,
    wave_v_ms_reference: ArrayLike,
) -> ConditionalConsistency:
    """Compare wave V latency by level on the levels that both sets have.

    Other conditions must be distributed alike at each level, as in waveforms generated for the conditions of the
    reference rows. Levels compare as equal numbers: round both to the levels of the protocol.

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
            f"level_db: at least 2 levels must be among the reference's, but got {shared.tolist()} of "
            f"{np.unique(level).tolist()} and {np.unique(level_reference).tolist()}"
        )
    difference = _mean_by_level(level, latency, shared) - _mean_by_level(level_reference, latency_reference, shared)
    reference_rows = [np.sum(level_reference == at) for at in shared]
    return ConditionalConsistency(
        mean_difference_ms=float(np.average(np.abs(difference), weights=reference_rows)),
        levels_db=tuple(shared.tolist()),
        generated=_relation(level, latency, shared),
        reference=_relation(level_reference, latency_reference, shared),
    )


def _mean_by_level(level: FloatArray, latency: FloatArray, shared: FloatArray) -> FloatArray:
    """[L]."""
    return np.array([latency[level == at].mean() for at in shared])


def _relation(level: FloatArray, latency: FloatArray, shared: FloatArray) -> LevelLatency:
    rows = np.isin(level, shared)
    varies = np.ptp(latency[rows]) > 0
    spearman = float(spearmanr(level[rows], latency[rows]).statistic) if varies else 0.0
    return LevelLatency(spearman, 10.0 * float(linregress(level[rows], latency[rows]).slope))
