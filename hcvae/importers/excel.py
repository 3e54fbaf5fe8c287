"""Excel workbooks (.xlsx): the first sheet, or the one that the mapping of `sheet` names; the layouts are those of
`sheets`. Formulas count as the value that Excel stored with them.
"""

import zipfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from hcvae.errors import UserError
from hcvae.importers.foreign import as_file_error, library
from hcvae.importers.recording import FileError, ReadOptions, Recording
from hcvae.importers.registry import Format
from hcvae.importers.sheets import Line, recordings_of_sheet
from hcvae.suggest import did_you_mean

ZIP = b"PK\x03\x04"
SUFFIXES = (".xlsx", ".xlsm")
MAX_EXPANDED_BYTES = 256 * 2**20
MAX_STRINGS_BYTES = 32 * 2**20  # all texts are held at once
STRINGS = "xl/sharedStrings.xml"
RIGHT = "a whole .xlsx workbook; save it again, or save it as CSV"


def recognises(path: Path, head: bytes) -> bool:
    """Whether the name says so, and the file begins as a zip archive."""
    return path.suffix.lower() in SUFFIXES and head.startswith(ZIP)


def read(path: Path, options: ReadOptions) -> Iterator[Recording]:
    """The waveforms of one sheet.

    Raises:
        FileError: a damaged or too large workbook; see `sheets.recordings_of_sheet` for the rest.
        UserError: openpyxl is not installed, or no such sheet.
    """
    openpyxl = library("openpyxl", path)
    mapping = {name: value for name, value in options.mapping.items() if name != "sheet"}
    with as_file_error(path, RIGHT):
        _check_sizes(path)
        workbook = openpyxl.load_workbook(path, read_only=True, data_only=True, keep_links=False)
        with closing(workbook):
            lines = _lines(workbook, options.mapping.get("sheet"), path)
            yield from recordings_of_sheet(lines, replace(options, mapping=mapping), path)


def _check_sizes(path: Path) -> None:
    """Refuse what expands to more than fits, by the sizes at which the archive's reader stops."""
    with zipfile.ZipFile(path) as archive:
        sizes = {part.filename: part.file_size for part in archive.infolist()}
    if sum(sizes.values()) > MAX_EXPANDED_BYTES or sizes.get(STRINGS, 0) > MAX_STRINGS_BYTES:
        found = f"{sum(sizes.values())} bytes once expanded, {sizes.get(STRINGS, 0)} of texts"
        right = f"at most {MAX_EXPANDED_BYTES} and {MAX_STRINGS_BYTES}; save it as CSV or Parquet"
        raise FileError(path, "whole file", found, right)


def _lines(workbook: Any, name: str | None, path: Path) -> Iterator[Line]:
    sheets = {sheet.title: sheet for sheet in workbook.worksheets}
    if not sheets or (name is not None and name not in sheets):
        raise UserError(f"{path}: mapping of sheet: no sheet {name!r}{did_you_mean(name or '', sorted(sheets))}")
    sheet = sheets[name] if name is not None else next(iter(sheets.values()))
    sheet.reset_dimensions()  # what the file claims may be wrong: rows cut short, or 16,384 cells each
    width = 0
    for number, cells in enumerate(sheet.iter_rows(values_only=True), start=1):
        last = max((place for place, cell in enumerate(cells, start=1) if cell is not None), default=0)
        width = width or last
        yield number, (*cells[:last], *[None] * (width - last))


FORMAT = Format(name="excel", title="Excel .xlsx", recognises=recognises, read=read)
