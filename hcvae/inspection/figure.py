"""Grand averages: the mean waveform of each level, one panel for each kind of recording and stimulus.

Legend: N rows, T samples.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hcvae.errors import UserError
from hcvae.figure_parts import (
    LARGE,
    MEDIUM,
    SMALL,
    TIME_LABEL,
    add_waterfall,
    filled,
    grid_of,
    label_of,
    ordered_colors,
)
from hcvae.inspection.recordings import FREQUENCY, KIND, Recordings, groups

MAX_PANELS, MAX_LEVELS = 12, 40
PANEL_WIDTH = 3.4
APART = 5.0
"""Subjects of one stimulus whose amplitudes are so many times apart have panels of their own."""
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Stimulus:
    """Rows of one panel."""

    title: str
    rows: Mask
    """[N]."""
    place: tuple[Any, ...]
    """By which panels are sorted: source, type, frequency, amplitude."""

    @property
    def name(self) -> str:
        """The title in one line."""
        return self.title.replace("\n", ", ")


def stimuli(recordings: Recordings) -> list[Stimulus]:
    """The kinds of recording and stimulus, those of most rows first; rows without a waveform are left out."""
    found = []
    kinds = recordings.codes((*KIND, FREQUENCY))
    of_kinds = groups(kinds, recordings.finite)
    for rows in of_kinds:
        values = _values(recordings, int(rows[0]))
        title = "all rows" if len(of_kinds) == 1 and not any(values.values()) else _title(values)
        frequency = values.get(FREQUENCY)
        number = frequency if isinstance(frequency, float) else 0.0
        place = (*(str(values.get(name) or "") for name in KIND), number, str(frequency))
        classes = _by_amplitude(recordings, rows)
        for size, members in classes:
            mask = np.zeros(len(recordings), bool)
            mask[members] = True
            suffix = "" if len(classes) == 1 else f"\npeak to peak about {float(f'{size:.1g}'):g} {recordings.unit}"
            found.append(Stimulus(title + suffix, mask, (*place, size)))
    return sorted(found, key=lambda stimulus: -int(stimulus.rows.sum()))


def grand_averages(recordings: Recordings) -> Figure:
    """Mean waveforms in uV over ms, one above the other by level; at most 12 panels, those of most rows.

    Raises:
        UserError: no row has a waveform.
    """
    found = stimuli(recordings)
    if not found:
        raise UserError(f"{recordings.path}: no figure without waveforms, but all rows hold NaN or nothing")
    shown = sorted(found[:MAX_PANELS], key=lambda stimulus: stimulus.place)
    means = [means_by_level(recordings, stimulus.rows) for stimulus in shown]
    rows, columns = grid_of(len(shown))
    tallest = min(MAX_LEVELS, max(map(len, means)))
    figure = Figure(figsize=(PANEL_WIDTH * columns + 0.6, rows * (0.24 * tallest + 1.7) + 0.8), layout="constrained")
    for number, (stimulus, of_levels) in enumerate(zip(shown, means, strict=True)):
        _panel(figure.add_subplot(rows, columns, number + 1), recordings, stimulus.title, of_levels)
    notes = "".join(f"\n{note.partition(':')[0]}" for note in not_plotted(recordings))
    scales = "; each panel has its own scale" if len(shown) > 1 else ""
    title = f"Mean waveforms by level, with the number of averages{scales}{notes}"
    figure.suptitle(filled(title, figure.get_figwidth(), LARGE), fontsize=LARGE)
    return figure


def not_plotted(recordings: Recordings) -> list[str]:
    """What of the table the figure does not show."""
    found = stimuli(recordings)
    notes = []
    if len(found) > MAX_PANELS:
        left = "; ".join(f"{stimulus.name} ({int(stimulus.rows.sum())} rows)" for stimulus in found[MAX_PANELS:])
        notes.append(f"{len(found) - MAX_PANELS} of {len(found)} stimuli not drawn: {left}")
    for stimulus in found[:MAX_PANELS]:
        levels = len(np.unique(recordings.levels_db[stimulus.rows]))
        if levels > MAX_LEVELS:
            notes.append(
                f"{levels - MAX_LEVELS} of {levels} levels not drawn: every {levels / MAX_LEVELS:.1f}th of "
                f"{stimulus.name} is"
            )
    if left_out := int(np.sum(~recordings.finite)):
        notes.append(f"{left_out} of {len(recordings)} rows not drawn: they have no waveform, or NaN")
    return notes


def means_by_level(recordings: Recordings, among: Mask) -> list[tuple[float, int, NDArray[np.float64]]]:
    """Level in dB (NaN: unknown), number of rows and mean waveform [T] of the rows `among` [N], lowest level first."""
    result = []
    for level in np.unique(recordings.levels_db[among]):  # NaN counts as one value
        of_level = among & ((recordings.levels_db == level) | (np.isnan(recordings.levels_db) & np.isnan(level)))
        mean = recordings.signals_uv[of_level].mean(axis=0, dtype=np.float64)
        result.append((float(level), int(of_level.sum()), mean))
    return result


def _panel(axis: Axes, recordings: Recordings, title: str, means: list[tuple[float, int, NDArray[np.float64]]]) -> None:
    even = np.unique(np.linspace(0, len(means) - 1, MAX_LEVELS).round().astype(int))
    shown = [means[number] for number in even[::-1]]
    labels = [f"{f'{level:g} dB' if np.isfinite(level) else 'no level'} ({rows})" for level, rows, _ in shown]
    waveforms = [mean for _, _, mean in shown]
    add_waterfall(axis, recordings.times_ms, waveforms, labels, ordered_colors(len(shown))[::-1], recordings.unit)
    axis.set_title(filled(title, PANEL_WIDTH, MEDIUM), fontsize=MEDIUM)
    axis.set_xlabel(TIME_LABEL, fontsize=SMALL)


def _values(recordings: Recordings, row: int) -> dict[str, Any]:
    """What tells the stimulus of a row from others, as far as it is known."""
    known = [name for name in (*KIND, FREQUENCY) if name in recordings.scalars.column_names]
    return {name: recordings.scalars[name][row].as_py() for name in known}


def _title(values: Mapping[str, Any]) -> str:
    source = ", ".join(str(values[name]) for name in KIND[:-1] if values.get(name))
    frequency = [label_of(FREQUENCY, values[FREQUENCY])] if values.get(FREQUENCY) else []
    stimulus = " ".join([str(values[name]) for name in KIND[-1:] if values.get(name)] + frequency)
    return "\n".join(line for line in (source, stimulus or "no stimulus type") if line)


def _by_amplitude(recordings: Recordings, rows: NDArray[np.int64]) -> list[tuple[float, NDArray[np.int64]]]:
    """The rows of subjects whose amplitudes compare, with their median peak to peak at the highest levels, the smallest
    first."""
    _, subject = np.unique(recordings.subject[rows], return_inverse=True)
    within = np.full(len(recordings), -1)
    within[rows] = subject
    highest = recordings.highest(within)[rows]
    size = np.ptp(recordings.signals_uv[rows], axis=1).astype(np.float64)
    typical = np.array([np.median(size[own[highest[own]] if highest[own].any() else own]) for own in groups(subject)])
    order = np.argsort(typical)
    known = np.maximum(typical[order], np.finfo(float).tiny)
    classes = np.split(order, np.flatnonzero(known[1:] > APART * known[:-1]) + 1)
    return [(float(np.median(typical[members])), rows[np.isin(subject, members)]) for members in classes]
