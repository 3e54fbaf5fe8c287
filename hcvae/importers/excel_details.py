"""Merged ranges, formulas without a saved value and hidden rows, which openpyxl's streaming reader leaves out.

Format: ECMA-376, Part 1, SpreadsheetML.
"""

import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from posixpath import join, normpath
from typing import Any

from hcvae.importers.cells import FormulaCell, MergedCell
from hcvae.importers.foreign import library

WORKBOOK = "xl/workbook.xml"
RELATIONS = "xl/_rels/workbook.xml.rels"
RELATION_ID = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
STRICT_RELATION_ID = "{http://purl.oclc.org/ooxml/officeDocument/relationships}id"

Place = tuple[int, int]
"""Row and column of a cell, from 1."""
Range = tuple[int, int, int, int]
"""First column, first row, last column and last row of a range, from 1."""


@dataclass
class SheetDetails:
    """What openpyxl's streaming reader leaves out of one sheet."""

    formulas: set[Place] = field(default_factory=set)
    """Cells with a formula without a saved value."""
    ranges: list[Range] = field(default_factory=list)
    """Merged ranges."""
    hidden_rows: int = 0

    def filled(self, lines: Iterator[tuple[int, list[Any]]]) -> Iterator[tuple[int, list[Any]]]:
        """Yield the numbered lines, with merged cells filled in and formulas without a saved value marked."""
        starting: dict[int, list[Range]] = {}
        for merged in self.ranges:
            starting.setdefault(merged[1], []).append(merged)
        rows_with_formulas = {row for row, _ in self.formulas}
        shown: dict[Range, Any] = {}
        for number, cells in lines:
            if number in rows_with_formulas:
                self._set_formulas(number, cells)
            shown = {merged: value for merged, value in shown.items() if number <= merged[3]}
            for merged in starting.get(number, []):
                shown[merged] = None
                if merged[0] <= len(cells):
                    shown[merged] = cells[merged[0] - 1]
            for merged, value in shown.items():
                _fill(cells, value, merged, number)
            yield number, cells

    def _set_formulas(self, number: int, cells: list[Any]) -> None:
        for at in range(len(cells)):
            if (number, at + 1) in self.formulas:
                cells[at] = FormulaCell()


def _fill(cells: list[Any], value: Any, merged: Range, number: int) -> None:
    """Set the merged cells of line `number`, but the upper left one, which holds the value itself."""
    first_column, first_row, last_column, _ = merged
    if value is None:
        return
    cells += [None] * (last_column - len(cells))
    first = first_column if number == first_row else first_column - 1
    for at in range(first, last_column):
        cells[at] = MergedCell(value)


def details_of(path: Path, title: str) -> SheetDetails:
    """Return the merged ranges, the formulas without a saved value and the hidden rows of the sheet called `title`."""
    references = library("openpyxl.utils.cell", path)
    found = SheetDetails()
    with zipfile.ZipFile(path) as archive, archive.open(_part(archive, title)) as content:
        for _, element in ET.iterparse(content):
            name = _local(element.tag)
            if name == "c" and _is_unsaved_formula(element):
                found.formulas.add(references.coordinate_to_tuple(element.attrib["r"]))
            if name == "mergeCell":
                found.ranges.append(references.range_boundaries(element.attrib["ref"]))
            if name == "row":
                found.hidden_rows += element.get("hidden") in ("1", "true")
            if name in ("row", "mergeCells"):
                element.clear()
    return found


def _part(archive: zipfile.ZipFile, title: str) -> str:
    """Return the name of the archive's member with the sheet `title`."""
    targets: dict[str, str] = {}
    for relation in ET.fromstring(archive.read(RELATIONS)):
        targets[relation.attrib["Id"]] = relation.attrib["Target"]
    for element in ET.fromstring(archive.read(WORKBOOK)).iter():
        if _local(element.tag) == "sheet" and element.attrib["name"] == title:
            relation_id = element.get(RELATION_ID) or element.attrib[STRICT_RELATION_ID]
            return normpath(join("xl", targets[relation_id])).lstrip("/")
    raise KeyError(title)


def _is_unsaved_formula(cell: ET.Element) -> bool:
    children = {_local(child.tag): child for child in cell}
    if "f" not in children:
        return False
    value = children.get("v")
    is_empty_text = cell.get("t") == "str" and value is not None
    return not is_empty_text and (value is None or not value.text)


def _local(tag: str) -> str:
    """Return the name of an element without its namespace."""
    return tag.rpartition("}")[2]
