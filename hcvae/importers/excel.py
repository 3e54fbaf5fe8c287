"""Excel workbooks (.xlsx): all visible sheets, or the one that the mapping of `sheet` names.

The layouts are those of `sheets`. A formula is read as the value that Excel stored with it, and all cells of a merged
range have its value.
"""

import zipfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from hcvae.errors import UserError
from hcvae.importers.excel_details import details_of
from hcvae.importers.foreign import as_file_error, library
from hcvae.importers.recording import FileError, NoWaveforms, ReadOptions, Recording
from hcvae.importers.registry import Format
from hcvae.importers.sheets import MAPPING_NAMES, Line, recordings_of_sheet
from hcvae.suggest import did_you_mean

ZIP = b"PK\x03\x04"
SUFFIXES = (".xlsx", ".xlsm")
MAX_EXPANDED_BYTES = 256 * 2**20
MAX_STRINGS_BYTES = 32 * 2**20  # all texts are held at once
STRINGS = "xl/sharedStrings.xml"
EXPECTED = "a complete .xlsx workbook; save it again, or save it as CSV"


def recognises(path: Path, head: bytes) -> bool:
    """Return whether the file has a suffix of Excel and begins as a zip archive."""
    return path.suffix.lower() in SUFFIXES and head.startswith(ZIP)


def read(path: Path, options: ReadOptions) -> Iterator[Recording]:
    """Yield the waveforms of each sheet in turn; note hidden sheets, and sheets without waveforms beside others.

    Raises:
        FileError: a damaged or too large workbook; see `sheets.recordings_of_sheet` for the rest.
        UserError: openpyxl is not installed, or no such sheet.
    """
    openpyxl = library("openpyxl", path)
    mapping = options.mapping_without("sheet")
    with as_file_error(path, EXPECTED):
        _check_sizes(path)
        workbook = openpyxl.load_workbook(path, read_only=True, data_only=True, keep_links=False)
        with closing(workbook):
            yield from _of_sheets(_chosen(workbook, options, path), replace(options, mapping=mapping), path)


def _of_sheets(sheets: Sequence[Any], options: ReadOptions, path: Path) -> Iterator[Recording]:
    empty: list[NoWaveforms] = []
    names_subjects = True
    for sheet in sheets:
        try:
            for recording in recordings_of_sheet(_lines(sheet, path, options), options, _place(path, sheet, sheets)):
                names_subjects &= recording.subject is not None
                yield recording
        except NoWaveforms as error:
            options.note(f"sheet {sheet.title!r} has no waveforms")
            empty.append(error)
    if len(empty) == len(sheets):
        raise empty[0]
    if len(sheets) - len(empty) > 1 and not names_subjects:
        options.note("the sheets name no subject and count as one; read those of others apart (--map sheet=NAME)")


def _chosen(workbook: Any, options: ReadOptions, path: Path) -> list[Any]:
    """Return the sheet that the mapping names, else all visible sheets."""
    name = options.mapping.get("sheet")
    if name is None and workbook.worksheets:
        return _visible(workbook.worksheets, options)
    sheets = [sheet for sheet in workbook.worksheets if sheet.title == name]
    if not sheets:
        titles = sorted(sheet.title for sheet in workbook.worksheets)
        raise UserError(f"{path}: mapping of sheet: no sheet {name!r}{did_you_mean(name or '', titles)}")
    return sheets


def _visible(sheets: Sequence[Any], options: ReadOptions) -> list[Any]:
    visible = []
    for sheet in sheets:
        if sheet.sheet_state == "visible":
            visible.append(sheet)
        else:
            options.note(f"sheet {sheet.title!r} is hidden and not read; --map sheet=NAME reads it")
    return visible


def _place(path: Path, sheet: Any, sheets: Sequence[Any]) -> Path:
    """Return the file for messages, with the sheet if there are several."""
    if len(sheets) == 1:
        return path
    return Path(f"{path}, sheet {sheet.title!r}")


def _check_sizes(path: Path) -> None:
    """Refuse archives that expand to too much; the reader of the archive stops at the sizes that it states."""
    with zipfile.ZipFile(path) as archive:
        sizes = {part.filename: part.file_size for part in archive.infolist()}
    if sum(sizes.values()) > MAX_EXPANDED_BYTES or sizes.get(STRINGS, 0) > MAX_STRINGS_BYTES:
        found = f"{sum(sizes.values())} bytes once expanded, {sizes.get(STRINGS, 0)} of texts"
        expected = f"at most {MAX_EXPANDED_BYTES} and {MAX_STRINGS_BYTES}; save it as CSV or Parquet"
        raise FileError(path, "whole file", found, expected)


def _lines(sheet: Any, path: Path, options: ReadOptions) -> Iterator[Line]:
    """Yield the lines without empty cells at the end, but at least as wide as the first line that is not empty."""
    sheet.reset_dimensions()  # the stored dimensions may be wrong: rows cut short, or 16,384 cells each
    width = 0
    lines = enumerate(map(list, sheet.iter_rows(values_only=True)), start=1)
    details = details_of(path, sheet.title)
    if details.hidden_rows:
        options.note(f"{details.hidden_rows} hidden rows (of a filter?) are read like the others")
    for number, cells in details.filled(lines):
        while cells and cells[-1] is None:
            cells.pop()
        width = width or len(cells)
        yield number, cells + [None] * (width - len(cells))


FORMAT = Format(
    name="excel",
    title="Excel .xlsx",
    recognises=recognises,
    read=read,
    mapping_names=MAPPING_NAMES | {"sheet"},
)
