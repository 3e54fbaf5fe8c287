"""CSV files: comma, semicolon or tab; the layouts are those of `sheets`."""

import csv
from collections.abc import Iterator
from pathlib import Path

from hcvae.importers.recording import FileError, ReadOptions, Recording
from hcvae.importers.registry import Format
from hcvae.importers.sheets import MAPPING_NAMES, Line, recordings_of_sheet

DELIMITERS = (",", ";", "\t")
MAX_LINE = 2**20  # characters
SUFFIXES = (".csv", ".tsv")


def recognises(path: Path, head: bytes) -> bool:
    """Whether the name says so, and the file begins with text."""
    return path.suffix.lower() in SUFFIXES and bool(head) and b"\0" not in head


def read(path: Path, options: ReadOptions) -> Iterator[Recording]:
    """The waveforms of the table; see `sheets.recordings_of_sheet` for the layouts and what is raised."""
    yield from recordings_of_sheet(_lines(path), options.mapping, path)


def _lines(path: Path) -> Iterator[Line]:
    """Cells line by line, so that no quotation mark can run over the whole file."""
    delimiter, number = None, 0
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        while line := file.readline(MAX_LINE + 1):
            number += 1
            if len(line) > MAX_LINE or "\0" in line:
                found = f"more than {MAX_LINE} characters, or a NUL"
                raise FileError(path, f"line {number}", found, "a line of text")
            delimiter = delimiter or max(DELIMITERS, key=line.count)
            try:
                cells = next(csv.reader([line], delimiter=delimiter), [])
            except csv.Error as error:
                raise FileError(
                    path, f"line {number}", f"a line that is no CSV ({error})", "quoted text closed"
                ) from error
            yield number, cells


FORMAT = Format(name="csv", title="CSV", recognises=recognises, read=read, mapping_names=MAPPING_NAMES)
