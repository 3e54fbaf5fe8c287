"""The figure of the page of `hcvae explore`, as plain data for plotly, and its table of peaks.

Shapes: N waveforms, T samples.
"""

import itertools
import math
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from hcvae.data.labelled_peaks import MODEL_WAVES
from hcvae.data.table import PEAK_COLUMNS, WAVES, sampling_rate_of
from hcvae.explore.controls import in_words, text_of

CURRENT_COLOR = "#0072B2"
REFERENCE_COLORS = ("#C44E00", "#007F5F", "#A8497F", "#7A5C00", "#5B4FB3", "#222222")
"""Darkened hues of Okabe & Ito's palette for colour-blind readers, with a contrast of at least 4:1 on white."""
REFERENCE_DASHES = ("dash", "dot", "dashdot", "longdash", "longdashdot")
"""One fewer than the colours, so that pairs repeat only after 30 waveforms."""
INK = "#222222"
PAPER = "#FFFFFF"
AXIS = "#555555"
GRID = "#E5E5E5"
ZERO = "#BBBBBB"

DARK = {
    CURRENT_COLOR: "#4DB5F0",
    **dict(zip(REFERENCE_COLORS, ("#FF8A3D", "#2FC79A", "#E79AC8", "#E6B422", "#A79BF5", "#F0F0F0"), strict=True)),
    INK: "#F0F0F0",
    PAPER: "#1B1D21",
    AXIS: "#A8ADB5",
    GRID: "#34373D",
    ZERO: "#5A5F68",
}
"""The colour that replaces each one on a dark page."""


class Peak(NamedTuple):
    """A peak of a plotted waveform."""

    wave: str
    latency_ms: float
    amplitude_uv: float


def peaks_of(row: dict[str, Any]) -> list[Peak]:
    """Return the valid peaks of waves I, III and V of a row of a waveform table."""
    peaks = []
    columns = itemgetter(*PEAK_COLUMNS)(row)
    for wave, latency_ms, amplitude_uv, is_valid in zip(WAVES, *columns, strict=True):
        is_known = None not in (latency_ms, amplitude_uv) and math.isfinite(latency_ms)
        if is_valid and is_known and wave in MODEL_WAVES:
            peaks.append(Peak(wave, latency_ms, amplitude_uv))
    return peaks


def figure(table: pa.Table, span_uv: tuple[float, float]) -> dict[str, Any]:
    """Plot the waveforms of a table with a column `name`, the first in front, with their peaks.

    Args:
        table: From `Explorer.waveforms`, [N].
        span_uv: Range that the vertical axis shows at least.
    """
    rows = table.to_pylist()
    times_ms = (np.arange(len(rows[0]["signal"])) * 1e3 / sampling_rate_of(table)).tolist()
    lowest, highest = span_uv
    lines = []
    marks = []
    for number, row in enumerate(rows):
        lowest = min(lowest, *row["signal"])
        highest = max(highest, *row["signal"])
        lines.append(_line(row, times_ms, number))
        marks.append(_marks(row, times_ms, number))
    layout = _layout(times_ms, (lowest, highest))
    return {"data": [*reversed(lines), *reversed(marks)], "layout": {"title": _title(rows[0])} | layout}


class _Style(NamedTuple):
    """How a waveform and its peaks are plotted."""

    color: str
    dash: str
    width: float
    marker_mode: str
    symbol: str


def _style(number: int) -> _Style:
    """Return the style of a waveform: the first is solid, and its peaks have names and values."""
    if number == 0:
        return _Style(CURRENT_COLOR, "solid", 2.6, "markers+text", "diamond")
    color = REFERENCE_COLORS[(number - 1) % len(REFERENCE_COLORS)]
    dash = REFERENCE_DASHES[(number - 1) % len(REFERENCE_DASHES)]
    return _Style(color, dash, 1.8, "markers", "diamond-open")


def _line(row: dict[str, Any], times_ms: list[float], number: int) -> dict[str, Any]:
    style = _style(number)
    return {
        "type": "scatter",
        "mode": "lines",
        "name": row["name"],
        "x": times_ms,
        "y": row["signal"],
        "line": {"color": style.color, "dash": style.dash, "width": style.width},
        "hovertemplate": "%{x:.2f} ms, %{y:.3f} µV",
    }


def _marks(row: dict[str, Any], times_ms: list[float], number: int) -> dict[str, Any]:
    """Mark the waveform at each peak's latency."""
    style = _style(number)
    latencies_ms = []
    texts = []
    for wave, latency_ms, amplitude_uv in peaks_of(row):
        latencies_ms.append(latency_ms)
        texts.append(f"<b>{wave}</b><br>{latency_ms:.2f} ms<br>{_uv(amplitude_uv)} µV")
    return {
        "type": "scatter",
        "mode": style.marker_mode,
        "name": f"{row['name']}, peaks",
        "showlegend": False,
        "x": latencies_ms,
        "y": np.interp(latencies_ms, times_ms, row["signal"]).tolist(),
        "text": texts,
        "textposition": "top center",
        "cliponaxis": False,
        "textfont": {"color": style.color, "shadow": "auto"},
        "marker": {"color": style.color, "size": 9, "symbol": style.symbol},
        "hovertemplate": "%{text}<extra>" + row["name"] + "</extra>",
    }


def _uv(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}"  # no -0.00


def _title(row: dict[str, Any]) -> dict[str, Any]:
    """Return the condition of a waveform in two lines, as the title also of saved figures."""
    condition = dict(itertools.takewhile(lambda item: item[0] != "name", row.items()))
    texts = [f"{in_words(name)} {text_of(value)}" for name, value in condition.items()]
    half = -(-len(texts) // 2)
    lines = [", ".join(texts[:half]), ", ".join(texts[half:])]
    return {"text": "<br>".join(filter(None, lines)), "font": {"size": 11}, "x": 0.02, "y": 0.98, "yanchor": "top"}


def _layout(times_ms: list[float], span_uv: tuple[float, float]) -> dict[str, Any]:
    margin = 0.08 * (span_uv[1] - span_uv[0])
    axis = {"showline": True, "linecolor": AXIS, "ticks": "outside", "gridcolor": GRID, "zerolinecolor": ZERO}
    x = {"title": {"text": "time after the stimulus (ms)"}, "range": [times_ms[0], times_ms[-1]], "nticks": 12}
    y = {"title": {"text": "amplitude (µV)"}, "range": [span_uv[0] - margin, span_uv[1] + 2 * margin]}
    return {
        "xaxis": axis | x,
        "yaxis": axis | y,
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0},
        "margin": {"l": 60, "r": 15, "t": 65, "b": 45},
        "plot_bgcolor": PAPER,
        "paper_bgcolor": PAPER,
        "font": {"family": "sans-serif", "size": 12, "color": INK},
        "uirevision": "kept",  # a zoom stays while the sliders move
    }


def peak_rows(table: pa.Table) -> list[tuple[str, ...]]:
    """Return a row of text for each waveform: name, latency and amplitude of waves I, III, V, and the I-V interval."""
    return list(map(_peak_row, table.to_pylist()))


def _peak_row(row: dict[str, Any]) -> tuple[str, ...]:
    peaks = {peak.wave: peak for peak in peaks_of(row)}
    cells = [row["name"]]
    for wave in MODEL_WAVES:
        peak = peaks.get(wave)
        if peak is None:
            cells += ["-", "-"]
        else:
            cells += [f"{peak.latency_ms:.2f}", _uv(peak.amplitude_uv)]
    if "I" in peaks and "V" in peaks:
        cells.append(f"{peaks['V'].latency_ms - peaks['I'].latency_ms:.2f}")
    else:
        cells.append("-")
    return tuple(cells)
