"""Tables of cells, as in CSV and Excel files, in two layouts.

Rows (the default): a line of column names, then one waveform a line; the sample columns match the pattern that the
mapping gives for `signal` (`t_ms=*` by default, as our own export names them). What `*` stands for is the time in ms,
unless the mapping gives `sampling_rate_hz` and it is no time. Columns that are ours, or that the mapping names for
something else, hold no samples.

Columns (mapping `layout=columns`): one waveform a column. The first column holds the names of the header lines, which
the mapping can use (`line 3` where the third line of the file has no name), and below them the times in ms, or in
the unit that the mapping gives as `time_unit`.

Legend: N waveforms, T samples.
"""

import math
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcvae.data.table import PEAK_COLUMNS, WAVES
from hcvae.errors import UserError
from hcvae.importers.cells import decimal_mark, is_null, number_of, what_is
from hcvae.importers.columns import MAPPING_NAMES as COLUMN_NAMES
from hcvae.importers.columns import (
    UV_PER_UNIT,
    check_samples,
    is_text,
    note_unread,
    recordings_of,
    renamed,
    sample_columns,
    units_of,
    with_times,
)
from hcvae.importers.recording import CellValue, FileError, NoWaveforms, ReadOptions, Recording
from hcvae.importers.units import decibels_in, hertz_in, level_reference_in, uv_per

Cells = Sequence[Any]
Line = tuple[int, Cells]
"""Line number in the file from 1, and its cells: text, numbers or None."""

LAYOUTS = ("rows", "columns")
OWN_SAMPLES = "t_ms=*"
LEVEL = "stimulus_level_db"
QUANTITIES = {LEVEL: decibels_in, "stimulus_frequency_hz": hertz_in}
"""Columns whose cells may bear their unit."""
OWN_AXIS = ("signal", "time_ms", *PEAK_COLUMNS)
"""Names that are ours, but that a line of cells cannot hold."""
MAPPING_NAMES = (COLUMN_NAMES - {*OWN_AXIS}) | {"signal", "layout"}
BRACKETED = re.compile(r".*[(\[]([^()\[\]]*)[)\]]\s*")
TRUE, FALSE = ("true", "1", "1.0", "yes", "wahr"), ("false", "0", "0.0", "no", "falsch")
BATCH_ROWS = 256
LOOKED_AT = 64
"""First lines from which delimiter and decimal mark are taken, and among which a table must begin."""
MAX_CELLS = 16 * 2**20  # of the layout by columns, which is read as a whole: 128 MiB


def recordings_of_sheet(
    lines: Iterator[Line], options: ReadOptions, path: Path, decimal: str | None = None
) -> Iterator[Recording]:
    """The waveforms of a table of cells.

    Args:
        lines: of the table, from its first.
        options: mapping and notes.
        path: for messages.
        decimal: the decimal mark of numbers in text; None: the one that the first lines show.

    Raises:
        FileError: cells that are not numbers where samples must be, names that occur twice, lines that are too long or
            too short.
        UserError: an unknown layout, or a mapping that names what is not there.
    """
    layout = options.mapping.get("layout", LAYOUTS[0])
    if layout not in LAYOUTS:
        raise UserError(f"{path}: mapping of layout: must be one of {', '.join(LAYOUTS)}, but got {layout!r}")
    filled = ((number, cells) for number, cells in lines if any(not _is_empty(cell) for cell in cells))
    first = list(islice(filled, LOOKED_AT))
    sheet = _Sheet(path, options, decimal or decimal_mark(cell for _, cells in first for cell in cells))
    yield from (_by_rows if layout == "rows" else _by_columns)(chain(first, filled), sheet)


@dataclass(frozen=True)
class _Sheet:
    """How the cells of a file are read."""

    path: Path
    options: ReadOptions
    decimal: str

    def number(self, cell: Any) -> float | None:
        return number_of(cell, self.decimal)

    def error(self, line: int, column: int, cell: Any, expected: str) -> FileError:
        return FileError(self.path, f"line {line}, column {column + 1}", what_is(cell), expected)

    def samples(self, line: Line, places: Sequence[int], names: Sequence[str] = ()) -> NDArray[np.float64]:
        number, cells = line
        values = [self.number(cells[place]) for place in places]
        if None in values:
            bad = places[values.index(None)]
            under = f" under {names[bad]!r}" if names else ""
            expected = f"a sample{under}, a finite number such as 1234.5, without separators of thousands"
            raise self.error(number, bad, cells[bad], expected)
        return np.array(values, dtype=np.float64)

    def value(self, name: str, line: Line, place: int) -> CellValue:
        """A cell of our column `name`."""
        cell = line[1][place]
        if is_null(cell):
            return None
        if is_text(name) or name == "subject_id":
            return str(int(cell) if isinstance(cell, float) and cell.is_integer() else cell).strip()
        number = self.number(cell)
        if number is None and isinstance(cell, str) and name in QUANTITIES:
            number = QUANTITIES[name](cell)
        if number is None:
            raise self.error(line[0], place, cell, f"a number as {name}, or nothing")
        return number

    def check_names(self, names: Iterable[str], where: str) -> None:
        twice = [name for name, times in Counter(names).items() if name and times > 1]
        if twice:
            found = f"{', '.join(map(repr, twice[:12]))} more than once"
            raise FileError(self.path, where, found, "each name once")

    def unit(self, columns: Mapping[str, Any]) -> str:
        """The unit of the samples: that of the mapping, else that of the file, else uV."""
        if "unit" in self.options.mapping:
            return self.options.mapping["unit"]
        units = {unit for unit in columns.get("unit", ()) if unit is not None} or {"uV"}
        scales = {uv_per(unit) for unit in units}
        if len(scales) > 1 or None in scales:
            found = f"{len(scales)} units" if len(scales) > 1 else "another unit"
            raise FileError(self.path, "unit", found, f"one of {', '.join(UV_PER_UNIT)} for all waveforms")
        return next(name for name, scale in UV_PER_UNIT.items() if scale in scales)


def _by_rows(lines: Iterator[Line], sheet: _Sheet) -> Iterator[Recording]:
    path, pattern = sheet.path, sheet.options.mapping.get("signal", OWN_SAMPLES)
    names = _column_names(lines, pattern, sheet)
    samples, first = sample_columns(names, sheet.options.mapping, pattern), 0
    check_samples(samples, pattern, path)
    place = {name: at for at, name in enumerate(names)}
    mapping = {name: value for name, value in sheet.options.mapping.items() if name not in ("layout", "signal")}
    known = renamed([name for name in names if name], mapping, path)
    known = {name: at for name, at in known.items() if name not in OWN_AXIS}
    note_unread(names, {*samples, *map(str, known.values())}, sheet.options)
    while batch := list(islice(lines, BATCH_ROWS)):
        for number, cells in batch:
            if len(cells) != len(names):
                expected = f"{len(names)}, as in the line of names"
                raise FileError(path, f"line {number}", f"{len(cells)} cells", expected)
            if any(not name and not _is_empty(cell) for name, cell in zip(names, cells, strict=True)):
                sheet.options.note("a cell below an empty column name is not read")
        columns: dict[str, Any] = {
            name: [sheet.value(name, line, place[at]) for line in batch] if isinstance(at, str) else at
            for name, at in known.items()
        }
        columns["signal"] = np.stack([sheet.samples(line, [place[name] for name in samples], names) for line in batch])
        columns |= _peaks(place, batch, sheet) | units_of(sheet.options.mapping)
        columns = with_times(columns, samples, pattern)
        yield from recordings_of(columns, path, sheet.unit(columns), first)
        first += len(batch)


def _column_names(lines: Iterator[Line], pattern: str, sheet: _Sheet) -> list[str]:
    """The names of the first line that has sample columns; the lines above are titles."""
    above: list[list[str]] = []
    for number, cells in islice(lines, LOOKED_AT):
        names = ["" if cell is None else str(cell).strip() for cell in cells]
        if len(sample_columns(names, sheet.options.mapping, pattern)) > 1:
            sheet.check_names(names, f"line {number}")
            for _ in above:
                sheet.options.note("a line above the column names is not read")
            return names
        above.append([name for name in names if name])
    widest = max(above, key=len, default=[])
    expected = (
        "sample columns; give their names with one * as the mapping of signal, such as 'signal=t_ms=*', or "
        "layout=columns where each column is a waveform"
    )
    if 2 * sum(sheet.number(name) is not None for name in widest) > len(widest):
        widest = []  # values, of which one might be a name
    found = f"columns {widest[:12]}, none like {pattern!r}" if widest else "no line of names"
    raise NoWaveforms(sheet.path, "line of column names", found, expected)


def _by_columns(lines: Iterator[Line], sheet: _Sheet) -> Iterator[Recording]:
    header: list[Line] = []
    times: list[float] = []
    rows: list[NDArray[np.float64]] = []
    width, first, cells_left = 0, 0, MAX_CELLS
    for number, cells in lines:
        cells_left -= len(cells)
        time = sheet.number(cells[0])
        if time is None and not rows and cells_left >= 0:
            header.append((number, cells))
            continue
        width, first = width or len(_cut(cells, 0)), first or number
        cells = _cut(cells, width)
        if len(cells) != width or width < 2 or cells_left < 0:
            expected = f"{width}, as in line {first}, at least 2, and at most {MAX_CELLS} in all"
            kind = FileError if rows else NoWaveforms
            raise kind(sheet.path, f"line {number}", f"{len(cells)} cells", expected)
        if time is None:
            raise sheet.error(number, 0, cells[0], "a time, a number")
        times.append(time)
        rows.append(sheet.samples((number, cells), range(1, width)))
    if not rows:
        expected = "lines of a time and its samples"
        raise NoWaveforms(sheet.path, "whole file", "no line that begins with a number", expected)
    columns = _header_columns(_header_lines(header, width, sheet), sheet) | units_of(sheet.options.mapping)
    columns |= {"signal": np.stack(rows, axis=1), "time_ms": times}
    yield from recordings_of(columns, sheet.path, sheet.unit(columns))


def _header_lines(lines: Sequence[Line], width: int, sheet: _Sheet) -> dict[str, Line]:
    """The lines above the samples by their names, without titles and comments."""
    header: list[tuple[str, Line]] = []
    for number, whole in lines:
        cells = _cut(whole, width)
        name = "" if _is_empty(cells[0]) else str(cells[0]).strip()
        if all(map(_is_empty, cells[1:])) or (len(cells) != width and name.startswith(("#", "%"))):
            sheet.options.note("a title or comment above the samples is not read")
        elif len(cells) != width:
            expected = f"{width}, as in the lines of samples"
            raise FileError(sheet.path, f"line {number}", f"{len(cells)} cells", expected)
        else:
            header.append((name or f"line {number}", (number, cells)))
    sheet.check_names([name for name, _ in header], "lines above the samples")
    return dict(header)


def _header_columns(lines: Mapping[str, Line], sheet: _Sheet) -> dict[str, Any]:
    """Our columns from the lines above the samples: those that are mapped, and levels and units that they spell."""
    mapping = {name: value for name, value in sheet.options.mapping.items() if name != "layout"}
    if unused := [name for name in mapping if name in OWN_AXIS]:
        expected = "left out with layout=columns, where the first column holds the times and the others the samples"
        raise UserError(f"{sheet.path}: mapping of {unused[0]}: must be {expected}")
    known = renamed(list(lines), mapping, sheet.path)
    known = {name: at for name, at in known.items() if name not in OWN_AXIS}  # which may stand in the corner
    columns: dict[str, Any] = {
        name: [sheet.value(name, lines[at], place) for place in range(1, len(lines[at][1]))]
        if isinstance(at, str)
        else at
        for name, at in known.items()
    }
    for name in (name for name in lines if name not in known.values()):
        texts = ["" if cell is None else str(cell) for cell in lines[name][1][1:]]
        if spelt := _spelt(texts, columns):
            sheet.options.note(f"{' and '.join(sorted(spelt))} taken from the header line {name[:40]!r}")
            columns |= spelt
        elif any(texts):
            hint = f"; --map {shlex.quote(f'{LEVEL}={name}')} reads it as levels" if len(name) <= 40 else ""
            sheet.options.note(f"header line {name[:40]!r} is not read{hint}")
    return columns


def _spelt(texts: Sequence[str], columns: Mapping[str, Any]) -> dict[str, Any]:
    """Levels and units of samples that the cells of a header line spell, such as `20 dB SPL` and `Cz (mV)`."""
    levels, references = [decibels_in(text) for text in texts], [level_reference_in(text) for text in texts]
    units = [found[1] if (found := BRACKETED.fullmatch(text)) else text for text in texts]
    spelt: dict[str, Any] = {}
    if None not in levels:
        spelt |= {LEVEL: levels} | ({} if None in references else {"level_reference": references})
    if None not in map(uv_per, units):
        spelt["unit"] = units
    return {name: values for name, values in spelt.items() if name not in columns}


def _peaks(place: Mapping[str, int], batch: Sequence[Line], sheet: _Sheet) -> dict[str, Any]:
    """Columns `<peak column>_<wave>` as matrices [N, 5]."""
    peaks = {}
    for name in PEAK_COLUMNS:
        places = [place[f"{name}_{wave}"] for wave in WAVES if f"{name}_{wave}" in place]
        if len(places) == len(WAVES):
            read = _truth if name == "peak_valid" else _number_or_nan
            peaks[name] = np.array([[read(line, at, sheet) for at in places] for line in batch])
    return peaks


def _number_or_nan(line: Line, place: int, sheet: _Sheet) -> float:
    number = sheet.value("peak", line, place)
    return math.nan if number is None else float(number)


def _truth(line: Line, place: int, sheet: _Sheet) -> bool:
    cell = line[1][place]
    word = str(cell).strip().lower()
    if word not in TRUE + FALSE and not is_null(cell):
        raise sheet.error(line[0], place, cell, "true or false, or nothing")
    return word in TRUE


def _cut(cells: Cells, width: int) -> Cells:
    """The cells without empty ones at the end, but at least `width` of them where they are there."""
    end = len(cells)
    while end > width and _is_empty(cells[end - 1]):
        end -= 1
    return cells[:end]


def _is_empty(cell: Any) -> bool:
    return cell is None or (isinstance(cell, str) and not cell.strip())
