"""Figure of a generated table: a panel per condition, with the recordings that the waveforms were generated from."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure

from hcvae.bundle import Bundle
from hcvae.counting import counted
from hcvae.data.preprocessing import ConditionValue
from hcvae.figure_parts import NO_BREAK, STIMULUS, label_of, listed
from hcvae.generation import EncodedRecording, Family, families
from hcvae.plots import Panel, generated

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
    found = list(families(table))
    names = names or [name for name in STIMULUS if found[0].condition.get(name) is not None]
    shown = [int(k) for k in np.unique(np.linspace(0, len(found) - 1, MAX_PANELS).round())]
    varied = [name for name in names if _varies(found, name)]
    labels = [_labelled(family.condition, varied) for family in found]
    shares: list[str] = []
    if "share" in table.column_names:
        shares = [f"{share:.0%}" for share in table["share"].to_pylist()]
    group = bundle.preprocessing.signal.group_by
    panels = [_panel(found[k], labels[k], shares, recorded, group) for k in shown]
    shared = _labelled(found[0].condition, [name for name in names if name not in varied])
    panels += _recordings_alone(panels, recorded, group)
    notes = [*_on_conditions(labels, shown), *_on_waveforms(found)]
    preprocessing = bundle.preprocessing
    times_ms = np.arange(preprocessing.signal_length) * 1e3 / preprocessing.sampling_rate_hz
    lines = [title, shared, *(note.partition(":")[0] for note in notes)]
    return generated(panels, times_ms, "\n".join(line for line in lines if line)), notes


def _panel(
    family: Family, label: str, shares: Sequence[str], recorded: Mapping[str, EncodedRecording], group: str | None
) -> Panel:
    scale = _scale(family.condition, group)
    count = len(family.signals_uv)
    rows = np.arange(min(count, MAX_PLOTTED))
    steps: list[str] = []
    if shares:
        rows = np.unique(np.linspace(0, count - 1, MAX_PLOTTED).round().astype(int))
        steps = [shares[int(row)] for row in rows]
    compared = {
        name: recording.signal_uv for name, recording in recorded.items() if _scale(recording.condition, group) == scale
    }
    return Panel(label, family.signals_uv[rows], family.latency_ms[rows], scale, compared, steps)


def _recordings_alone(
    panels: Sequence[Panel], recorded: Mapping[str, EncodedRecording], group: str | None
) -> list[Panel]:
    """Return a panel for each recording whose normalisation group is in no other panel."""
    shown: set[str] = set().union(*(panel.recorded for panel in panels))
    alone: list[Panel] = []
    for name, recording in recorded.items():
        if name not in shown:
            signal_uv = recording.signal_uv
            scale = _scale(recording.condition, group)
            alone.append(Panel(name, signal_uv[None][:0], scale=scale, recorded={name: signal_uv}))
    return alone


def _varies(found: Sequence[Family], name: str) -> bool:
    return len({family.condition[name] for family in found}) > 1


def _scale(condition: Mapping[str, ConditionValue], group: str | None) -> ConditionValue:
    return condition[group] if group else ""


def _labelled(condition: Mapping[str, ConditionValue], names: Sequence[str]) -> str:
    return listed([label_of(name, condition[name]) for name in names])


def _on_conditions(labels: Sequence[str], shown: Sequence[int]) -> list[str]:
    omitted = [label for number, label in enumerate(labels) if number not in shown]
    if not omitted:
        return []
    listed_labels = "all others"
    if len(omitted) <= MAX_NAMED:
        listed_labels = "; ".join(omitted).replace(NO_BREAK, " ")
    return [f"{len(omitted)} of {counted(len(labels), 'condition')} not plotted: {listed_labels}"]


def _on_waveforms(found: Sequence[Family]) -> list[str]:
    count = max(len(family.signals_uv) for family in found)
    return [f"{MAX_PLOTTED} of {count} waveforms of each condition plotted"] if count > MAX_PLOTTED else []
