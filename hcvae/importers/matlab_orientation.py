"""Waveforms of MATLAB variables: programs keep one a row, or one a column, or one a cell.

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

MIN_SAMPLES, MIN_MS = 32, 5.0
"""Of an ABR: with fewer samples nothing can be filtered, and wave V comes after 5 ms."""


def waveforms_in_rows(columns: Mapping[str, Any], layout: str | None, path: Path) -> Any:
    """`columns["signal"]` with one waveform a row: a matrix, or a list of vectors.

    Args:
        columns: the variables by our names.
        layout: what the mapping says: rows, columns, or None.
        path: for messages.

    Raises:
        FileError: cells that are no vectors, or a matrix of which both dimensions could be the time.
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
    return signal.T if (layout or _layout(columns, signal, path)) == "columns" else signal


def _of_cells(cells: list[Any], path: Path) -> list[NDArray[Any]]:
    cells = [cell for cell in cells if not (isinstance(cell, np.ndarray) and not cell.size)]
    if not cells or any(not isinstance(cell, np.ndarray) or max(cell.shape) != cell.size for cell in cells):
        raise FileError(path, "signal", "cells that are no vectors of numbers", "one waveform in each cell")
    return [np.ravel(cell) for cell in cells]


def _layout(columns: Mapping[str, Any], signal: NDArray[Any], path: Path) -> str:
    """What the times, the other columns or the sampling rate tell of a matrix."""
    n, samples = signal.shape
    times = np.size(columns["time_ms"]) if "time_ms" in columns else None
    if times is None:
        others = {_length(value) for name, value in columns.items() if name != "signal"} - {1}
        can_be_rows, can_be_columns = n in others, samples in others
        if can_be_rows == can_be_columns:
            can_be_columns, can_be_rows = (_can_be_time(length, columns) for length in signal.shape)
    else:
        can_be_rows, can_be_columns = times == samples, times == n
    if can_be_rows and can_be_columns:
        expected = "known, with --map layout=rows (one waveform a row) or --map layout=columns"
        raise FileError(path, "signal", f"a matrix of {n} x {samples}, either of which can be the time", expected)
    return "columns" if can_be_columns else "rows"


def _length(value: Any) -> int:
    return len(value) if isinstance(value, list) else np.size(value)


def _can_be_time(samples: int, columns: Mapping[str, Any]) -> bool:
    rate_hz = np.ravel(columns.get("sampling_rate_hz", 0))
    is_number = rate_hz.size == 1 and rate_hz.dtype.kind in "fiu" and rate_hz[0] > 0
    return samples >= MIN_SAMPLES and (not is_number or samples * 1e3 / float(rate_hz[0]) >= MIN_MS)
