"""Tables of cells, as in CSV and Excel files, in two layouts.

Rows (the default): a line of column names, then one waveform a line. The sample columns match the pattern that the
mapping gives for `signal` (`t_ms=*` by default, as in our own export). The part that `*` matches is the time in ms,
unless the mapping gives `sampling_rate_hz` and that part cannot be a time. Columns with our names, and columns that
the mapping uses otherwise, hold no samples.

Columns (mapping `layout=columns`): one waveform a column. The first column holds the names of the header lines, which
the mapping can use (`line 3` if the third line of the file has no name), and below them the times in ms, or in the
unit that the mapping gives as `time_unit`.

Legend: N waveforms, T samples.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, filterfalse, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcvae.counting import repeated
from hcvae.data.table import PEAK_COLUMNS, WAVES
from hcvae.errors import UserError
from hcvae.importers.cells import (
    MergedCell,
    cell_text,
    decimal_mark,
    describe_cell,
    has_no_value,
    is_null,
    number_of,
    shown_value,
)
from hcvae.importers.columns import MAPPING_NAMES as COLUMN_NAMES
from hcvae.importers.columns import (
    MAX_SHOWN,
    axis_units_of,
    check_samples,
    columns_in_file,
    is_text_column,
    note_unread,
    recordings_of,
    sample_columns,
    with_times,
)
from hcvae.importers.header_lines import QUANTITIES, recognised
from hcvae.importers.recording import CellValue, FileError, NoWaveforms, ReadOptions, Recording
from hcvae.importers.time_axis import can_be_times

Cells = Sequence[Any]
Line = tuple[int, Cells]
"""Line number in the file from 1, and its cells: text, numbers or None."""

LAYOUTS = ("rows", "columns")
OWN_SAMPLES = "t_ms=*"
OWN_AXIS = ("signal", "time_ms", *PEAK_COLUMNS)
"""Columns of ours that one line of cells cannot hold."""
MAPPING_NAMES = COLUMN_NAMES.difference(OWN_AXIS) | {"signal", "layout"}
TRUE = ("true", "1", "1.0", "yes", "wahr")
FALSE = ("false", "0", "0.0", "no", "falsch")
BATCH_ROWS = 256
LOOKED_AT = 64
"""First lines, which determine delimiter and decimal mark, and among which a table must begin."""
MAX_CELLS = 16 * 2**20  # of the layout by columns, which is read as a whole: 128 MiB


def recordings_of_sheet(
    lines: Iterator[Line], options: ReadOptions, path: Path, decimal: str | None = None
) -> Iterator[Recording]:
    """Yield the waveforms of a table of cells.

    Args:
        lines: all lines of the table.
        options: mapping and notes.
        path: for messages.
        decimal: decimal mark of numbers in text; None: detect it in the first lines.

    Raises:
        FileError: samples that are not numbers, repeated names, lines that are too long or too short.
        UserError: an unknown layout, or a mapping that names something that is not there.
    """
    layout = options.mapping.get("layout", LAYOUTS[0])
    if layout not in LAYOUTS:
        raise UserError(f"{path}: mapping of layout: must be one of {', '.join(LAYOUTS)}, but got {layout!r}")
    filled = filterfalse(_is_blank, lines)
    first = list(islice(filled, LOOKED_AT))
    if decimal is None:
        decimal = decimal_mark(_cells_of(first))
    sheet = _Sheet(path, options, decimal)
    if layout == "rows":
        yield from _by_rows(chain(first, filled), sheet)
    else:
        yield from _by_columns(chain(first, filled), sheet)


@dataclass(frozen=True)
class _Sheet:
    """How to read the cells of a file."""

    path: Path
    options: ReadOptions
    decimal: str

    def number(self, cell: Any) -> float | None:
        return number_of(cell, self.decimal)

    def error(self, line: int, column: int, cell: Any, expected: str) -> FileError:
        return FileError(self.path, f"line {line}, column {column + 1}", describe_cell(cell), expected)

    def samples(self, line: Line, places: Sequence[int], names: Sequence[str] = ()) -> NDArray[np.float64]:
        """Return the samples in the `places` of a line; `names` of the columns, if any, are for messages."""
        number, cells = line
        values = [self.number(cells[place]) for place in places]
        if None in values:
            bad = places[values.index(None)]
            what = "a sample"
            if names:
                what += f" under {names[bad]!r}"
            expected = f"{what}, a finite number such as 1234.5, without thousands separators"
            raise self.error(number, bad, cells[bad], expected)
        return np.array(values, dtype=np.float64)

    def value(self, name: str, line: Line, place: int) -> CellValue:
        """Return a cell of our column `name`."""
        cell = shown_value(line[1][place])
        if cell is not line[1][place]:
            self.options.note(f"merged cells as {name}: each has the value of its range")
        if has_no_value(cell):
            expected = f"a value as {name}, or nothing; save the file in the program that wrote it, with its values"
            raise self.error(line[0], place, cell, expected)
        if is_null(cell):
            if isinstance(cell, str) and cell.strip().startswith("#"):
                self.options.note(f"an error #N/A as {name} is read as an unknown value")
            return None
        if is_text_column(name) or name == "subject_id":
            if isinstance(cell, float) and cell.is_integer():
                cell = int(cell)
            return str(cell).strip()
        number = self.number(cell)
        if number is None and isinstance(cell, str) and name in QUANTITIES:
            number = QUANTITIES[name](cell)
        if number is None:
            raise self.error(line[0], place, cell, f"a number as {name}, or nothing")
        return number

    def check_header(self, line: int, cells: Cells) -> None:
        """Refuse formulas and errors instead of names, or of the times in the first column."""
        for at, cell in enumerate(cells):
            if has_no_value(cell):
                raise self.error(line, at, cell, "a name or a time; save the file with its values")

    def check_names(self, names: Iterable[str], where: str) -> None:
        twice = repeated(filter(None, names))
        if twice:
            found = f"{', '.join(map(repr, twice[:MAX_SHOWN]))} more than once"
            raise FileError(self.path, where, found, "each name once")


def _by_rows(lines: Iterator[Line], sheet: _Sheet) -> Iterator[Recording]:
    pattern = sheet.options.mapping.get("signal", OWN_SAMPLES)
    names = _column_names(lines, pattern, sheet)
    samples = sample_columns(names, sheet.options.mapping, pattern)
    check_samples(samples, pattern, sheet.path)
    mapping = sheet.options.mapping_without("layout", "signal")
    known = columns_in_file(list(filter(None, names)), mapping, sheet.path)
    for name in OWN_AXIS:
        known.pop(name, None)
    note_unread(names, {*samples, *map(str, known.values())}, sheet.options)
    first = 0
    while batch := list(islice(lines, BATCH_ROWS)):
        columns = _columns_of_rows(batch, names, samples, known, sheet)
        columns = with_times(columns, samples, pattern)
        yield from recordings_of(columns, sheet.path, sheet.options.mapping.get("unit"), first)
        first += len(batch)


def _columns_of_rows(
    batch: Sequence[Line],
    names: Sequence[str],
    samples: Sequence[str],
    known: Mapping[str, str | float],
    sheet: _Sheet,
) -> dict[str, Any]:
    """Return our columns of a batch of lines: signal [N, T], and others [N] or constant."""
    for line in batch:
        _check_cells(line, names, sheet)
    place = dict(zip(names, range(len(names)), strict=True))
    columns: dict[str, Any] = {}
    for name, at in known.items():
        columns[name] = at
        if isinstance(at, str):
            columns[name] = [sheet.value(name, line, place[at]) for line in batch]
    places = [place[name] for name in samples]
    columns["signal"] = np.stack([sheet.samples(line, places, names) for line in batch])
    return columns | _peaks(place, batch, sheet) | axis_units_of(sheet.options.mapping)


def _check_cells(line: Line, names: Sequence[str], sheet: _Sheet) -> None:
    """Check that a line has one cell for each name, and note cells without a name."""
    number, cells = line
    if len(cells) != len(names):
        expected = f"{len(names)}, as in the line of names"
        raise FileError(sheet.path, f"line {number}", f"{len(cells)} cells", expected)
    below_no_name = [cell for name, cell in zip(names, cells, strict=True) if not name]
    if not all(map(_is_empty, below_no_name)):
        sheet.options.note("a cell below an empty column name is not read")


def _column_names(lines: Iterator[Line], pattern: str, sheet: _Sheet) -> list[str]:
    """Return the names in the first line that has sample columns; the lines above are titles."""
    above: list[list[str]] = []
    for number, cells in islice(lines, LOOKED_AT):
        names = list(map(_name, cells))
        if len(sample_columns(names, sheet.options.mapping, pattern)) > 1:
            sheet.check_header(number, cells)
            sheet.check_names(names, f"line {number}")
            for _ in above:
                sheet.options.note("a line above the column names is not read")
            return names
        above.append(list(filter(None, names)))
    raise _no_column_names(max(above, key=len, default=[]), pattern, sheet)


def _no_column_names(widest: Sequence[str], pattern: str, sheet: _Sheet) -> NoWaveforms:
    """Return the error for a table without sample columns; `widest` are the texts of its widest line."""
    expected = (
        "sample columns; give their names with one * as the mapping of signal, such as 'signal=t_ms=*', or "
        "layout=columns where each column is a waveform"
    )
    numbers = [number for number in map(sheet.number, widest) if number is not None]
    found = "no line of names"
    if len(numbers) > 1 and _can_be_times_of_any_unit(numbers):
        found = "numbers that rise in equal steps instead of names"
        expected = (
            "names of sample columns; if the numbers are times in ms, map signal=* (and time_unit, if in another unit)"
        )
    elif widest and 2 * len(numbers) <= len(widest):  # else a line of values, one of which might be a person's name
        found = f"columns {widest[:MAX_SHOWN]}, none like {pattern!r}"
    return NoWaveforms(sheet.path, "line of column names", found, expected)


def _can_be_times_of_any_unit(numbers: Sequence[float]) -> bool:
    """Return whether numbers can be times in ms, s or us."""
    in_ms, in_s, in_us = np.outer((1.0, 1e3, 1e-3), numbers).tolist()
    return can_be_times(in_ms) or can_be_times(in_s) or can_be_times(in_us)


@dataclass
class _SampleLines:
    """Lines of the layout by columns, each with a time and one sample of each waveform."""

    sheet: _Sheet
    width: int = 0
    """Cells of each line; 0 before the first."""
    first: int = 0
    """Number of the first line."""
    times: list[float] = field(default_factory=list)
    rows: list[NDArray[np.float64]] = field(default_factory=list)

    def add(self, line: Line, time: float | None, is_too_large: bool) -> None:
        """Add a line.

        Raises:
            NoWaveforms: the first line is too short, or the table too large.
            FileError: no time, or another number of cells than in the first line.
        """
        number, cells = line
        self.width = self.width or len(_cut(cells, 0))
        self.first = self.first or number
        cells = _cut(cells, self.width)
        if len(cells) != self.width or self.width < 2 or is_too_large:
            expected = f"{self.width}, as in line {self.first}, at least 2, and at most {MAX_CELLS} in all"
            kind = FileError if self.rows else NoWaveforms
            raise kind(self.sheet.path, f"line {number}", f"{len(cells)} cells", expected)
        if time is None:
            raise self.sheet.error(number, 0, cells[0], "a time, a number")
        self.times.append(time)
        self.rows.append(self.sheet.samples((number, cells), range(1, self.width)))


def _by_columns(lines: Iterator[Line], sheet: _Sheet) -> Iterator[Recording]:
    header: list[Line] = []
    body = _SampleLines(sheet)
    cells_left = MAX_CELLS
    for number, cells in lines:
        cells_left -= len(cells)
        sheet.check_header(number, cells[:1])
        time = sheet.number(cells[0])
        if time is None and not body.rows and cells_left >= 0:
            header.append((number, cells))
        else:
            body.add((number, cells), time, cells_left < 0)
    if not body.rows:
        expected = "lines of a time and its samples"
        raise NoWaveforms(sheet.path, "whole file", "no line that begins with a number", expected)
    columns = _header_columns(_header_lines(header, body.width, sheet), sheet)
    columns |= axis_units_of(sheet.options.mapping)
    columns |= {"signal": np.stack(body.rows, axis=1), "time_ms": body.times}
    yield from recordings_of(columns, sheet.path, sheet.options.mapping.get("unit"))


def _header_lines(lines: Sequence[Line], width: int, sheet: _Sheet) -> dict[str, Line]:
    """Return the lines above the samples by their names, without titles and comments."""
    names: list[str] = []
    header: list[Line] = []
    for number, uncut in lines:
        cells = _cut(uncut, width)
        name = _name(cells[0])
        if _is_title(cells) or (len(cells) != width and name.startswith(("#", "%"))):
            sheet.options.note("a title or comment above the samples is not read")
        elif len(cells) != width:
            expected = f"{width}, as in the lines of samples"
            raise FileError(sheet.path, f"line {number}", f"{len(cells)} cells", expected)
        else:
            names.append(name or f"line {number}")
            header.append((number, cells))
    sheet.check_names(names, "lines above the samples")
    return dict(zip(names, header, strict=True))


def _is_title(cells: Cells) -> bool:
    """Return whether a line has only its first cell, which may be merged with the others."""
    merged = MergedCell(cells[0])
    return all(_is_empty(cell) or cell == merged for cell in cells[1:])


def _header_columns(lines: Mapping[str, Line], sheet: _Sheet) -> dict[str, Any]:
    """Return our columns from the lines above the samples: those that are mapped, and levels and units in the rest."""
    mapping = sheet.options.mapping_without("layout")
    for name in mapping:
        if name in OWN_AXIS:
            expected = "left out with layout=columns, where the first column holds the times and the others the samples"
            raise UserError(f"{sheet.path}: mapping of {name}: must be {expected}")
    known = columns_in_file(list(lines), mapping, sheet.path)
    for name in OWN_AXIS:  # which may be in the corner cell
        known.pop(name, None)
    columns: dict[str, Any] = {}
    for name, at in known.items():
        columns[name] = at
        if isinstance(at, str):
            columns[name] = _header_values(name, lines[at], sheet)
    for name in lines:
        if name not in known.values():
            columns |= recognised(name, lines[name][1], columns, sheet.number, sheet.options)
    return columns


def _header_values(name: str, line: Line, sheet: _Sheet) -> list[CellValue]:
    """Return our column `name` [N] from the cells of a header line."""
    return [sheet.value(name, line, place) for place in range(1, len(line[1]))]


def _peaks(place: Mapping[str, int], batch: Sequence[Line], sheet: _Sheet) -> dict[str, Any]:
    """Return columns `<peak column>_<wave>` as matrices [N, 5]."""
    peaks = {}
    for name in PEAK_COLUMNS:
        cells = [f"{name}_{wave}" for wave in WAVES]
        if not place.keys() >= set(cells):
            continue
        read = _number_or_nan
        if name == "peak_valid":
            read = _truth
        rows = []
        for line in batch:
            rows.append([read(line, place[cell], sheet) for cell in cells])
        peaks[name] = np.array(rows)
    return peaks


def _number_or_nan(line: Line, place: int, sheet: _Sheet) -> float:
    number = sheet.value("peak", line, place)
    if number is None:
        return math.nan
    return float(number)


def _truth(line: Line, place: int, sheet: _Sheet) -> bool:
    cell = shown_value(line[1][place])
    word = str(cell).strip().lower()
    if word not in TRUE + FALSE and not is_null(cell):
        raise sheet.error(line[0], place, cell, "true or false, or nothing")
    return word in TRUE


def _cut(cells: Cells, width: int) -> Cells:
    """Return the cells without empty ones at the end, but at least the first `width`."""
    end = len(cells)
    while end > width and _is_empty(cells[end - 1]):
        end -= 1
    return cells[:end]


def _cells_of(lines: Iterable[Line]) -> Iterator[Any]:
    """Yield all cells of the lines."""
    for _, cells in lines:
        yield from cells


def _name(cell: Any) -> str:
    return cell_text(cell).strip()


def _is_blank(line: Line) -> bool:
    return all(map(_is_empty, line[1]))


def _is_empty(cell: Any) -> bool:
    return cell is None or (isinstance(cell, str) and not cell.strip())
