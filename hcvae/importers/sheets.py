"""Tables of cells, as in CSV and Excel files, in two layouts.

Rows (the default): a line of column names, then one waveform a line; the sample columns match the pattern that the
mapping gives for `signal` (`t_ms=*` by default, as our own export names them). What `*` stands for is the time in ms,
unless the mapping gives `sampling_rate_hz` and it is no time. Columns that are ours, or that the mapping names for
something else, hold no samples.

Columns (mapping `layout=columns`): one waveform a column. The first column holds the names of the header lines, which
the mapping can use, and below them the times in ms, or in the mapping's `time_unit`.

Legend: N waveforms, T samples.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcvae.data.table import PEAK_COLUMNS, WAVES
from hcvae.errors import UserError
from hcvae.importers.columns import MAPPING_NAMES as COLUMN_NAMES
from hcvae.importers.columns import as_number, recordings_of, renamed, sample_columns, units_of, with_times
from hcvae.importers.recording import FileError, NoWaveforms, Recording

Cells = Sequence[Any]
Line = tuple[int, Cells]
"""Line number in the file from 1, and its cells: text, numbers or None."""

LAYOUTS = ("rows", "columns")
MAPPING_NAMES = (COLUMN_NAMES - {*PEAK_COLUMNS}) | {"layout"}
OWN_SAMPLES = "t_ms=*"
BATCH_ROWS = 256
MAX_CELLS = 16 * 2**20  # of the layout by columns, which is read as a whole: 128 MiB


def recordings_of_sheet(lines: Iterator[Line], mapping: Mapping[str, str], path: Path) -> Iterator[Recording]:
    """The waveforms of a table of cells.

    Raises:
        FileError: cells that are not numbers where samples must be, lines that are too long or too short.
        UserError: an unknown layout, or a mapping that names what is not there.
    """
    layout = mapping.get("layout", LAYOUTS[0])
    if layout not in LAYOUTS:
        raise UserError(f"{path}: mapping of layout: must be one of {', '.join(LAYOUTS)}, but got {layout!r}")
    mapping = {name: value for name, value in mapping.items() if name != "layout"}
    filled = ((number, cells) for number, cells in lines if any(not _is_empty(cell) for cell in cells))
    yield from (_by_rows if layout == "rows" else _by_columns)(filled, mapping, path)


def _by_rows(lines: Iterator[Line], mapping: Mapping[str, str], path: Path) -> Iterator[Recording]:
    _, header = next(lines, (0, ()))
    names = ["" if cell is None else str(cell).strip() for cell in header]
    pattern = mapping.get("signal", OWN_SAMPLES)
    samples = sample_columns(names, mapping, pattern, path)
    if not samples:
        right = "sample columns; give their names with one * as the mapping of signal, such as 'signal=t_ms=*'"
        raise NoWaveforms(path, "first line", f"columns {names[:12]}, none like {pattern!r}", right)
    mapping = {name: value for name, value in mapping.items() if name != "signal"}
    known = renamed([name for name in names if name], mapping, path)
    place, first = {name: number for number, name in enumerate(names)}, 0
    while batch := list(islice(lines, BATCH_ROWS)):
        for number, cells in batch:
            if len(cells) != len(names):
                raise FileError(path, f"line {number}", f"{len(cells)} cells", f"{len(names)}, as in the first line")
        columns: dict[str, Any] = {
            name: [_scalar(cells[place[at]]) for _, cells in batch] if isinstance(at, str) else at
            for name, at in known.items()
        }
        columns["signal"] = np.stack([_samples(line, [place[name] for name in samples], path, names) for line in batch])
        columns |= _peaks(place, [cells for _, cells in batch])
        columns = with_times(columns | units_of(mapping), samples, pattern)
        yield from recordings_of(columns, path, first=first)
        first += len(batch)


def _by_columns(lines: Iterator[Line], mapping: Mapping[str, str], path: Path) -> Iterator[Recording]:
    header: dict[str, list[Any]] = {}
    times: list[float] = []
    rows: list[NDArray[np.float64]] = []
    width, cells_left = 0, MAX_CELLS
    for number, cells in lines:
        width = width or len(cells)
        cells_left -= len(cells)
        if len(cells) != width or width < 2 or cells_left < 0:
            right = f"{width}, as in the first line, at least 2, and at most {MAX_CELLS} in all"
            raise FileError(path, f"line {number}", f"{len(cells)} cells", right)
        time = number_of(cells[0])
        if time is None and not rows:
            header[str(cells[0] or "").strip()] = [_scalar(cell) for cell in cells[1:]]
        elif time is None:
            raise FileError(path, f"line {number}", "text in the first column", "a time in ms")
        else:
            times.append(time)
            rows.append(_samples((number, cells), range(1, width), path))
    if not rows:
        raise NoWaveforms(path, "whole file", "no line that begins with a number", "lines of a time and its samples")
    known = renamed([name for name in header if name], mapping, path)
    columns = {name: header[at] if isinstance(at, str) else at for name, at in known.items()}
    axis = {"signal": np.stack(rows, axis=1), "time_ms": times}
    yield from recordings_of(columns | axis | units_of(mapping), path)


def number_of(cell: Any) -> float | None:
    """The number in a cell, with a decimal point or comma; None where there is none."""
    return as_number(cell.replace(",", ".") if isinstance(cell, str) else cell)


def _samples(line: Line, places: Sequence[int], path: Path, names: Sequence[str] = ()) -> NDArray[np.float64]:
    number, cells = line
    values = [number_of(cells[place]) for place in places]
    if None in values:
        bad = places[values.index(None)]
        found = "text, or nothing" + (f", under {names[bad]!r}" if names else "")
        raise FileError(path, f"line {number}, column {bad + 1}", found, "a sample, a finite number")
    return np.array(values, dtype=np.float64)


def _peaks(place: Mapping[str, int], rows: Sequence[Cells]) -> dict[str, Any]:
    """Columns `<peak column>_<wave>` as matrices [N, 5]."""
    peaks = {}
    for name in PEAK_COLUMNS:
        columns = [place.get(f"{name}_{wave}") for wave in WAVES]
        if None not in columns:
            read = _is_true if name == "peak_valid" else _number_or_nan
            peaks[name] = np.array(
                [[read(cells[column]) for column in columns if column is not None] for cells in rows]
            )
    return peaks


def _number_or_nan(cell: Any) -> float:
    number = number_of(cell)
    return math.nan if number is None else number


def _is_true(cell: Any) -> bool:
    return str(cell).strip().lower() in ("true", "1", "1.0")


def _scalar(cell: Any) -> Any:
    number = None if isinstance(cell, bool) else number_of(cell)
    return cell if number is None else number


def _is_empty(cell: Any) -> bool:
    return cell is None or (isinstance(cell, str) and not cell.strip())
