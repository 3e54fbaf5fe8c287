"""Figure of grand averages: the mean waveform of each level, one panel per kind of recording and stimulus.

Shapes: N rows, T samples.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hcvae.counting import counted
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

MAX_PANELS = 12
MAX_LEVELS = 40
PANEL_WIDTH = 3.4
"""Inches."""
AMPLITUDE_GAP = 5.0
"""Subjects whose amplitudes differ by this factor get separate panels."""
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Stimulus:
    """The rows of one panel."""

    title: str
    rows: Mask
    """[N]."""
    sort_key: tuple[Any, ...]
    """Source, type, frequency, amplitude."""

    @property
    def name(self) -> str:
        """The title on one line."""
        return self.title.replace("\n", ", ")


def stimuli(recordings: Recordings) -> list[Stimulus]:
    """Return the kinds of recording and stimulus, those with most rows first, without rows that have no waveform."""
    found: list[Stimulus] = []
    kinds = groups(recordings.codes((*KIND, FREQUENCY)), recordings.finite)
    for rows in kinds:
        values = _values(recordings, int(rows[0]))
        title = _title(values)
        if len(kinds) == 1 and not any(values.values()):
            title = "all rows"
        classes = _by_amplitude(recordings, rows)
        for size, members in classes:
            mask = np.zeros(len(recordings), bool)
            mask[members] = True
            class_title = title
            if len(classes) > 1:
                class_title += f"\npeak to peak about {float(f'{size:.1g}'):g} {recordings.unit}"
            found.append(Stimulus(class_title, mask, (*_sort_key(values), size)))
    return sorted(found, key=lambda stimulus: -int(stimulus.rows.sum()))


def _sort_key(values: Mapping[str, Any]) -> tuple[Any, ...]:
    frequency = values.get(FREQUENCY)
    number = 0.0
    if isinstance(frequency, float):
        number = frequency
    kind = [str(values.get(name) or "") for name in KIND]
    return (*kind, number, str(frequency))


def grand_averages(recordings: Recordings) -> Figure:
    """Plot mean waveforms in uV over ms, stacked by level; at most 12 panels, those with most rows.

    Raises:
        UserError: no row has a waveform.
    """
    found = stimuli(recordings)
    if not found:
        raise UserError(f"{recordings.path}: nothing to plot, because no row has a waveform without NaN")
    shown = sorted(found[:MAX_PANELS], key=lambda stimulus: stimulus.sort_key)
    means = [means_by_level(recordings, stimulus.rows) for stimulus in shown]
    rows, columns = grid_of(len(shown))
    tallest = min(MAX_LEVELS, max(map(len, means)))
    figure = Figure(figsize=(PANEL_WIDTH * columns + 0.6, rows * (0.24 * tallest + 1.7) + 0.8), layout="constrained")
    for number, (stimulus, of_levels) in enumerate(zip(shown, means, strict=True)):
        subjects = len(np.unique(recordings.subject[stimulus.rows]))
        of_subjects = f"\n{counted(subjects, 'subject')}"
        _panel(figure.add_subplot(rows, columns, number + 1), recordings, stimulus.title + of_subjects, of_levels)
    title = "Mean waveforms by level, with the number of averages"
    if len(shown) > 1:
        title += "; each panel has its own scale"
    for note in not_plotted(recordings):
        title += f"\n{note.partition(':')[0]}"
    figure.suptitle(filled(title, figure.get_figwidth(), LARGE), fontsize=LARGE)
    return figure


def not_plotted(recordings: Recordings) -> list[str]:
    """Return notes on the parts of the table that the figure does not show."""
    found = stimuli(recordings)
    notes = []
    if len(found) > MAX_PANELS:
        omitted = []
        for stimulus in found[MAX_PANELS:]:
            omitted.append(f"{stimulus.name} ({counted(int(stimulus.rows.sum()), 'row')})")
        notes.append(f"{len(found) - MAX_PANELS} of {len(found)} stimuli not plotted: {'; '.join(omitted)}")
    for stimulus in found[:MAX_PANELS]:
        levels = len(np.unique(recordings.levels_db[stimulus.rows]))
        if levels > MAX_LEVELS:
            notes.append(
                f"{levels - MAX_LEVELS} of {levels} levels not plotted: only every {levels / MAX_LEVELS:.1f}th of "
                f"{stimulus.name} is"
            )
    not_finite = int(np.sum(~recordings.finite))
    if not_finite:
        notes.append(f"{not_finite} of {counted(len(recordings), 'row')} not plotted: they have no waveform, or NaN")
    return notes


def means_by_level(recordings: Recordings, among: Mask) -> list[tuple[float, int, NDArray[np.float64]]]:
    """Return the levels in dB (NaN: unknown) of the rows `among` [N], each with its number of rows and mean [T]."""
    result = []
    for level in np.unique(recordings.levels_db[among]):  # all NaN are one value
        of_level = recordings.levels_db == level
        if np.isnan(level):
            of_level = np.isnan(recordings.levels_db)
        of_level &= among
        mean = recordings.signals_uv[of_level].mean(axis=0, dtype=np.float64)
        result.append((float(level), int(of_level.sum()), mean))
    return result


def _panel(axis: Axes, recordings: Recordings, title: str, means: list[tuple[float, int, NDArray[np.float64]]]) -> None:
    even = np.unique(np.linspace(0, len(means) - 1, MAX_LEVELS).round().astype(int))
    waveforms: list[NDArray[np.float64]] = []
    labels: list[str] = []
    for number in even[::-1]:
        level, rows, mean = means[number]
        level_label = "no level"
        if np.isfinite(level):
            level_label = f"{level:g} dB"
        labels.append(f"{level_label} ({rows})")
        waveforms.append(mean)
    add_waterfall(axis, recordings.times_ms, waveforms, labels, ordered_colors(len(labels))[::-1], recordings.unit)
    axis.set_title(filled(title, PANEL_WIDTH, MEDIUM), fontsize=MEDIUM)
    axis.set_xlabel(TIME_LABEL, fontsize=SMALL)


def _values(recordings: Recordings, row: int) -> dict[str, Any]:
    """Return the known values that characterise the kind of recording and stimulus of a row."""
    known = {}
    for name in (*KIND, FREQUENCY):
        if name in recordings.scalars.column_names:
            known[name] = recordings.scalars[name][row].as_py()
    return known


def _title(values: Mapping[str, Any]) -> str:
    *source_columns, stimulus_column = KIND
    source: list[str] = []
    for name in source_columns:
        if values.get(name):
            source.append(str(values[name]))
    stimulus: list[str] = []
    if values.get(stimulus_column):
        stimulus.append(str(values[stimulus_column]))
    if values.get(FREQUENCY):
        stimulus.append(label_of(FREQUENCY, values[FREQUENCY]))
    last_line = " ".join(stimulus) or "no stimulus type"
    if not source:
        return last_line
    return f"{', '.join(source)}\n{last_line}"


def _by_amplitude(recordings: Recordings, rows: NDArray[np.int64]) -> list[tuple[float, NDArray[np.int64]]]:
    """Divide `rows` by subject into classes of similar amplitude, the smallest first.

    Returns:
        The median peak-to-peak amplitude at the highest levels, and the rows, of each class.
    """
    _, subject = np.unique(recordings.subject[rows], return_inverse=True)
    within = np.full(len(recordings), -1)
    within[rows] = subject
    highest = recordings.highest(within)[rows]
    size = np.ptp(recordings.signals_uv[rows], axis=1).astype(np.float64)
    typical = np.empty(subject.max() + 1)
    for number, own in enumerate(groups(subject)):
        loudest = own[highest[own]]
        if not loudest.size:
            loudest = own
        typical[number] = np.median(size[loudest])
    order = np.argsort(typical)
    rising = np.maximum(typical[order], np.finfo(float).tiny)
    classes = np.split(order, np.flatnonzero(rising[1:] > AMPLITUDE_GAP * rising[:-1]) + 1)
    classified = []
    for members in classes:
        classified.append((float(np.median(typical[members])), rows[np.isin(subject, members)]))
    return classified
