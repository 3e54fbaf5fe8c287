"""Agreement of independent averages of one response, and the noise left in them.

Shapes: N rows, T samples, G responses with n >= 2 averages each.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hcvae.counting import counted
from hcvae.finding import Finding
from hcvae.inspection.recordings import KIND, NOISE, Recordings, groups

SPLITS = 10
"""Random halves per response."""
MIN_RELIABILITY = 0.5
"""Spearman-Brown reliability below which averages do not agree."""
NOISE_FACTOR = 3.0
"""Largest plausible ratio of the noise column and the estimated noise, or its inverse."""


@dataclass(frozen=True)
class Agreement:
    """Agreement of the responses at one level (None: all responses)."""

    level_db: float | None
    responses: int
    """Number of responses with at least two averages."""
    averages: int
    """Number of their averages."""
    correlation: float
    """Mean Pearson correlation of two averages of one response, the reliability of one average."""
    split_half: float
    """Mean correlation of the means of two random halves of a response's averages."""
    spearman_brown: float | None
    """Reliability of the mean of all averages of a response: 2 r / (1 + r) of the split-half correlation r (Spearman
    1910, Br. J. Psychol. 3:271; Brown 1910, Br. J. Psychol. 3:296); None if r is not positive."""
    noise_uv: float
    """RMS of the noise in one average: standard deviation between averages of one response, pooled over time and
    responses, as in the plus-minus reference (Schimmel 1967, Science 157:92). It includes variability of
    the response."""
    noise_column_uv: float | None
    """RMS of `residual_noise_uv` over the same rows; None without the column."""


def agreement_by_level(recordings: Recordings) -> list[Agreement]:
    """Return the agreement at each level, lowest first, then of all; empty if no response has two averages."""
    responses = _responses(recordings, recordings.usable)
    if not responses:
        return []
    at_level: dict[float, list[NDArray[np.int64]]] = {}
    for rows in responses:
        level_db = float(recordings.levels_db[rows[0]])
        if np.isfinite(level_db):
            at_level.setdefault(level_db, []).append(rows)
    agreement: list[Agreement] = []
    for level_db in sorted(at_level):
        agreement.append(_agreement(recordings, at_level[level_db], level_db))
    return [*agreement, _agreement(recordings, responses, None)]


def check(recordings: Recordings) -> list[Finding]:
    """Find averages at the highest levels that do not agree, and a noise column that does not match the noise."""
    findings: list[Finding] = []
    loud = _responses(recordings, recordings.highest(recordings.codes(KIND)))
    if loud:
        agreement = _agreement(recordings, loud, None)
        if (agreement.spearman_brown or 0.0) < MIN_RELIABILITY:
            findings.append(_unreliable(recordings, agreement))
    responses = _responses(recordings, recordings.usable)
    if responses:
        findings += _check_noise_column(_agreement(recordings, responses, None))
    return findings


def _unreliable(recordings: Recordings, agreement: Agreement) -> Finding:
    columns = ", ".join(recordings.average_columns)
    return Finding(
        "independent averages do not agree",
        f"in the upper third of the levels, means of two halves of a response's averages correlate "
        f"{agreement.split_half:.2f} ({counted(agreement.responses, 'response')}, "
        f"{counted(agreement.averages, 'average')})",
        f"check that rows which agree in {columns} are averages of one response, and if not, name the columns that "
        "identify a response with --average-columns; otherwise the noise hides the responses: average more sweeps",
    )


def _check_noise_column(agreement: Agreement) -> list[Finding]:
    stated_uv = agreement.noise_column_uv
    if stated_uv is None or stated_uv == agreement.noise_uv:  # both are 0 where the averages are copies
        return []
    if 1 / NOISE_FACTOR <= stated_uv / (agreement.noise_uv or np.inf) <= NOISE_FACTOR:
        return []
    return [
        Finding(
            f"{NOISE} does not fit the waveforms",
            f"the column has {stated_uv:.3g} uV RMS, but the differences between averages of one response correspond "
            f"to {agreement.noise_uv:.3g} uV",
            "check the unit and the scale of the column, and that the rows are independent averages",
        )
    ]


def _responses(recordings: Recordings, among: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """Return the rows of each response that has at least two averages `among` [N]."""
    return [rows for rows in groups(recordings.response, among) if len(rows) > 1]


def _agreement(recordings: Recordings, responses: list[NDArray[np.int64]], level_db: float | None) -> Agreement:
    rng = np.random.default_rng(0)
    correlations: list[float] = []
    halves: list[float] = []
    square = 0.0
    freedom = 0
    for rows in responses:
        signals = recordings.signals_uv[rows].astype(np.float64)
        unit = _unit_norm(signals)
        correlations.append(float((np.sum(unit.sum(axis=0) ** 2) - len(rows)) / (len(rows) * (len(rows) - 1))))
        halves.append(_split_half(signals, rng))
        square += float(np.sum((signals - signals.mean(axis=0)) ** 2)) / signals.shape[1]
        freedom += len(rows) - 1
    split_half = float(np.mean(halves))
    return Agreement(
        level_db=level_db,
        responses=len(responses),
        averages=sum(map(len, responses)),
        correlation=float(np.mean(correlations)),
        split_half=split_half,
        spearman_brown=_spearman_brown(split_half),
        noise_uv=float(np.sqrt(square / freedom)),
        noise_column_uv=_noise_column(recordings, np.concatenate(responses)),
    )


def _split_half(signals: NDArray[np.float64], rng: np.random.Generator) -> float:
    """Return the mean correlation of the means of two random halves of signals [n, T]; an odd n leaves one out."""
    half = len(signals) // 2
    if len(signals) == 2:
        return float(np.dot(*_unit_norm(signals)))
    found = []
    for _ in range(SPLITS):
        order = rng.permutation(len(signals))
        first = signals[order[:half]].mean(axis=0)
        second = signals[order[half : 2 * half]].mean(axis=0)
        found.append(float(np.dot(*_unit_norm(np.stack([first, second])))))
    return float(np.mean(found))


def _unit_norm(signals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scale signals [n, T] to mean 0 and norm 1, so that inner products are Pearson correlations."""
    centred = signals - signals.mean(axis=1, keepdims=True)
    return np.asarray(centred / np.linalg.norm(centred, axis=1, keepdims=True))


def _spearman_brown(split_half: float) -> float | None:
    if split_half > 0:
        return 2 * split_half / (1 + split_half)
    return None


def _noise_column(recordings: Recordings, rows: NDArray[np.int64]) -> float | None:
    if NOISE not in recordings.scalars.column_names:
        return None
    known = recordings.scalars[NOISE].take(rows).drop_null()
    if not len(known):
        return None
    return float(np.sqrt(np.mean(known.to_numpy() ** 2)))
