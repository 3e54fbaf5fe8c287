"""Check for waveforms of inverted polarity, with the limits described in docs/inspect.md.

Shapes: N rows, T samples.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from hcvae.counting import counted
from hcvae.data.table import LEVEL, SPECIES
from hcvae.finding import Finding
from hcvae.inspection.recordings import KIND, Recordings, groups

MIN_ROWS = 10
"""Rows of a stimulus, or samples of a comparison, below which polarity is not checked."""
MIN_AGREEMENT = 0.5
"""Median absolute correlation below which the rows of a stimulus are not checked."""
OPPOSED = -0.6
"""Correlation below which a row is inverted."""
MIN_LEVEL_DB = 50.0
"""Level from which responses are compared with the published one."""
MAX_SHIFT_MS = 0.3
START_MS = 1.5
"""Start of that comparison, after the stimulus artefact."""
MAX_LISTED = 5
"""Subjects that a finding lists."""


def check(recordings: Recordings) -> list[Finding]:
    """Find rows opposed to the others of their stimulus, and human subjects opposed to the published response."""
    return [*_inverted_rows(recordings), *_inverted_subjects(recordings)]


def opposition(signals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the correlation of each waveform [n, T] with the mean of the others, aligned to one polarity [n].

    The sign along the first principal direction gives the polarity; that of the majority counts as upright.
    """
    unit = signals - signals.mean(axis=1, keepdims=True)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    direction = np.linalg.eigh(unit.T @ unit)[1][:, -1]
    sign = np.where(unit @ direction < 0, -1.0, 1.0)
    if sign.sum() < 0:
        sign = -sign
    aligned = sign[:, None] * unit
    others = aligned.sum(axis=0) - aligned
    return np.asarray(np.sum(unit * others, axis=1) / np.linalg.norm(others, axis=1))


def _inverted_rows(recordings: Recordings) -> list[Finding]:
    stimulus = recordings.codes([*KIND, "stimulus_frequency_hz", LEVEL])
    among = recordings.highest(recordings.codes(KIND))
    inverted: list[int] = []
    for same in groups(stimulus, among):
        if len(same) < MIN_ROWS:
            continue
        correlation = opposition(recordings.signals_uv[same].astype(np.float64))
        if np.median(np.abs(correlation)) >= MIN_AGREEMENT:
            inverted += same[correlation < OPPOSED].tolist()
    if not inverted:
        return []
    rows = np.sort(inverted)
    subjects = np.unique(recordings.subject[rows])
    return [
        Finding(
            "rows of inverted polarity",
            f"{len(rows)} of {counted(int(among.sum()), 'row')} in the upper third of the levels correlate below "
            f"{OPPOSED:g} with the others of their stimulus, of {counted(len(subjects), 'subject')} "
            f"({_listed(subjects.tolist())}): {recordings.named(rows)}",
            "compare them with the others; if electrodes were exchanged, multiply all rows of the session by -1, also "
            "those of lower levels",
        )
    ]


def _inverted_subjects(recordings: Recordings) -> list[Finding]:
    """Compare human click responses at high levels with the published response, vertex positive up."""
    loud = recordings.usable & (recordings.levels_db >= MIN_LEVEL_DB) & _is(recordings, SPECIES, "human")
    loud &= _is(recordings, "stimulus_type", "click")
    found: list[str] = []
    subjects, number = np.unique(recordings.subject, return_inverse=True)
    of_subject = groups(number, loud)
    for rows in of_subject:
        level_db = float(np.median(recordings.levels_db[rows]))
        mean = recordings.signals_uv[rows].mean(axis=0, dtype=np.float64)
        upright, inverted = _extreme_correlations(mean, recordings.times_ms, level_db)
        if inverted > upright and inverted > -OPPOSED:
            found.append(f"{subjects[number[rows[0]]]} {-inverted:.2f}")
    if not found:
        return []
    return [
        Finding(
            "mean responses are upside down",
            f"{len(found)} of {len(of_subject)} human subjects: correlation of the mean from "
            f"{MIN_LEVEL_DB:g} dB on with the published click response, vertex positive up: {_listed(found)}",
            "if the recorder shows the vertex negative up, multiply by -1; see the figure (--figure)",
        )
    ]


def _listed(texts: Sequence[str]) -> str:
    listed = ", ".join(texts[:MAX_LISTED])
    if len(texts) > MAX_LISTED:
        listed += ", ..."
    return listed


def _extreme_correlations(
    mean: NDArray[np.float64], times_ms: NDArray[np.float64], level_db: float
) -> tuple[float, float]:
    """Return the highest correlations with the published response and its negative, over shifts of up to 0.3 ms."""
    from hcvae.data.normative import RecordingConditions
    from hcvae.data.simulator import FACTORS, response_of
    from hcvae.data.synthesis import TIMES_MS

    one = np.ones(1)
    condition = RecordingConditions(level_db * one, 21.1 * one, 30.0 * one, 0.0 * one, np.zeros(1, np.bool_))
    neutral = {name: float(is_log) * one for name, (_, is_log) in FACTORS.items()}
    published = response_of(condition, neutral)[0]
    inside = (times_ms >= START_MS) & (times_ms <= TIMES_MS[-1] - MAX_SHIFT_MS)
    if inside.sum() < MIN_ROWS:
        return 0.0, 0.0
    found = []
    for shift in np.linspace(-MAX_SHIFT_MS, MAX_SHIFT_MS, 13):
        shifted = np.interp(times_ms[inside] - shift, TIMES_MS, published)
        found.append(np.corrcoef(mean[inside], shifted)[0, 1])
    return float(np.max(found)), float(-np.min(found))


def _is(recordings: Recordings, column: str, value: str) -> NDArray[np.bool_]:
    if column not in recordings.scalars.column_names:
        return np.zeros(len(recordings), np.bool_)
    return np.asarray(pc.equal(recordings.scalars[column].cast("string"), value).fill_null(False), np.bool_)
