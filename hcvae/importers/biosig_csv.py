"""TDT BioSig CSV exports: one record on each line, its samples at the end.

After an optional title come a line of column names, which begins `SGI,Rec No.,Gain,No. Avgs,No. Arts`, and the records.
The names of stimulus variables contain their units, as in `Freq(Hz)` and `Level(dB)`; the samples follow the column
`Data(uv)...`, which names their unit.

Legend: T samples.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hcvae.counting import repeated
from hcvae.importers.biosig_text import USUAL_BAND_HZ
from hcvae.importers.biosig_variables import stimulus_of
from hcvae.importers.cells import is_null
from hcvae.importers.columns import as_number
from hcvae.importers.lines import lines_of, number_in, numbers_in, text_or_none, whole_in, whole_or_none
from hcvae.importers.recording import CellValue, FileError, ReadOptions, Recording
from hcvae.importers.registry import Format
from hcvae.importers.units import VOLTAGES, uv_per

FIRST = "SGI,Rec No.,Gain,No. Avgs,No. Arts"
REQUIRED = ("Rec No.", "No. Avgs", "No. Arts", "Sub. ID", "Samp. Per.", "No. Samps.", "O.S. Time")
DATA = re.compile(r"Data\s*\((.*)\)[. ]*", re.IGNORECASE)
CURSOR = re.compile(r"[TV]\d+\(.*\)")
MAX_TITLE_LINES = 10


@dataclass(frozen=True)
class _Columns:
    """Columns of the file."""

    place: dict[str, int]
    """Place of a column by its name, from 0; of repeated names the first."""
    variables: list[str]
    """Names of the stimulus variables."""
    first_sample: int
    uv_per_unit: float


@dataclass(frozen=True)
class _Record:
    """Line of one record."""

    cells: list[str]
    line: int
    columns: _Columns
    path: Path

    def field(self, name: str) -> tuple[str, Path, int, str]:
        """Return the text of a field and its place, as arguments for `number_in` and its relatives."""
        at = self.columns.place[name]
        if at >= len(self.cells):
            raise self.error(f"{len(self.cells)} cells, none of {name}", "a complete record")
        return self.cells[at].strip(), self.path, self.line, name

    def error(self, found: str, expected: str) -> FileError:
        return FileError(self.path, f"line {self.line}", found, expected)


def recognises(path: Path, head: bytes) -> bool:
    """Return whether one of the first lines has the column names."""
    first_lines = head.splitlines()[: MAX_TITLE_LINES + 1]
    return any(line.startswith(FIRST.encode()) for line in first_lines)


def read(path: Path, options: ReadOptions) -> Iterator[Recording]:
    """Yield every record in file order; the mapping may give `start_ms`, the time of the first sample.

    Raises:
        FileError: a column is missing, is repeated, has another unit, or is not a number, or a record does not have the
            number of samples that it states.
    """
    lines = lines_of(path)
    columns = _columns(lines, path)
    found = False
    for number, line in lines:
        if line.strip():
            yield _recording(_Record(_cells(line, number, path), number, columns, path), options)
            found = True
    if not found:
        raise FileError(path, "whole file", "no records", "one record a line after that of the column names")


def _columns(lines: Iterator[tuple[int, str]], path: Path) -> _Columns:
    for number, line in lines:
        if line.startswith(FIRST):
            titles = list(map(str.strip, _cells(line, number, path)))
            return _columns_of(titles, number, path)
        if number > MAX_TITLE_LINES:
            break
    raise FileError(path, "header", f"no line that begins with {FIRST!r}", "a CSV export of BioSig")


def _columns_of(titles: list[str], number: int, path: Path) -> _Columns:
    """Return the columns with these titles, in line `number`.

    Raises:
        FileError: a column is missing or repeated, or the samples have an unknown unit.
    """
    where = f"line {number}"
    data = _place_of_data(titles)
    named = titles[:data]
    missing = [name for name in REQUIRED if name not in named]
    if data is None:
        missing.append("Data(uv)...")
    if data is None or missing:
        raise FileError(path, where, f"no column {', '.join(missing)}", "a complete BioSig export")
    variables = list(filter(_is_variable, named))
    used = (*REQUIRED, *variables)
    twice = repeated(name for name in named if name in used)
    if twice:
        raise FileError(path, where, f"the columns {', '.join(twice)} more than once", "each name once")
    scale = uv_per(DATA.sub(r"\1", titles[data]))
    if scale is None:
        raise FileError(path, where, f"the column {titles[data]!r}", f"Data(...) with one of {VOLTAGES}")
    place: dict[str, int] = {}
    for at, name in enumerate(named):
        place.setdefault(name, at)
    return _Columns(place, variables, data + 1, scale)


def _place_of_data(titles: list[str]) -> int | None:
    for at, title in enumerate(titles):
        if DATA.fullmatch(title):
            return at
    return None


def _is_variable(title: str) -> bool:
    """Return whether the title is one of a stimulus variable: a name, and its unit in brackets."""
    return bool(title.rpartition("(")[0].strip(". ")) and not CURSOR.fullmatch(title)


def _cells(line: str, number: int, path: Path) -> list[str]:
    try:
        return next(csv.reader([line], strict=True))
    except csv.Error as error:
        raise FileError(path, f"line {number}", "a line that is not CSV", "quoted text closed") from error


def _recording(record: _Record, options: ReadOptions) -> Recording:
    samples = _samples(record)
    period_us = number_in(*record.field("Samp. Per."))
    if not 0.1 <= period_us <= 10_000:
        raise record.error(f"a sampling period of {period_us:g} us", "0.1 to 10000")
    values = _values(record, options) | {"native_rate_hz": 1e6 / period_us}
    subject = text_or_none(record.field("Sub. ID")[0])
    samples_uv = np.array(numbers_in(samples, record.path, record.line, "a sample")) * record.columns.uv_per_unit
    start_ms = as_number(options.mapping.get("start_ms"))
    if start_ms is None:
        start_ms = number_in(*record.field("O.S. Time"))
    channel = None
    if "Chan" in record.columns.place:
        channel = record.field("Chan")[0] or None
    return Recording(
        signal_uv=samples_uv,
        sampling_rate_hz=1e6 / period_us,
        start_ms=start_ms,
        values=values,
        subject=subject,
        peaks=None,
        usual_band_hz=USUAL_BAND_HZ,
        channel=channel,
    )


def _samples(record: _Record) -> list[str]:
    """Return the texts of the samples, after a check of their number."""
    samples = list(filter(str.strip, record.cells[record.columns.first_sample :]))
    points = whole_in(*record.field("No. Samps."))
    if len(samples) != points or not samples:
        raise record.error(f"{len(samples)} samples", f"{points}, as 'No. Samps.' states")
    return samples


def _values(record: _Record, options: ReadOptions) -> dict[str, CellValue]:
    """Return the columns of the waveform table."""
    variables = [(name, record.field(name)[0]) for name in record.columns.variables]
    for name, text in variables:
        if not is_null(text):
            number_in(text, record.path, record.line, name)
    return stimulus_of(variables, "", options) | {
        "n_averages": whole_or_none(*record.field("No. Avgs")),
        "n_artifacts": whole_or_none(*record.field("No. Arts")),
        "recording_index": whole_in(*record.field("Rec No.")),
    }


FORMAT = Format(
    name="biosig-csv",
    title="TDT BioSig CSV",
    recognises=recognises,
    read=read,
    mapping_names=frozenset({"signal", "start_ms"}),
    channel_choice="signal",
)
