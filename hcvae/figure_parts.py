"""Parts of all waveform figures: colours, labels, panels, scale bars, legends. No global state of matplotlib.

Shapes: N waveforms, T samples, P panels.
"""

import math
import textwrap
from collections.abc import Hashable, Iterable, Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

Array = NDArray[np.floating]

# Each colour has a contrast of at least 3:1 on white (WCAG 2), and they are distinct to colour-blind readers: blue and
# vermilion are those of Okabe & Ito, the green is a darker one of theirs.
RECORDED = "#4D4D4D"
"""Colour of recordings."""
MODEL = "#0072B2"
"""Colour of reconstructed or generated waveforms."""
EXCHANGED = "#007A5A"
"""Colour of waveforms decoded from latents of two recordings."""
WAVE = "#D55E00"
"""Colour of waves I, III and V."""
COLOR_MAP = "viridis"
"""Colours of an ordered series."""
COLOR_MAP_END = 0.55
"""Beyond it, the map is too light for a line on white."""
STIMULUS = ("dataset", "species", "stimulus_type", "stimulus_frequency_hz", "stimulus_level_db")
"""Columns that titles name first: the source of a waveform and its stimulus."""
TIME_LABEL = "ms after stimulus onset"
NO_BREAK = "\u00a0"
# Font sizes.
SMALL = 8
MEDIUM = 9
LARGE = 11
PANEL_INCHES = (2.7, 1.7)
COLUMNS = 4
Color = str | tuple[float, float, float, float]


def ordered_colors(count: int) -> list[Color]:
    """Return `count` colours from dark to light, which also differ in greyscale."""
    return list(map(colormaps[COLOR_MAP], np.linspace(0, COLOR_MAP_END, count)))


def evenly_spaced(count: int, at_most: int) -> NDArray[np.int64]:
    """Return positions from the first to the last of `count`, in equal steps: all of them, or `at_most`."""
    return np.unique(np.linspace(0, count - 1, at_most).round().astype(int))


def percentages(shares: Iterable[float]) -> list[str]:
    """Format shares of 0 to 1 as labels."""
    return [f"{share:.0%}" for share in shares]


def plain(text: str) -> str:
    """Escape `$`, between two of which matplotlib expects a formula."""
    return text.replace("$", r"\$")


def filled(text: str, inches: float, size: int) -> str:
    """Wrap `text` in lines of about `inches` at font size `size`, with `$` escaped."""
    characters = max(12, int(inches * 72 / (0.6 * size)))
    wrapper = textwrap.TextWrapper(characters, break_on_hyphens=False)
    return plain("\n".join(map(wrapper.fill, text.split("\n"))))


def known(condition: Mapping[str, object], columns: Iterable[str]) -> list[str]:
    """Return those of `columns` for which `condition` has a value."""
    return [column for column in columns if condition.get(column) is not None]


def label_of_condition(condition: Mapping[str, object], columns: Iterable[str]) -> str:
    """Format `columns` of a condition for a title, so that `filled` breaks lines only between them."""
    labels = [label_of(column, condition[column]).replace(" ", NO_BREAK) for column in columns]
    return ", ".join(labels)


def label_of(column: str, value: object) -> str:
    """Format a value of a waveform table's column for a title."""
    if value is None:
        return f"{column} null"
    if isinstance(value, float | int):
        return _label_of_number(column, value)
    if column in ("dataset", "species", "stimulus_type"):
        return str(value)
    return f"{column} {value}"


def _label_of_number(column: str, value: float) -> str:
    if column == "stimulus_level_db":
        return f"{value:g} dB"
    if column == "stimulus_frequency_hz" and value >= 1e3:
        return f"{value / 1e3:.4g} kHz"
    if column == "stimulus_frequency_hz":
        return f"{value:.4g} Hz"
    if column == "stimulus_rate_hz":
        return f"{value:.4g}/s"
    return f"{column} {value:.4g}"


def grid_of(count: int) -> tuple[int, int]:
    """Return rows and columns of a grid of `count` panels: at most four columns, rows of about equal length."""
    rows = math.ceil(count / COLUMNS)
    return rows, math.ceil(count / rows)


def panels(
    rows: int,
    columns: int,
    scales: Sequence[Hashable] | None = None,
    titles: Sequence[str] | None = None,
    inches: tuple[float, float] = PANEL_INCHES,
) -> tuple[Figure, list[Axes]]:
    """Return a figure with P panels: as many as `scales`, or `rows` times `columns`.

    Panels of one scale share the uV axis. Its numbers are shown in the first column, or at each panel if there are
    several scales.
    """
    scale_of_panel = list(scales or [0] * (rows * columns))
    titles = titles or [""] * len(scale_of_panel)
    wrapped = [filled(title, inches[0] - 0.5, MEDIUM) for title in titles]
    height = inches[1] + 0.16 * int(np.char.count(wrapped, "\n").max())
    size = (max(4.5, inches[0] * columns + 0.7), height * rows + 1.3)
    figure = Figure(figsize=size, layout="constrained")
    has_several_scales = len(set(scale_of_panel)) > 1
    axes: list[Axes] = []
    first: dict[Hashable, Axes] = {}
    for number, scale in enumerate(scale_of_panel):
        sharex = axes[0] if axes else None
        axis = figure.add_subplot(rows, columns, number + 1, sharey=first.get(scale), sharex=sharex)
        first.setdefault(scale, axis)
        axes.append(axis)
        axis.set_title(wrapped[number], fontsize=MEDIUM)
        is_first_in_row = number % columns == 0
        is_last_in_column = number + columns >= len(scale_of_panel)
        _style_panel(axis, is_first_in_row, is_last_in_column, has_several_scales)
    return figure, axes


def _style_panel(axis: Axes, is_first_in_row: bool, is_last_in_column: bool, has_several_scales: bool) -> None:
    shows_uv = is_first_in_row or has_several_scales
    axis.tick_params(labelsize=SMALL, labelleft=shows_uv, labelbottom=is_last_in_column)
    axis.locator_params(nbins=4)
    axis.spines[["top", "right"]].set_visible(False)
    if is_first_in_row:
        axis.set_ylabel("uV", fontsize=MEDIUM)
    if is_last_in_column:
        axis.set_xlabel(TIME_LABEL, fontsize=MEDIUM)


def add_legend(figure: Figure, entries: Mapping[str, Mapping[str, object]]) -> None:
    """Add a legend below the panels: for each label the line style."""
    lines = [Line2D([], [], label=plain(label), **look) for label, look in entries.items()]  # type: ignore[arg-type]
    columns = max(1, min(len(lines), int(figure.get_figwidth() / 1.9)))
    figure.legend(handles=lines, loc="outside lower center", ncols=columns, fontsize=SMALL, frameon=False)


def add_waterfall(
    axis: Axes,
    times_ms: Array,
    waveforms_uv: Sequence[Array],
    labels: Sequence[str],
    colors: Sequence[Color],
    unit: str = "uV",
) -> list[Array]:
    """Plot waveforms [T] one below the other at one scale, with a scale bar; return them as plotted."""
    step = 0.7 * float(np.ptp(waveforms_uv, axis=1).max()) or 1.0
    heights = (-step * np.arange(len(waveforms_uv))).tolist()
    shifted: list[Array] = []
    for waveform, height, color in zip(waveforms_uv, heights, colors, strict=True):
        shifted.append(np.asarray(waveform - waveform.mean() + height))
        axis.plot(times_ms, shifted[-1], color=color, linewidth=1.2)
    axis.set_yticks(heights, list(map(plain, labels)), fontsize=SMALL)
    axis.tick_params(axis="y", length=0)
    axis.tick_params(axis="x", labelsize=SMALL)
    axis.spines[["top", "right", "left"]].set_visible(False)
    _add_scale_bar(axis, times_ms, step, heights[-1], unit)
    return shifted


def round_length(limit: float) -> float:
    """Return the largest of 1, 2 and 5 times a power of ten that is at most `limit`."""
    power: float = 10.0 ** math.floor(math.log10(limit))
    possible = [factor for factor in (1, 2, 5) if factor * power <= limit * (1 + 1e-9)]
    return float(f"{max(possible) * power:g}")


def _add_scale_bar(axis: Axes, times_ms: Array, limit: float, bottom: float, unit: str) -> None:
    length = round_length(limit)
    span = float(times_ms[-1] - times_ms[0])
    at_ms = times_ms[-1] + 0.03 * span
    axis.plot([at_ms] * 2, [bottom, bottom + length], color="black", linewidth=2, clip_on=False)
    place = (at_ms + 0.02 * span, bottom + length / 2)
    axis.annotate(plain(f"{length:g} {unit}"), place, fontsize=SMALL, va="center", annotation_clip=False)
