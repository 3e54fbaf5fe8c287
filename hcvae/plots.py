"""Figures of waveforms and latents, drawn without any global state of matplotlib. The caller saves them.

Legend: R rows and C columns of a grid, K families, N waveforms, T samples, D latent dimensions. Waveforms in uV, times
and latencies in ms; `latency_ms` holds waves I, III, V, NaN for those that are not to be marked.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hcvae.data.atomic import written_whole

Array = NDArray[np.floating]

WAVES = ("I", "III", "V")
RECORDED, MODEL, MARKED = "#555555", "#0072B2", "#D55E00"
"""Grey, and blue and vermilion of Okabe & Ito's palette, which colour-blind readers tell apart."""
ORDERED = "viridis"
PANEL_INCHES = (2.1, 1.5)
DPI = 150


def swap_grid(waveforms_uv: Array, times_ms: Array, latency_ms: Array | None = None) -> Figure:
    """Every z_global with every z_local under one condition; the diagonal, in vermilion, is not exchanged.

    Args:
        waveforms_uv: decoded from z_global of the row and z_local of the column, [R, C, T].
        times_ms: of the samples, [T].
        latency_ms: predicted latencies, [R, C, 3]; None marks no wave.
    """
    rows, columns = waveforms_uv.shape[:2]
    figure, axes = _grid(rows, columns)
    for (row, column), axis in np.ndenumerate(axes):
        axis.plot(times_ms, waveforms_uv[row, column], color=MARKED if row == column else MODEL, linewidth=1.2)
        if latency_ms is not None:
            _mark_waves(axis, times_ms, waveforms_uv[row, column], latency_ms[row, column])
        if row == 0:
            axis.set_title(f"local {column + 1}", fontsize=8)
        if column == 0:
            axis.set_ylabel(f"global {row + 1}\nuV", fontsize=8)
    figure.suptitle("Exchanged latents under one condition:\nrows share z_global, columns share z_local", fontsize=10)
    return _with_time_axis(figure, axes)


def latent_families(waveforms_uv: Array, times_ms: Array, fixed: str, varied: str) -> Figure:
    """A panel for each value of one latent, with waveforms of several values of the other.

    Args:
        waveforms_uv: [K, N, T].
        times_ms: of the samples, [T].
        fixed: the latent that a panel shares, such as `z_global`.
        varied: the latent that differs within a panel.
    """
    figure, axes = _grid(1, len(waveforms_uv))
    for number, (axis, family) in enumerate(zip(axes[0], waveforms_uv, strict=True), start=1):
        for waveform, color in zip(family, _colors(len(family)), strict=True):
            axis.plot(times_ms, waveform, color=color, linewidth=0.9)
        axis.set_title(f"{fixed} {number}", fontsize=8)
    axes[0, 0].set_ylabel("uV", fontsize=8)
    figure.suptitle(f"{fixed} fixed in each panel, {varied} of other recordings", fontsize=10)
    return _with_time_axis(figure, axes)


def generated(
    families_uv: Sequence[Array],
    times_ms: Array,
    titles: Sequence[str],
    latency_ms: Sequence[Array],
    recorded_uv: Array | None = None,
    title: str = "Generated waveforms",
) -> Figure:
    """A panel for each family, its waveforms in the order of the colours, with the predicted waves.

    Args:
        families_uv: K families, each [N, T].
        times_ms: of the samples, [T].
        titles: of the families, [K].
        latency_ms: predicted latencies of each family, [N, 3].
        recorded_uv: a recording to draw behind each family, [T].
        title: of the whole figure.
    """
    columns = min(4, len(families_uv))
    figure, axes = _grid(-(-len(families_uv) // columns), columns, scale=1.6)
    for axis in axes.ravel()[len(families_uv) :]:
        axis.set_visible(False)
    for axis, waveforms, name, latencies in zip(axes.ravel(), families_uv, titles, latency_ms, strict=False):
        if recorded_uv is not None:
            axis.plot(times_ms, recorded_uv, color=RECORDED, linewidth=1.6, alpha=0.6, label="recording")
        for waveform, color in zip(waveforms, _colors(len(waveforms)), strict=True):
            axis.plot(times_ms, waveform, color=color, linewidth=0.9)
        _mark_family(axis, times_ms, waveforms, latencies)
        axis.set_title(name, fontsize=8)
    for axis in axes[:, 0]:
        axis.set_ylabel("uV", fontsize=8)
    if recorded_uv is not None:
        figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", fontsize=8)
    figure.suptitle(title, fontsize=10)
    return _with_time_axis(figure, axes)


def interpolation(waveforms_uv: Array, times_ms: Array, latency_ms: Array | None = None) -> Figure:
    """From one recording to another, in equal steps of both latents: the first at the top.

    Args:
        waveforms_uv: [N, T].
        times_ms: of the samples, [T].
        latency_ms: predicted latencies, [N, 3]; None marks no wave.
    """
    steps = [f"{share:.0%}" for share in np.linspace(0, 1, len(waveforms_uv))]
    return _stack(waveforms_uv, times_ms, latency_ms, steps, "From one recording (0%) to another (100%)")


def level_series(waveforms_uv: Array, levels_db: Array, times_ms: Array, latency_ms: Array | None = None) -> Figure:
    """One pair of latents at falling stimulus levels: the highest at the top.

    Args:
        waveforms_uv: [N, T].
        levels_db: [N].
        times_ms: of the samples, [T].
        latency_ms: predicted latencies, [N, 3]; None marks no wave.
    """
    falling = np.argsort(-np.asarray(levels_db))
    labels = [f"{level:g} dB" for level in np.asarray(levels_db)[falling]]
    marked = None if latency_ms is None else latency_ms[falling]
    return _stack(waveforms_uv[falling], times_ms, marked, labels, "The level alone changes, the latents do not")


def reconstructions(
    recorded_uv: Array,
    reconstructed_uv: Array,
    times_ms: Array,
    picked_ms: Array | None = None,
    predicted_ms: Array | None = None,
) -> Figure:
    """Recordings with what the model makes of them.

    Args:
        recorded_uv: [N, T].
        reconstructed_uv: [N, T].
        times_ms: of the samples, [T].
        picked_ms: labelled latencies, marked on the recordings, [N, 3].
        predicted_ms: predicted latencies, marked on the reconstructions, [N, 3].
    """
    columns = min(4, len(recorded_uv))
    figure, axes = _grid(-(-len(recorded_uv) // columns), columns)
    for axis in axes.ravel()[len(recorded_uv) :]:
        axis.set_visible(False)
    for row, axis in enumerate(axes.ravel()[: len(recorded_uv)]):
        axis.plot(times_ms, recorded_uv[row], color=RECORDED, linewidth=1.0, label="recorded")
        axis.plot(times_ms, reconstructed_uv[row], color=MODEL, linewidth=1.2, label="reconstructed")
        if picked_ms is not None:
            _mark_waves(axis, times_ms, recorded_uv[row], picked_ms[row], color=RECORDED, marker="x")
        if predicted_ms is not None:
            _mark_waves(axis, times_ms, reconstructed_uv[row], predicted_ms[row])
    for axis in axes[:, 0]:
        axis.set_ylabel("uV", fontsize=8)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8)
    figure.suptitle("Recordings and their reconstructions (x picked, dot predicted)", fontsize=10)
    return _with_time_axis(figure, axes)


def latent_use(variances: Mapping[str, Array], kl: Mapping[str, Array]) -> Figure:
    """Variance of the posterior means and KL divergence of every dimension, largest first.

    Args:
        variances: of each block's means, [D] by name of the block.
        kl: divergence of each block from the standard normal, nats per waveform, [D] by name.
    """
    figure, axes = _grid(2, len(variances), share_y="row")
    for column, block in enumerate(variances):
        order = np.argsort(-variances[block])
        for axis, values in zip(axes[:, column], (variances[block], kl[block]), strict=True):
            axis.bar(np.arange(len(order)), np.asarray(values)[order], color=MODEL)
        axes[0, column].set_title(f"z_{block}", fontsize=8)
        axes[1, column].set_xlabel("dimension, by variance", fontsize=8)
    axes[0, 0].set_ylabel("variance\nof means", fontsize=8)
    axes[1, 0].set_ylabel("KL, nats", fontsize=8)
    figure.suptitle("Use of the latents", fontsize=10)
    return figure


def save_figure(figure: Figure, path: str | Path, dpi: int = DPI) -> None:
    """Write a PNG under a temporary name, then rename: whoever reads `path` never sees half a file.

    Raises:
        UserError: `path` cannot be written.
    """
    with written_whole(path) as temporary:
        figure.savefig(temporary, format="png", dpi=dpi)


def _grid(rows: int, columns: int, share_y: str = "all", scale: float = 1.0) -> tuple[Figure, NDArray[Any]]:
    """Panels [rows, columns] of one scale, `scale` times the usual size."""
    width, height = (scale * inches for inches in PANEL_INCHES)
    size = (max(4.5, width * columns + 0.6), height * rows + 0.9)
    figure = Figure(figsize=size, layout="constrained")
    share_x = "all" if share_y == "all" else "none"
    axes = figure.subplots(rows, columns, sharex=share_x, sharey=share_y, squeeze=False)  # type: ignore[call-overload]
    for axis in axes.ravel():
        axis.tick_params(labelsize=7)
        axis.locator_params(nbins=4)
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _stack(waveforms_uv: Array, times_ms: Array, latency_ms: Array | None, labels: Sequence[str], title: str) -> Figure:
    """Waveforms [N, T] one below the other, at one scale."""
    figure = Figure(figsize=(4.5, 0.45 * len(waveforms_uv) + 1.6), layout="constrained")
    axis = figure.subplots()
    step = 0.7 * float(np.max(np.ptp(waveforms_uv, axis=1))) or 1.0
    heights = -step * np.arange(len(waveforms_uv))
    for row, (waveform, height, color) in enumerate(
        zip(waveforms_uv, heights, _colors(len(waveforms_uv)), strict=True)
    ):
        shifted = waveform - waveform.mean() + height
        axis.plot(times_ms, shifted, color=color, linewidth=1.2)
        if latency_ms is not None:
            _mark_waves(axis, times_ms, shifted, latency_ms[row])
    axis.set_yticks(heights, labels, fontsize=8)
    axis.set_xlabel("ms", fontsize=8)
    axis.spines[["top", "right", "left"]].set_visible(False)
    bar_uv = float(f"{step:.1g}")
    axis.plot([times_ms[-1] * 1.02] * 2, [heights[-1], heights[-1] + bar_uv], color="black", linewidth=2)
    axis.annotate(f"{bar_uv:g} uV", (times_ms[-1] * 1.03, heights[-1] + bar_uv / 2), fontsize=8, va="center")
    axis.set_title(title, fontsize=10)
    return figure


def _mark_waves(
    axis: Axes, times_ms: Array, waveform_uv: Array, latency_ms: Array, color: str = MARKED, marker: str = "."
) -> None:
    """Wave names on the waveform [T], at their latencies [3]."""
    for wave, at_ms in zip(WAVES, latency_ms, strict=True):
        if times_ms[0] <= at_ms <= times_ms[-1]:  # not NaN
            height = float(np.interp(at_ms, times_ms, waveform_uv))
            axis.plot(at_ms, height, marker, color=color, markersize=5)
            axis.annotate(
                wave, (at_ms, height), xytext=(0, 4), textcoords="offset points", fontsize=7, ha="center", color=color
            )


def _mark_family(axis: Axes, times_ms: Array, waveforms_uv: Array, latency_ms: Array) -> None:
    """A dot on each waveform [N, T] at each of its latencies [N, 3], and the wave's name above them, once."""
    for wave, at_ms in zip(WAVES, latency_ms.T, strict=True):
        shown = np.flatnonzero((at_ms >= times_ms[0]) & (at_ms <= times_ms[-1]))  # not NaN
        if not len(shown):
            continue
        heights = [float(np.interp(at_ms[row], times_ms, waveforms_uv[row])) for row in shown]
        axis.plot(at_ms[shown], heights, ".", color=MARKED, markersize=3)
        above = (float(np.median(at_ms[shown])), max(heights))
        axis.annotate(wave, above, xytext=(0, 5), textcoords="offset points", fontsize=8, ha="center", color=MARKED)


def _colors(count: int) -> list[tuple[float, float, float, float]]:
    """As many colours of an ordered map that reads in grey, too; its yellow end is left out."""
    colormap = colormaps[ORDERED]
    return [colormap(position) for position in np.linspace(0, 0.85, count)]


def _with_time_axis(figure: Figure, axes: NDArray[Any]) -> Figure:
    for axis in axes[-1]:
        axis.set_xlabel("ms", fontsize=8)
    return figure
