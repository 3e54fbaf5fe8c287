"""CSV files: comma, semicolon or tab; the layouts are those of `sheets`."""

import csv
import re
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

from hcvae.importers.lines import lines_of
from hcvae.importers.recording import FileError, ReadOptions, Recording
from hcvae.importers.registry import Format
from hcvae.importers.sheets import LOOKED_AT, MAPPING_NAMES, Line, recordings_of_sheet

MAX_LINE = 2**20  # characters
SUFFIXES = (".csv", ".tsv")
QUOTED = re.compile(r'"[^"]*"')
LOOSE_COMMA = re.compile(r"(?<!\d),|,(?!\d)")


def recognises(path: Path, head: bytes) -> bool:
    """Whether the name says so, and the file begins with text."""
    return path.suffix.lower() in SUFFIXES and bool(head) and b"\0" not in head


def read(path: Path, options: ReadOptions) -> Iterator[Recording]:
    """The waveforms of the table; see `sheets.recordings_of_sheet` for the layouts and what is raised."""
    lines = lines_of(path, MAX_LINE, max_bytes=None)
    first = list(islice(lines, LOOKED_AT))
    delimiter = _delimiter([line for _, line in first])
    decimal = "." if delimiter == "," else None
    yield from recordings_of_sheet(_cells(chain(first, lines), delimiter, path), options, path, decimal)


def _delimiter(lines: Sequence[str]) -> str:
    """Semicolon or tab where most lines have it and it outnumbers the commas that are not inside numbers."""
    lines = [QUOTED.sub('""', line) for line in lines if line.strip()]
    mark = max(";\t", key=lambda mark: sum(line.count(mark) for line in lines))
    loose_commas = sum(len(LOOSE_COMMA.findall(line)) for line in lines)
    is_usual = 2 * sum(mark in line for line in lines) > len(lines)
    return mark if is_usual and sum(line.count(mark) for line in lines) > loose_commas else ","


def _cells(lines: Iterator[tuple[int, str]], delimiter: str, path: Path) -> Iterator[Line]:
    """Cells line by line, so that no quotation mark can run over the whole file."""
    for number, line in lines:
        try:
            yield number, next(csv.reader([line], delimiter=delimiter), [])
        except csv.Error as error:
            raise FileError(path, f"line {number}", f"a line that is no CSV ({error})", "quoted text closed") from error


FORMAT = Format(name="csv", title="CSV", recognises=recognises, read=read, mapping_names=MAPPING_NAMES)
