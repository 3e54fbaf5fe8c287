"""Orientation of waveforms in MATLAB variables: one in each row, column or cell.

Legend: N waveforms, T samples.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcvae.errors import UserError
from hcvae.importers.recording import FileError
from hcvae.importers.sheets import LAYOUTS

MIN_SAMPLES = 32
"""Of an ABR: fewer samples cannot be filtered."""
MIN_MS = 5.0
"""Of an ABR: wave V comes later."""


def waveforms_in_rows(columns: Mapping[str, Any], layout: str | None, path: Path) -> Any:
    """Return `columns["signal"]` with one waveform in each row: a matrix, or a list of vectors.

    Args:
        columns: our columns of the variables.
        layout: rows or columns from the mapping, or None.
        path: for messages.

    Raises:
        FileError: cells that are not vectors, or a matrix of which both dimensions could be time.
        UserError: an unknown layout.
    """
    if layout is not None and layout not in LAYOUTS:
        raise UserError(f"{path}: mapping of layout: must be one of {', '.join(LAYOUTS)}, but got {layout!r}")
    signal = columns["signal"]
    if isinstance(signal, list):
        return _of_cells(signal, path)
    if not isinstance(signal, np.ndarray) or signal.ndim != 2:
        return signal
    if 1 in signal.shape:
        return signal.reshape(1, -1)
    if layout is None:
        layout = _layout(columns, signal, path)
    if layout == "columns":
        return signal.T
    return signal


def _of_cells(cells: list[Any], path: Path) -> list[NDArray[Any]]:
    """Return the vectors in cells, without empty cells."""
    error = FileError(path, "signal", "cells that are no vectors of numbers", "one waveform in each cell")
    vectors = []
    for cell in cells:
        if not isinstance(cell, np.ndarray) or (cell.size and max(cell.shape) != cell.size):
            raise error
        if cell.size:
            vectors.append(np.ravel(cell))
    if not vectors:
        raise error
    return vectors


def _layout(columns: Mapping[str, Any], signal: NDArray[Any], path: Path) -> str:
    """Return the layout of a matrix, from the number of times, the other columns or the sampling rate.

    Raises:
        FileError: both layouts are possible.
    """
    height, width = signal.shape
    if "time_ms" in columns:
        times = np.size(columns["time_ms"])
        can_be_rows = times == width
        can_be_columns = times == height
    else:
        others = dict(columns)
        del others["signal"]
        lengths = set(map(_length, others.values())) - {1}
        can_be_rows = height in lengths
        can_be_columns = width in lengths
        if can_be_rows == can_be_columns:
            can_be_rows = _can_be_time(width, columns)
            can_be_columns = _can_be_time(height, columns)
    if can_be_rows and can_be_columns:
        expected = "known, with --map layout=rows (one waveform a row) or --map layout=columns"
        raise FileError(path, "signal", f"a matrix of {height} x {width}, either of which can be the time", expected)
    if can_be_columns:
        return "columns"
    return "rows"


def _length(value: Any) -> int:
    if isinstance(value, list):
        return len(value)
    return np.size(value)


def _can_be_time(samples: int, columns: Mapping[str, Any]) -> bool:
    """Return whether a dimension is long enough for the time of an ABR."""
    if samples < MIN_SAMPLES:
        return False
    rate_hz = np.ravel(columns.get("sampling_rate_hz", 0))
    is_rate = rate_hz.size == 1 and rate_hz.dtype.kind in "fiu" and rate_hz[0] > 0
    return bool(not is_rate or samples * 1e3 / float(rate_hz[0]) >= MIN_MS)
