"""What all figures of waveforms share: colours, labels, panels, scale bars, legends. No global state of matplotlib.

Legend: N waveforms, T samples, P panels.
"""

import math
import textwrap
from collections.abc import Hashable, Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

Array = NDArray[np.floating]

RECORDED, MODEL, EXCHANGED, WAVE = "#4D4D4D", "#0072B2", "#007A5A", "#D55E00"
"""Recordings; what a model makes of one recording or draws; of the latents of two; waves. On white each has a contrast
of 3:1 and more (WCAG 2), and colour-blind readers tell them apart: blue and vermilion are Okabe & Ito's, the green is
theirs, darker."""
ORDERED, ORDERED_END = "viridis", 0.55
"""Colours of what has an order, and where the map becomes too light for a line on white."""
STIMULUS = ("dataset", "species", "stimulus_type", "stimulus_frequency_hz", "stimulus_level_db")
"""Columns that titles name first: the source of a waveform and its stimulus."""
TIME_LABEL = "ms after stimulus onset"
NO_BREAK = "\u00a0"
SMALL, MEDIUM, LARGE = 8, 9, 11
"""Font sizes."""
PANEL_INCHES = (2.7, 1.7)
COLUMNS = 4
Color = str | tuple[float, float, float, float]


def ordered_colors(count: int) -> list[Color]:
    """As many colours of a map from dark to light, which reads in grey, too; its light end is left out."""
    return [colormaps[ORDERED](position) for position in np.linspace(0, ORDERED_END, count)]


def plain(text: str) -> str:
    """`text` as it is: matplotlib would take what is between two `$` for a formula."""
    return text.replace("$", r"\$")


def listed(labels: Sequence[str]) -> str:
    """Labels after each other, which `filled` breaks only between them."""
    return ", ".join(label.replace(" ", NO_BREAK) for label in labels)


def filled(text: str, inches: float, size: int) -> str:
    """`text`, as it is, in lines that are about so many inches long at most in this font size."""
    characters = max(12, int(inches * 72 / (0.6 * size)))
    lines = (textwrap.fill(line, characters, break_on_hyphens=False) for line in text.split("\n"))
    return plain("\n".join(lines))


def label_of(column: str, value: object) -> str:
    """A value of a waveform table's column, as a title shows it."""
    if isinstance(value, float | int) and column == "stimulus_level_db":
        return f"{value:g} dB"
    if isinstance(value, float | int) and column == "stimulus_frequency_hz":
        return f"{value / 1e3:.4g} kHz" if value >= 1e3 else f"{value:.4g} Hz"
    if isinstance(value, float | int) and column == "stimulus_rate_hz":
        return f"{value:.4g}/s"
    if isinstance(value, str) and column in ("dataset", "species", "stimulus_type"):
        return value
    shown = "null" if value is None else f"{value:.4g}" if isinstance(value, float | int) else str(value)
    return f"{column} {shown}"


def grid_of(count: int) -> tuple[int, int]:
    """Rows and columns of `count` panels, at most four beside each other, the rows about as long as each other."""
    rows = -(-count // COLUMNS)
    return rows, -(-count // rows)


def panels(
    rows: int,
    columns: int,
    scales: Sequence[Hashable] | None = None,
    titles: Sequence[str] | None = None,
    inches: tuple[float, float] = PANEL_INCHES,
) -> tuple[Figure, list[Axes]]:
    """A figure with P panels, `rows` times `columns` or as many as `scales` has. Those of one scale share the uV axis,
    whose numbers stand at the first panel of each row, or at each panel where there are several scales."""
    of_panel = [0] * (rows * columns) if scales is None else list(scales)
    shown = [filled(title, inches[0] - 0.5, MEDIUM) for title in titles or [""] * len(of_panel)]
    height = inches[1] + 0.16 * max(title.count("\n") for title in shown)
    size = (max(4.5, inches[0] * columns + 0.7), height * rows + 1.3)
    figure = Figure(figsize=size, layout="constrained")
    axes: list[Axes] = []
    first: dict[Hashable, Axes] = {}
    for number, scale in enumerate(of_panel):
        axis = figure.add_subplot(rows, columns, number + 1, sharey=first.get(scale), sharex=axes[0] if axes else None)
        first.setdefault(scale, axis)
        axes.append(axis)
        in_first_column, last = number % columns == 0, number + columns >= len(of_panel)
        axis.tick_params(labelsize=SMALL, labelleft=in_first_column or len(set(of_panel)) > 1, labelbottom=last)
        axis.locator_params(nbins=4)
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_title(shown[number], fontsize=MEDIUM)
        if in_first_column:
            axis.set_ylabel("uV", fontsize=MEDIUM)
        if last:
            axis.set_xlabel(TIME_LABEL, fontsize=MEDIUM)
    return figure, axes


def add_legend(figure: Figure, entries: Mapping[str, Mapping[str, object]]) -> None:
    """Below the panels, for each label the look of its line."""
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
    """Waveforms [T] one below the other at one scale, the first at the top, with a scale bar; returns them as drawn."""
    step = 0.7 * max(float(np.ptp(waveform)) for waveform in waveforms_uv) or 1.0
    heights = [-step * row for row in range(len(waveforms_uv))]
    shifted = [
        np.asarray(waveform - waveform.mean() + height) for waveform, height in zip(waveforms_uv, heights, strict=True)
    ]
    for waveform, color in zip(shifted, colors, strict=True):
        axis.plot(times_ms, waveform, color=color, linewidth=1.2)
    axis.set_yticks(heights, [plain(label) for label in labels], fontsize=SMALL)
    axis.tick_params(axis="y", length=0)
    axis.tick_params(axis="x", labelsize=SMALL)
    axis.spines[["top", "right", "left"]].set_visible(False)
    _add_scale_bar(axis, times_ms, step, heights[-1], unit)
    return shifted


def round_length(limit: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is at most `limit`."""
    power: float = 10.0 ** math.floor(math.log10(limit))
    return float(f"{max(m for m in (1, 2, 5) if m * power <= limit * (1 + 1e-9)) * power:g}")


def _add_scale_bar(axis: Axes, times_ms: Array, limit: float, bottom: float, unit: str) -> None:
    length, span = round_length(limit), float(times_ms[-1] - times_ms[0])
    at_ms = times_ms[-1] + 0.03 * span
    axis.plot([at_ms] * 2, [bottom, bottom + length], color="black", linewidth=2, clip_on=False)
    place = (at_ms + 0.02 * span, bottom + length / 2)
    axis.annotate(plain(f"{length:g} {unit}"), place, fontsize=SMALL, va="center", annotation_clip=False)
