"""CSV files with commas, semicolons or tabs; the layouts are those of `sheets`."""

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
    """Return whether the file has a suffix of CSV and begins with text."""
    return path.suffix.lower() in SUFFIXES and bool(head) and b"\0" not in head


def read(path: Path, options: ReadOptions) -> Iterator[Recording]:
    """Yield the waveforms of the table; see `sheets.recordings_of_sheet` for the layouts and the errors."""
    lines = lines_of(path, MAX_LINE, max_bytes=None)
    first = list(islice(lines, LOOKED_AT))
    delimiter = _delimiter(first)
    decimal = None
    if delimiter == ",":
        decimal = "."
    yield from recordings_of_sheet(_cells(chain(first, lines), delimiter, path), options, path, decimal)


def _delimiter(lines: Sequence[tuple[int, str]]) -> str:
    """Return semicolon or tab if most lines have it and it outnumbers the commas outside numbers; else comma."""
    texts = [QUOTED.sub('""', line) for _, line in lines if line.strip()]
    text = "\n".join(texts)
    mark = max(";\t", key=text.count)
    with_mark = [line for line in texts if mark in line]
    loose_commas = len(LOOSE_COMMA.findall(text))
    if 2 * len(with_mark) > len(texts) and text.count(mark) > loose_commas:
        return mark
    return ","


def _cells(lines: Iterator[tuple[int, str]], delimiter: str, path: Path) -> Iterator[Line]:
    """Yield the cells of each line, parsed by itself, so that no quotation mark can extend over the whole file."""
    for number, line in lines:
        try:
            yield number, next(csv.reader([line], delimiter=delimiter), [])
        except csv.Error as error:
            raise FileError(
                path, f"line {number}", f"a line that is not CSV ({error})", "quoted text closed"
            ) from error


FORMAT = Format(name="csv", title="CSV", recognises=recognises, read=read, mapping_names=MAPPING_NAMES)
