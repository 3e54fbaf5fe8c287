"""TDT BioSig CSV exports: one record a line, its samples at the end.

After an optional title come a line of column names, which begins `SGI,Rec No.,Gain,No. Avgs,No. Arts`, and the records.
The stimulus variables bear their units, as in `Freq(Hz)` and `Level(dB)`; the samples follow the column `Data(uv)...`,
which names their unit.

Legend: T samples.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hcvae.importers.biosig_text import USUAL_BAND_HZ
from hcvae.importers.biosig_variables import stimulus_of
from hcvae.importers.cells import is_null
from hcvae.importers.columns import UV_PER_UNIT, as_number
from hcvae.importers.lines import lines_of, number_in, numbers_in, text_or_none, whole_in, whole_or_none
from hcvae.importers.recording import CellValue, FileError, ReadOptions, Recording
from hcvae.importers.registry import Format
from hcvae.importers.units import uv_per

FIRST = "SGI,Rec No.,Gain,No. Avgs,No. Arts"
NEEDED = ("Rec No.", "No. Avgs", "No. Arts", "Sub. ID", "Samp. Per.", "No. Samps.", "O.S. Time")
DATA = re.compile(r"Data\s*\((.*)\)[. ]*", re.IGNORECASE)
CURSOR = re.compile(r"[TV]\d+\(.*\)")
MAX_TITLE_LINES = 10


@dataclass(frozen=True)
class _Columns:
    """Places of the columns, from 0."""

    place: dict[str, int]
    variables: list[str]
    """Names of the stimulus variables."""
    first_sample: int
    uv_per_unit: float


def recognises(path: Path, head: bytes) -> bool:
    """Whether one of the first lines is that of the column names."""
    return any(line.startswith(FIRST.encode()) for line in head.splitlines()[: MAX_TITLE_LINES + 1])


def read(path: Path, options: ReadOptions) -> Iterator[Recording]:
    """Every record, in the order of the file; the mapping may give `start_ms`, the time of the first sample.

    Raises:
        FileError: a column is missing, is there twice, has another unit, or is no number, or a record holds another
            number of samples than it says.
    """
    lines = lines_of(path)
    columns = _columns(lines, path)
    found = False
    for number, line in lines:
        if line.strip():
            yield _recording(_cells(line, number, path), number, columns, options, path)
            found = True
    if not found:
        raise FileError(path, "whole file", "no records", "one record a line after that of the column names")


def _columns(lines: Iterator[tuple[int, str]], path: Path) -> _Columns:
    for number, line in lines:
        if line.startswith(FIRST):
            return _columns_of([title.strip() for title in _cells(line, number, path)], number, path)
        if number > MAX_TITLE_LINES:
            break
    raise FileError(path, "header", f"no line that begins with {FIRST!r}", "a CSV export of BioSig")


def _columns_of(titles: list[str], number: int, path: Path) -> _Columns:
    data = next((at for at, title in enumerate(titles) if DATA.fullmatch(title)), None)
    named = titles[:data]
    missing = [name for name in NEEDED if name not in named] + ([] if data is not None else ["Data(uv)..."])
    if data is None or missing:
        raise FileError(path, f"line {number}", f"no column {', '.join(missing)}", "a whole export of BioSig")
    variables = [title for title in named if title.rpartition("(")[0].strip(". ") and not CURSOR.fullmatch(title)]
    if twice := [name for name, times in Counter(named).items() if times > 1 and name in (*NEEDED, *variables)]:
        raise FileError(path, f"line {number}", f"the columns {', '.join(twice)} more than once", "each name once")
    scale = uv_per(DATA.sub(r"\1", titles[data]))
    if scale is None:
        expected = f"Data(...) with one of {', '.join(UV_PER_UNIT)}"
        raise FileError(path, f"line {number}", f"the column {titles[data]!r}", expected)
    return _Columns({name: at for at, name in reversed([*enumerate(named)])}, variables, data + 1, scale)


def _cells(line: str, number: int, path: Path) -> list[str]:
    try:
        return next(csv.reader([line], strict=True))
    except csv.Error as error:
        raise FileError(path, f"line {number}", "a line that is no CSV", "quoted text closed") from error


def _recording(cells: list[str], line: int, columns: _Columns, options: ReadOptions, path: Path) -> Recording:
    def field(name: str) -> tuple[str, Path, int, str]:
        if columns.place[name] >= len(cells):
            raise FileError(path, f"line {line}", f"{len(cells)} cells, none of {name}", "a whole record")
        return cells[columns.place[name]].strip(), path, line, name

    samples = [cell for cell in cells[columns.first_sample :] if cell.strip()]
    points = whole_in(*field("No. Samps."))
    if len(samples) != points or not samples:
        raise FileError(path, f"line {line}", f"{len(samples)} samples", f"{points}, as 'No. Samps.' says")
    period_us = number_in(*field("Samp. Per."))
    if not 0.1 <= period_us <= 10_000:
        raise FileError(path, f"line {line}", f"a sampling period of {period_us:g} us", "0.1 to 10000")
    variables = [(name, field(name)[0]) for name in columns.variables]
    for name, text in variables:
        if not is_null(text):
            number_in(text, path, line, name)
    values: dict[str, CellValue] = stimulus_of(variables, "", options) | {
        "n_averages": whole_or_none(*field("No. Avgs")),
        "n_artifacts": whole_or_none(*field("No. Arts")),
        "recording_index": whole_in(*field("Rec No.")),
        "native_rate_hz": 1e6 / period_us,
    }
    start_ms, subject = as_number(options.mapping.get("start_ms")), field("Sub. ID")[0]
    return Recording(
        signal_uv=np.array(numbers_in(samples, path, line, "a sample")) * columns.uv_per_unit,
        sampling_rate_hz=1e6 / period_us,
        start_ms=number_in(*field("O.S. Time")) if start_ms is None else start_ms,
        values=values,
        subject=text_or_none(subject),
        peaks=None,
        usual_band_hz=USUAL_BAND_HZ,
        channel=(field("Chan")[0] or None) if "Chan" in columns.place else None,
    )


FORMAT = Format(
    name="biosig-csv",
    title="TDT BioSig CSV",
    recognises=recognises,
    read=read,
    mapping_names=frozenset({"signal", "start_ms"}),
    channel_choice="signal",
)
