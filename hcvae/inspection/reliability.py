"""How well independent averages of one response agree, and the noise that they leave.

Legend: N rows, T samples, G responses with n >= 2 averages each.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hcvae.finding import Finding
from hcvae.inspection.recordings import KIND, NOISE, Recordings, groups

SPLITS = 10
UNRELIABLE = 0.5
NOISE_FACTOR = 3.0


@dataclass(frozen=True)
class Agreement:
    """Of the responses at one level (None: all levels, or no level known)."""

    level_db: float | None
    responses: int
    """That have two averages or more."""
    averages: int
    """Of these responses."""
    correlation: float
    """Mean Pearson correlation of two averages of one response: the reliability of one average."""
    split_half: float
    """Mean correlation of the means of two random halves of a response's averages."""
    spearman_brown: float | None
    """Reliability of the mean of all averages of a response: 2 r / (1 + r) of the split-half correlation r (Spearman
    1910, Br. J. Psychol. 3:271; Brown 1910, Br. J. Psychol. 3:296); None where r is not positive."""
    noise_uv: float
    """RMS of the noise in one average: standard deviation between averages of one response, pooled over time and
    responses. The idea of the plus-minus reference (Schimmel 1967, Science 157:92); what varies in the response from
    average to average counts as noise."""
    noise_column_uv: float | None
    """RMS over the same rows of `residual_noise_uv`; None without the column."""


def agreement_by_level(recordings: Recordings) -> list[Agreement]:
    """One entry a level, lowest first, then one of all; none where no response has two averages."""
    responses = _responses(recordings, recordings.usable)
    if not responses:
        return []
    level_of = [recordings.levels_db[rows[0]] for rows in responses]
    levels = [float(level) for level in np.unique(level_of) if np.isfinite(level)]
    by_level = [
        _agreement(recordings, [rows for rows, at in zip(responses, level_of, strict=True) if at == level], level)
        for level in levels
    ]
    return [*by_level, _agreement(recordings, responses, None)]


def check(recordings: Recordings) -> list[Finding]:
    """Averages of the highest levels that do not agree; a noise column of another scale than the noise."""
    found = []
    columns = ", ".join(recordings.average_columns)
    strong = _responses(recordings, recordings.highest(recordings.codes(KIND)))
    if strong:
        agreement = _agreement(recordings, strong, None)
        if (agreement.spearman_brown or 0.0) < UNRELIABLE:
            found.append(
                Finding(
                    "independent averages do not agree",
                    f"in the upper third of the levels, means of two halves of a response's averages correlate "
                    f"{agreement.split_half:.2f} ({len(strong)} responses, {agreement.averages} averages)",
                    f"check that rows which agree in {columns} are averages of one response, and name the columns that "
                    "say so with --average-columns; else the responses are buried in noise: average more sweeps",
                )
            )
    responses = _responses(recordings, recordings.usable)
    if responses:
        overall = _agreement(recordings, responses, None)
        stated = overall.noise_column_uv
        if stated is not None and not 1 / NOISE_FACTOR <= stated / (overall.noise_uv or np.inf) <= NOISE_FACTOR:
            found.append(
                Finding(
                    f"{NOISE} does not fit the waveforms",
                    f"the column says {stated:.3g} uV RMS, but averages of one response differ as if it were "
                    f"{overall.noise_uv:.3g} uV",
                    "check the unit and the scale of the column, and that the rows are independent averages",
                )
            )
    return found


def _responses(recordings: Recordings, among: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """Rows of each response that has two averages or more `among` [N]."""
    return [rows for rows in groups(recordings.response, among) if len(rows) > 1]


def _agreement(recordings: Recordings, responses: list[NDArray[np.int64]], level_db: float | None) -> Agreement:
    random = np.random.default_rng(0)
    correlations, halves, square, freedom = [], [], 0.0, 0
    for rows in responses:
        signals = recordings.signals_uv[rows].astype(np.float64)
        unit = _unit_norm(signals)
        correlations.append(float((np.sum(unit.sum(axis=0) ** 2) - len(rows)) / (len(rows) * (len(rows) - 1))))
        halves.append(_split_half(signals, random))
        square += float(np.sum((signals - signals.mean(axis=0)) ** 2)) / signals.shape[1]
        freedom += len(rows) - 1
    split_half = float(np.mean(halves))
    return Agreement(
        level_db=level_db,
        responses=len(responses),
        averages=sum(map(len, responses)),
        correlation=float(np.mean(correlations)),
        split_half=split_half,
        spearman_brown=2 * split_half / (1 + split_half) if split_half > 0 else None,
        noise_uv=float(np.sqrt(square / freedom)),
        noise_column_uv=_noise_column(recordings, np.concatenate(responses)),
    )


def _split_half(signals: NDArray[np.float64], random: np.random.Generator) -> float:
    """Mean correlation of the means of two halves of signals [n, T]; of an odd n one average is left out in turn."""
    half = len(signals) // 2
    if half == 1 and len(signals) == 2:
        return float(np.dot(*_unit_norm(signals)))
    found = []
    for _ in range(SPLITS):
        order = random.permutation(len(signals))
        first, second = signals[order[:half]].mean(axis=0), signals[order[half : 2 * half]].mean(axis=0)
        found.append(float(np.dot(*_unit_norm(np.stack([first, second])))))
    return float(np.mean(found))


def _unit_norm(signals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Signals [n, T] with mean 0 and norm 1: their inner products are Pearson correlations."""
    centred = signals - signals.mean(axis=1, keepdims=True)
    return np.asarray(centred / np.linalg.norm(centred, axis=1, keepdims=True))


def _noise_column(recordings: Recordings, rows: NDArray[np.int64]) -> float | None:
    if NOISE not in recordings.scalars.column_names:
        return None
    known = recordings.scalars[NOISE].take(rows).drop_null()
    return float(np.sqrt(np.mean(known.to_numpy() ** 2))) if len(known) else None
