"""Waveforms that stand upside down, as far as that can be told.

Legend: N rows, T samples.
"""

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from hcvae.finding import Finding
from hcvae.inspection.recordings import KIND, LEVEL, SPECIES, Recordings, groups

FEWEST, AGREE, OPPOSE = 10, 0.5, -0.6
SURE_FROM_DB, SHIFT_MS, FROM_MS = 50.0, 0.3, 1.5


def check(recordings: Recordings) -> list[Finding]:
    """Rows that oppose the others of their stimulus, and human subjects that oppose the published response."""
    return [*_minority(recordings), *_against_norms(recordings)]


def opposition(signals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correlation [n] of each waveform [n, T] with the mean of the others; most of them positive.

    The others are turned to one polarity first, by their sign in the first principal direction: the majority counts as
    upright.
    """
    unit = signals - signals.mean(axis=1, keepdims=True)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    direction = np.linalg.eigh(unit.T @ unit)[1][:, -1]
    sign = np.where(unit @ direction < 0, -1.0, 1.0)
    sign *= -1.0 if sign.sum() < 0 else 1.0
    aligned = sign[:, None] * unit
    others = aligned.sum(axis=0) - aligned
    return np.asarray(np.sum(unit * others, axis=1) / np.linalg.norm(others, axis=1))


def _minority(recordings: Recordings) -> list[Finding]:
    stimulus = recordings.codes([*KIND, "stimulus_frequency_hz", LEVEL])
    among = recordings.highest(recordings.codes(KIND))
    inverted: list[int] = []
    for same in groups(stimulus, among):
        found = opposition(recordings.signals_uv[same].astype(np.float64)) if len(same) >= FEWEST else np.zeros(1)
        if np.median(np.abs(found)) >= AGREE:
            inverted += same[found < OPPOSE].tolist()
    if not inverted:
        return []
    rows = np.sort(inverted)
    subjects = np.unique(recordings.subject[rows])
    return [
        Finding(
            "rows of inverted polarity",
            f"{len(rows)} of {int(among.sum())} rows in the upper third of the levels correlate below {OPPOSE:g} with "
            f"the others of their stimulus, of {len(subjects)} subjects ({', '.join(subjects[:5])}"
            f"{', ...' if len(subjects) > 5 else ''}): {recordings.named(rows)}",
            "look at them beside the others; where electrodes were exchanged, multiply by -1 all rows of the session, "
            "those of lower levels too",
        )
    ]


def _against_norms(recordings: Recordings) -> list[Finding]:
    """Human click responses of the highest levels against the published one, vertex positive up."""
    loud = recordings.usable & (recordings.levels_db >= SURE_FROM_DB) & _is(recordings, SPECIES, "human")
    loud &= _is(recordings, "stimulus_type", "click")
    found = {}
    subjects, number = np.unique(recordings.subject, return_inverse=True)
    of_subject = groups(number, loud)
    for rows in of_subject:
        level_db = float(np.median(recordings.levels_db[rows]))
        mean = recordings.signals_uv[rows].mean(axis=0, dtype=np.float64)
        upright, upside_down = _likeness(mean, recordings.times_ms, level_db)
        if upside_down > upright and upside_down > -OPPOSE:
            found[str(subjects[number[rows[0]]])] = upside_down
    if not found:
        return []
    named = ", ".join(f"{subject} {-value:.2f}" for subject, value in list(found.items())[:5])
    return [
        Finding(
            "mean responses are upside down",
            f"{len(found)} of {len(of_subject)} human subjects: correlation of the mean from "
            f"{SURE_FROM_DB:g} dB on with the published click response, vertex positive up: {named}"
            f"{', ...' if len(found) > 5 else ''}",
            "if the recorder shows the vertex negative up, multiply by -1; see the figure (--figure)",
        )
    ]


def _likeness(mean: NDArray[np.float64], times_ms: NDArray[np.float64], level_db: float) -> tuple[float, float]:
    """Highest correlation with the published response, and with its negative, over shifts of up to 0.3 ms."""
    from hcvae.data.normative import RecordingConditions
    from hcvae.data.simulator import FACTORS, response_of
    from hcvae.data.synthesis import TIMES_MS

    one = np.ones(1)
    condition = RecordingConditions(level_db * one, 21.1 * one, 30.0 * one, 0.0 * one, np.zeros(1, np.bool_))
    neutral = {name: one if is_log else 0.0 * one for name, (_, is_log) in FACTORS.items()}
    published = response_of(condition, neutral)[0]
    inside = (times_ms >= FROM_MS) & (times_ms <= TIMES_MS[-1] - SHIFT_MS)
    if inside.sum() < FEWEST:
        return 0.0, 0.0
    found = [
        np.corrcoef(mean[inside], np.interp(times_ms[inside] - shift, TIMES_MS, published))[0, 1]
        for shift in np.linspace(-SHIFT_MS, SHIFT_MS, 13)
    ]
    return float(np.max(found)), float(-np.min(found))


def _is(recordings: Recordings, column: str, value: str) -> NDArray[np.bool_]:
    if column not in recordings.scalars.column_names:
        return np.zeros(len(recordings), np.bool_)
    return np.asarray(pc.equal(recordings.scalars[column].cast("string"), value).fill_null(False), np.bool_)
