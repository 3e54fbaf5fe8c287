"""Figures of decoded waveforms and latents.

Shapes: R rows and C columns of a grid, K panels, N waveforms, T samples, D latent dimensions. Waveforms in uV, times
and latencies in ms; `latency_ms` holds waves I, III, V, NaN for a wave without a mark.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hcvae.atomic import atomic_write
from hcvae.figure_parts import (
    EXCHANGED,
    LARGE,
    MEDIUM,
    MODEL,
    RECORDED,
    SMALL,
    TIME_LABEL,
    WAVE,
    Array,
    Color,
    add_legend,
    add_waterfall,
    evenly_spaced,
    filled,
    grid_of,
    ordered_colors,
    panels,
    percentages,
)

WAVES = ("I", "III", "V")
DPI = 150
NAMED_STEPS = 5
"""Waveforms of an ordered series that the legend names."""
CLOSE = 0.08
"""Fraction of the time axis: names of waves that are closer are stacked."""
PREDICTED = {"predicted wave": {"color": WAVE, "marker": ".", "linestyle": "none"}}


@dataclass(frozen=True)
class Panel:
    """The waveforms of one panel."""

    title: str
    waveforms_uv: Array
    """[N, T]."""
    latency_ms: Array | None = None
    """Predicted latencies [N, 3]; None: no marks."""
    scale: Hashable = ""
    """Panels of one scale share the uV axis."""
    recorded: Mapping[str, Array] = field(default_factory=dict)
    """Recordings to compare with [T], by label; at most two."""
    steps: Sequence[str] = ()
    """Label of each waveform of an ordered series [N]; empty: random samples."""


def swap_grid(waveforms_uv: Array, times_ms: Array, latency_ms: Array | None = None) -> Figure:
    """Plot every z_global with every z_local under one condition; on the diagonal nothing is exchanged.

    Args:
        waveforms_uv: decoded from z_global of the row and z_local of the column, [R, C, T].
        times_ms: of the samples, [T].
        latency_ms: predicted latencies, [R, C, 3]; None: no marks.
    """
    rows, columns = waveforms_uv.shape[:2]
    figure, axes = panels(rows, columns)
    for axis, (row, column) in zip(axes, np.ndindex(rows, columns), strict=True):
        color = MODEL if row == column else EXCHANGED
        axis.plot(times_ms, waveforms_uv[row, column], color=color, linewidth=1.2)
        if latency_ms is not None:
            _mark_waves(axis, times_ms, waveforms_uv[row, column], latency_ms[row, column])
        if row == 0:
            axis.set_title(f"local {column + 1}", fontsize=MEDIUM)
        if column == 0:
            axis.set_ylabel(f"global {row + 1}\nuV", fontsize=MEDIUM)
    title = "Exchanged latents under one condition:\nrows share z_global, columns share z_local"
    looks = {"both latents of one recording": {"color": MODEL}, "latents of two recordings": {"color": EXCHANGED}}
    return _with_title_and_legend(figure, title, looks, latency_ms)


def latent_families(
    waveforms_uv: Array,
    times_ms: Array,
    fixed: str,
    varied: str,
    titles: Sequence[str] | None = None,
    scales: Sequence[Hashable] | None = None,
) -> Figure:
    """Plot a panel for each value of one latent, with waveforms of several values of the other.

    Args:
        waveforms_uv: [K, N, T].
        times_ms: of the samples, [T].
        fixed: name of the latent that a panel shares, such as `z_global`.
        varied: name of the latent that differs within a panel.
        titles: conditions of the panels, [K].
        scales: panels of one scale share the uV axis, [K]; None: all do.
    """
    count = len(waveforms_uv)
    named = []
    for number, title in enumerate(titles or [""] * count, start=1):
        named.append(f"{fixed} {number}\n{title}".strip())
    figure, axes = panels(*grid_of(count), scales or [""] * count, named)
    for axis, family in zip(axes, waveforms_uv, strict=True):
        axis.plot(times_ms, family.T, color=EXCHANGED, linewidth=0.8)
    looks = {f"{varied} of another recording": {"color": EXCHANGED}}
    title = f"{fixed} fixed in each panel, {varied} of {waveforms_uv.shape[1]} other recordings"
    return _with_title_and_legend(figure, title, looks)


def generated(shown: Sequence[Panel], times_ms: Array, title: str = "Generated waveforms") -> Figure:
    """Plot families of generated waveforms with their predicted waves and the recordings to compare with.

    Args:
        shown: the panels, [K].
        times_ms: of the samples, [T].
        title: of the whole figure.
    """
    scales = [panel.scale for panel in shown]
    titles = [panel.title for panel in shown]
    figure, axes = panels(*grid_of(len(shown)), scales, titles, (3.2, 2.3))
    looks: dict[str, dict[str, object]] = {}
    marked: list[Array] = [np.empty((0, 3))]
    for axis, panel in zip(axes, shown, strict=True):
        looks |= _plot_panel(axis, times_ms, panel)
        if panel.latency_ms is not None:
            _mark_family(axis, times_ms, panel.waveforms_uv, panel.latency_ms)
            marked.append(panel.latency_ms)
    return _with_title_and_legend(figure, title, looks, np.concatenate(marked))


def interpolation(waveforms_uv: Array, times_ms: Array, latency_ms: Array | None = None) -> Figure:
    """Plot the way from one recording to another, in equal steps of both latents: the first at the top.

    Args:
        waveforms_uv: [N, T].
        times_ms: of the samples, [T].
        latency_ms: predicted latencies, [N, 3]; None: no marks.
    """
    steps = percentages(np.linspace(0, 1, len(waveforms_uv)))
    return _waterfall(waveforms_uv, times_ms, latency_ms, steps, "From one recording (0%) to another (100%)")


def level_series(waveforms_uv: Array, levels_db: Array, times_ms: Array, latency_ms: Array | None = None) -> Figure:
    """Plot one pair of latents at falling stimulus levels: the highest at the top.

    Args:
        waveforms_uv: [N, T].
        levels_db: [N].
        times_ms: of the samples, [T].
        latency_ms: predicted latencies, [N, 3]; None: no marks.
    """
    falling = np.argsort(-np.asarray(levels_db))
    labels = [f"{level:g} dB" for level in np.asarray(levels_db)[falling]]
    if latency_ms is not None:
        latency_ms = latency_ms[falling]
    return _waterfall(waveforms_uv[falling], times_ms, latency_ms, labels, "Only the level changes, the latents stay")


def reconstructions(
    recorded_uv: Array,
    reconstructed_uv: Array,
    times_ms: Array,
    picked_ms: Array | None = None,
    predicted_ms: Array | None = None,
    titles: Sequence[str] | None = None,
    scales: Sequence[Hashable] | None = None,
) -> Figure:
    """Plot recordings with their reconstructions.

    Args:
        recorded_uv: [N, T].
        reconstructed_uv: [N, T].
        times_ms: of the samples, [T].
        picked_ms: labelled latencies, marked on the recordings, [N, 3].
        predicted_ms: predicted latencies, marked on the reconstructions, [N, 3].
        titles: conditions of the recordings, [N].
        scales: panels of one scale share the uV axis, [N]; None: all do.
    """
    count = len(recorded_uv)
    figure, axes = panels(*grid_of(count), scales or [""] * count, titles)
    looks: dict[str, dict[str, object]] = {"recorded": {"color": RECORDED}, "reconstructed": {"color": MODEL}}
    for row, axis in enumerate(axes):
        axis.plot(times_ms, recorded_uv[row], color=RECORDED, linewidth=1.0)
        axis.plot(times_ms, reconstructed_uv[row], color=MODEL, linewidth=1.2)
        if picked_ms is not None and np.isfinite(picked_ms[row]).any():
            _mark_waves(axis, times_ms, recorded_uv[row], picked_ms[row], color=RECORDED, marker="x")
            looks["picked wave"] = {"color": RECORDED, "marker": "x", "linestyle": "none"}
        if predicted_ms is not None:
            _mark_waves(axis, times_ms, reconstructed_uv[row], predicted_ms[row])
    return _with_title_and_legend(figure, "Recordings and their reconstructions", looks, predicted_ms)


def latent_use(variances: Mapping[str, Array], kl: Mapping[str, Array]) -> Figure:
    """Plot the variance of the posterior means and the KL divergence of every dimension, largest variance first.

    Args:
        variances: variance of each block's means, [D] by name of the block.
        kl: divergence of each block from the standard normal in nats per waveform, [D] by name of the block.
    """
    figure = Figure(figsize=(2.7 * len(variances) + 0.8, 4.2), layout="constrained")
    axes = figure.subplots(2, len(variances), sharey="row", squeeze=False)
    for column, block in enumerate(variances):
        order = np.argsort(-variances[block])
        for axis, values in zip(axes[:, column], (variances[block], kl[block]), strict=True):
            axis.bar(np.arange(1, len(order) + 1), np.asarray(values)[order], color=MODEL)
            axis.tick_params(labelsize=SMALL)
            axis.spines[["top", "right"]].set_visible(False)
        axes[0, column].set_title(f"z_{block}", fontsize=MEDIUM)
        axes[1, column].set_xlabel("dimension, by variance", fontsize=MEDIUM)
    axes[0, 0].set_ylabel("variance of means", fontsize=MEDIUM)
    axes[1, 0].set_ylabel("KL divergence, nats", fontsize=MEDIUM)
    figure.suptitle("Use of the latents", fontsize=LARGE)
    return figure


def save_figure(figure: Figure, path: str | Path, dpi: int = DPI) -> None:
    """Write `figure` as PNG, atomically.

    Raises:
        UserError: `path` cannot be written.
    """
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=dpi)


def _plot_panel(axis: Axes, times_ms: Array, panel: Panel) -> dict[str, dict[str, object]]:
    """Plot the waveforms and recordings of `panel`; return their entries in the legend."""
    looks: dict[str, dict[str, object]] = {}
    count = len(panel.waveforms_uv)
    colors: list[Color] = [MODEL] * count
    if panel.steps:
        colors = ordered_colors(count)
    for waveform, color in zip(panel.waveforms_uv, colors, strict=True):
        axis.plot(times_ms, waveform, color=color, linewidth=0.8)
    for (name, recorded), style in zip(panel.recorded.items(), ("-", "--"), strict=False):
        looks[name] = {"color": RECORDED, "linewidth": 1.8, "linestyle": style}
        axis.plot(times_ms, recorded, **looks[name])  # type: ignore[arg-type]
    if panel.steps:
        looks |= _looks_of_steps(panel.steps, colors)
    elif count:
        looks["generated"] = {"color": MODEL}
    return looks


def _waterfall(
    waveforms_uv: Array, times_ms: Array, latency_ms: Array | None, labels: Sequence[str], title: str
) -> Figure:
    """Plot waveforms [N, T] one below the other, at one scale."""
    figure = Figure(figsize=(5.0, 0.45 * len(waveforms_uv) + 1.9), layout="constrained")
    axis = figure.subplots()
    plotted = add_waterfall(axis, times_ms, list(waveforms_uv), labels, ordered_colors(len(waveforms_uv)))
    for row, waveform in enumerate(plotted):
        if latency_ms is not None:
            _mark_waves(axis, times_ms, waveform, latency_ms[row])
    axis.set_xlabel(TIME_LABEL, fontsize=MEDIUM)
    return _with_title_and_legend(figure, title, {}, latency_ms)


def _with_title_and_legend(
    figure: Figure, title: str, looks: Mapping[str, Mapping[str, object]], predicted_ms: Array | None = None
) -> Figure:
    """Add a title and a legend of `looks`, and of predicted waves if there are any."""
    entries = dict(looks)
    if predicted_ms is not None and np.isfinite(predicted_ms).any():
        entries |= PREDICTED
    if entries:
        add_legend(figure, entries)
    figure.suptitle(filled(title, figure.get_figwidth(), LARGE), fontsize=LARGE)
    return figure


def _looks_of_steps(steps: Sequence[str], colors: Sequence[Color]) -> dict[str, dict[str, object]]:
    """Return legend entries of the first and last step and some between them."""
    named = evenly_spaced(len(steps), NAMED_STEPS)
    return {steps[number]: {"color": colors[number]} for number in named}


def _mark_waves(
    axis: Axes, times_ms: Array, waveform_uv: Array, latency_ms: Array, color: str = WAVE, marker: str = "."
) -> None:
    """Mark the latencies [3] on the waveform [T], with the names of the waves."""
    _mark_family(axis, times_ms, waveform_uv[None], latency_ms[None], color, marker, size=5)


def _mark_family(
    axis: Axes,
    times_ms: Array,
    waveforms_uv: Array,
    latency_ms: Array,
    color: str = WAVE,
    marker: str = ".",
    size: float = 3,
) -> None:
    """Mark the latencies [N, 3] on the waveforms [N, T], with the name of each wave once above the marks."""
    named: list[tuple[float, float]] = []
    near_ms = CLOSE * (times_ms[-1] - times_ms[0])
    for wave, at_ms in zip(WAVES, latency_ms.T, strict=True):
        shown = np.flatnonzero((at_ms >= times_ms[0]) & (at_ms <= times_ms[-1]))  # False for NaN
        if not len(shown):
            continue
        heights = [float(np.interp(at_ms[row], times_ms, waveforms_uv[row])) for row in shown]
        axis.plot(at_ms[shown], heights, marker, color=color, markersize=size)
        middle = float(np.median(at_ms[shown]))
        close = [y for x, y in named if abs(x - middle) < near_ms]
        named.append((middle, max([*heights, *close])))
        axis.annotate(
            wave,
            named[-1],
            xytext=(0, 4 + 11 * len(close)),  # above the names that it would overlap
            textcoords="offset points",
            fontsize=SMALL,
            ha="center",
            color=color,
        )
