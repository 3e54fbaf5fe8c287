"""The figure of a generated table: a panel for each condition, with the recordings that the waveforms are like."""

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from matplotlib.figure import Figure

from hcvae.bundle import Bundle
from hcvae.data.preprocessing import ConditionValue
from hcvae.figure_parts import NO_BREAK, STIMULUS, label_of, listed
from hcvae.generation import EncodedRecording, Family, families
from hcvae.plots import Panel, generated

MAX_PANELS, MAX_DRAWN, MAX_NAMED = 24, 30, 40
"""Conditions, waveforms of each, and conditions without a panel that are named."""


def generation_figure(
    bundle: Bundle, table: pa.Table, names: Sequence[str], recorded: Mapping[str, EncodedRecording], title: str
) -> tuple[Figure, list[str]]:
    """The figure, and notes on what of the table it does not show.

    Args:
        bundle: The model that generated the table.
        table: From `generate`, `vary`, `interpolate` or `swap`.
        names: Columns of the condition that were asked for.
        recorded: Recordings to draw with the waveforms of their normalisation group, by their label.
        title: Of the figure.
    """
    found = list(families(table))
    names = names or [name for name in STIMULUS if found[0].condition.get(name) is not None]
    shown = [int(k) for k in np.unique(np.linspace(0, len(found) - 1, MAX_PANELS).round())]
    varied = [name for name in names if len({family.condition[name] for family in found}) > 1]
    labels = [_labelled(family.condition, varied) for family in found]
    shares = [f"{share:.0%}" for share in table["share"].to_pylist()] if "share" in table.column_names else []
    group = bundle.preprocessing.signal.group_by
    panels = [_panel(found[k], labels[k], shares, recorded, group) for k in shown]
    shared = _labelled(found[0].condition, [name for name in names if name not in varied])
    panels += _recordings_alone(panels, recorded, group)
    notes = [*_on_conditions(labels, shown), *_on_waveforms(found)]
    preprocessing = bundle.preprocessing
    times_ms = np.arange(preprocessing.signal_length) * 1e3 / preprocessing.sampling_rate_hz
    lines = [title, *([shared] if shared else []), *(note.partition(":")[0] for note in notes)]
    return generated(panels, times_ms, "\n".join(lines)), notes


def _panel(
    family: Family, label: str, shares: Sequence[str], recorded: Mapping[str, EncodedRecording], group: str | None
) -> Panel:
    scale, count = _scale(family.condition, group), len(family.signals_uv)
    rows = np.unique(np.linspace(0, count - 1, MAX_DRAWN).round().astype(int)) if shares else np.arange(count)
    rows = rows[:MAX_DRAWN]
    return Panel(
        label,
        family.signals_uv[rows],
        family.latency_ms[rows],
        scale,
        {name: one.signal_uv for name, one in recorded.items() if _scale(one.condition, group) == scale},
        [shares[row] for row in rows] if shares else (),
    )


def _recordings_alone(
    panels: Sequence[Panel], recorded: Mapping[str, EncodedRecording], group: str | None
) -> list[Panel]:
    """Panels of the recordings whose normalisation group no panel has."""
    alone = {name: one for name, one in recorded.items() if not any(name in panel.recorded for panel in panels)}
    return [
        Panel(name, one.signal_uv[None][:0], scale=_scale(one.condition, group), recorded={name: one.signal_uv})
        for name, one in alone.items()
    ]


def _scale(condition: Mapping[str, ConditionValue], group: str | None) -> ConditionValue:
    return condition[group] if group else ""


def _labelled(condition: Mapping[str, ConditionValue], names: Sequence[str]) -> str:
    return listed([label_of(name, condition[name]) for name in names])


def _on_conditions(labels: Sequence[str], shown: Sequence[int]) -> list[str]:
    left = [label for number, label in enumerate(labels) if number not in shown]
    if not left:
        return []
    which = "; ".join(left).replace(NO_BREAK, " ") if len(left) <= MAX_NAMED else "all but those that have a panel"
    return [f"{len(left)} of {len(labels)} conditions not drawn: {which}"]


def _on_waveforms(found: Sequence[Family]) -> list[str]:
    most = max(len(family.signals_uv) for family in found)
    return [f"{MAX_DRAWN} of {most} waveforms of each condition drawn"] if most > MAX_DRAWN else []
