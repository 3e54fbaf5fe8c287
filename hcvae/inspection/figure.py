"""Grand averages: the mean waveform of each level, one panel for each kind of recording.

Legend: N rows, T samples.
"""

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hcvae.errors import UserError
from hcvae.inspection.recordings import KIND, Recordings
from hcvae.plots import ORDERED

MOST_PANELS = 4


def grand_averages(recordings: Recordings) -> Figure:
    """Mean waveforms in uV over ms, one above the other by level; at most 4 panels, those of most rows.

    Raises:
        UserError: no row has a waveform.
    """
    kinds = recordings.codes(KIND)
    counts = np.bincount(kinds[recordings.finite])
    shown = np.sort(np.argsort(-counts, kind="stable")[:MOST_PANELS])
    shown = shown[counts[shown] > 0] if len(counts) else shown
    if not len(shown):
        raise UserError(f"{recordings.path}: no figure without waveforms, but all rows hold NaN or nothing")
    figure = Figure(figsize=(4.5 * len(shown) + 0.5, 6.5), layout="constrained")
    for axis, kind in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        _panel(axis, recordings, recordings.finite & (kinds == kind))
    figure.suptitle("Grand averages by level", fontsize=10)
    return figure


def means_by_level(recordings: Recordings, among: NDArray[np.bool_]) -> list[tuple[float, int, NDArray[np.float64]]]:
    """Level in dB (NaN: unknown), number of rows and mean waveform [T] of the rows `among` [N], lowest level first."""
    result = []
    for level in np.unique(recordings.levels_db[among]):  # NaN counts as one value
        of_level = among & ((recordings.levels_db == level) | (np.isnan(recordings.levels_db) & np.isnan(level)))
        mean = recordings.signals_uv[of_level].mean(axis=0, dtype=np.float64)
        result.append((float(level), int(of_level.sum()), mean))
    return result


def _panel(axis: Axes, recordings: Recordings, among: NDArray[np.bool_]) -> None:
    means = means_by_level(recordings, among)
    step = 0.6 * max(float(np.ptp(mean)) for _, _, mean in means) or 1.0
    colors = colormaps[ORDERED](np.linspace(0, 0.85, len(means)))
    for position, ((level, rows, mean), color) in enumerate(zip(means, colors, strict=True)):
        axis.plot(recordings.times_ms, mean + position * step, color=color, linewidth=1.1)
        label = f"{level:g} dB" if np.isfinite(level) else "no level"
        end = (recordings.times_ms[-1], float(mean[-1]) + position * step)
        axis.annotate(f" {label} ({rows})", end, fontsize=7, va="center", annotation_clip=False)
    axis.set_title(_title(recordings, among), fontsize=9)
    axis.set_xlabel("time after the stimulus, ms", fontsize=8)
    axis.set_ylabel(f"uV, each level {step:.2g} uV above the last", fontsize=8)
    axis.tick_params(labelsize=7)
    axis.spines[["top", "right"]].set_visible(False)


def _title(recordings: Recordings, among: NDArray[np.bool_]) -> str:
    row = int(np.flatnonzero(among)[0])
    names = [recordings.scalars[name][row].as_py() for name in KIND if name in recordings.scalars.column_names]
    return ", ".join(str(name) for name in names if name is not None) or "all rows"
