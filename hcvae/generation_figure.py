"""Figure of a generated table: a panel per condition, with the recordings that the waveforms were generated from."""

from collections.abc import Mapping, Sequence
from operator import attrgetter

import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hcvae.bundle import Bundle
from hcvae.counting import counted
from hcvae.data.preprocessing import ConditionValue
from hcvae.figure_parts import NO_BREAK, STIMULUS, evenly_spaced, known, label_of_condition, percentages
from hcvae.generation import EncodedRecording, Family, families
from hcvae.plots import Panel, generated

Waveform = NDArray[np.float32]

MAX_PANELS = 24
"""Conditions with a panel."""
MAX_PLOTTED = 30
"""Waveforms in a panel."""
MAX_NAMED = 40
"""Conditions without a panel that a note lists."""


def generation_figure(
    bundle: Bundle, table: pa.Table, names: Sequence[str], recorded: Mapping[str, EncodedRecording], title: str
) -> tuple[Figure, list[str]]:
    """Return the figure, and notes on the parts of the table that it does not show.

    Args:
        bundle: The model that generated the table.
        table: From `generate`, `vary`, `interpolate` or `swap`.
        names: Columns of the condition that the user gave.
        recorded: Recordings to plot with the waveforms of their normalisation group, by label.
        title: Title of the figure.
    """
    preprocessing = bundle.preprocessing
    found = list(families(table))
    names = names or known(found[0].condition, STIMULUS)
    varied = [name for name in names if _varies(found, name)]
    labels = [label_of_condition(family.condition, varied) for family in found]
    shown = evenly_spaced(len(found), MAX_PANELS)
    shares = _shares(table)
    by_scale = _by_scale(recorded, preprocessing.signal.group_by)
    panels: list[Panel] = []
    for number in shown:
        scale = _scale(found[number].condition, preprocessing.signal.group_by)
        panels.append(_panel(found[number], labels[number], shares, scale, by_scale.get(scale, {})))
    panels += _recordings_alone(panels, by_scale)
    notes = [*_on_conditions(labels, shown), *_on_waveforms(found)]
    shared = [name for name in names if name not in varied]
    title = _with_notes(title, label_of_condition(found[0].condition, shared), notes)
    times_ms = np.arange(preprocessing.signal_length) * 1e3 / preprocessing.sampling_rate_hz
    return generated(panels, times_ms, title), notes


def _with_notes(title: str, shared: str, notes: Sequence[str]) -> str:
    """Return the title with the values that all panels share and the notes, without their details."""
    lines = [title, shared]
    for note in notes:
        lines.append(note.partition(":")[0])
    return "\n".join(filter(None, lines))


def _shares(table: pa.Table) -> list[str]:
    """Return the labels of an interpolation's steps; of another table none."""
    if "share" not in table.column_names:
        return []
    return percentages(table["share"].to_pylist())


def _panel(
    family: Family, label: str, shares: Sequence[str], scale: ConditionValue, recorded: Mapping[str, Waveform]
) -> Panel:
    count = len(family.signals_uv)
    rows = np.arange(min(count, MAX_PLOTTED))
    steps: list[str] = []
    if shares:
        rows = evenly_spaced(count, MAX_PLOTTED)
        steps = np.take(shares, rows).tolist()
    return Panel(label, family.signals_uv[rows], family.latency_ms[rows], scale, recorded, steps)


def _by_scale(recorded: Mapping[str, EncodedRecording], group: str | None) -> dict[ConditionValue, dict[str, Waveform]]:
    """Return the recordings [T] of each normalisation group, by label."""
    by_scale: dict[ConditionValue, dict[str, Waveform]] = {}
    for name, recording in recorded.items():
        scale = _scale(recording.condition, group)
        by_scale.setdefault(scale, {})[name] = recording.signal_uv
    return by_scale


def _recordings_alone(
    panels: Sequence[Panel], by_scale: Mapping[ConditionValue, Mapping[str, Waveform]]
) -> list[Panel]:
    """Return a panel for each recording whose normalisation group is in no other panel."""
    shown = set(map(attrgetter("scale"), panels))
    alone: list[Panel] = []
    for scale, recorded in by_scale.items():
        if scale not in shown:
            for name, signal_uv in recorded.items():
                alone.append(Panel(name, signal_uv[None][:0], scale=scale, recorded={name: signal_uv}))
    return alone


def _varies(found: Sequence[Family], name: str) -> bool:
    return len({family.condition[name] for family in found}) > 1


def _scale(condition: Mapping[str, ConditionValue], group: str | None) -> ConditionValue:
    if not group:
        return ""
    return condition[group]


def _on_conditions(labels: Sequence[str], shown: NDArray[np.int64]) -> list[str]:
    omitted = np.delete(labels, shown).tolist()
    if not omitted:
        return []
    listed_labels = "all others"
    if len(omitted) <= MAX_NAMED:
        listed_labels = "; ".join(omitted).replace(NO_BREAK, " ")
    return [f"{len(omitted)} of {counted(len(labels), 'condition')} not plotted: {listed_labels}"]


def _on_waveforms(found: Sequence[Family]) -> list[str]:
    count = max(len(family.signals_uv) for family in found)
    if count <= MAX_PLOTTED:
        return []
    return [f"{MAX_PLOTTED} of {count} waveforms of each condition plotted"]
