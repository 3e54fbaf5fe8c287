"""Cells of tables: empty cells, cells without a value, and numbers as programs and countries write them."""

import math
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

NULL_WORDS = frozenset(
    ("", "na", "n/a", "n.a.", "#n/a", "#na", "#nv", "#n/d", "<na>", "nan", "null", "none", "nil", "missing", "empty")
).union(("-", "--", "."))
PLAIN = re.compile(r"[-+]?[1-9]\d*")
MARKED = re.compile(r"[-+]?\d*([.,])\d+(?:[eE][-+]?\d+)?")
THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}([.,])\d{3}")
SEPARATED = re.compile(r"[-+]?\d[\d.,'_ \u2019\u00a0\u202f]*\d")
OTHER_MARK = {".": ",", ",": "."}
ERROR = re.compile(r"#[^\W\d_][\w/ ]*[!?]|#GETTING_DATA|Err:\d{3}")
"""Errors of Excel and LibreOffice, such as #REF!; #N/A (#NV, #N/D) is a word for a missing value."""


@dataclass(frozen=True)
class FormulaCell:
    """Cell with a formula whose value the file does not contain."""


@dataclass(frozen=True)
class MergedCell:
    """Cell of a merged range that shows the value of another cell, the upper left one."""

    value: Any


def shown_value(cell: Any) -> Any:
    """Return what a spreadsheet shows in a cell."""
    if isinstance(cell, MergedCell):
        return cell.value
    return cell


def cell_text(cell: Any) -> str:
    """Return the text of a cell; empty if it has no value."""
    cell = shown_value(cell)
    if cell is None or has_no_value(cell):
        return ""
    return str(cell)


def has_no_value(cell: Any) -> bool:
    """Return whether a cell holds a formula or an error instead of a value."""
    return is_formula(cell) or (isinstance(cell, str) and ERROR.fullmatch(cell.strip()) is not None)


def is_formula(cell: Any) -> bool:
    """Return whether a cell holds a formula instead of its value; as text it begins with =."""
    return isinstance(cell, FormulaCell) or (isinstance(cell, str) and re.match(r"\s*=.", cell) is not None)


def is_null(cell: Any) -> bool:
    """Return whether a cell is empty, NaN, or holds a word for a missing value."""
    if isinstance(cell, str):
        return cell.strip().lower() in NULL_WORDS
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def number_of(cell: Any, decimal: str = ".") -> float | None:
    """Return the finite number in a cell; None for other content, another decimal mark or thousands separators.

    Logical values are no numbers, although Python and MATLAB calculate with them.
    """
    if isinstance(cell, bool | np.bool_):
        return None
    if isinstance(cell, str):
        if "_" in cell or (decimal == "," and "." in cell):
            return None
        cell = cell.replace(decimal, ".")
    try:
        number = float(cell)
    except (TypeError, ValueError, OverflowError):
        return None
    if math.isfinite(number):
        return number
    return None


def describe_cell(cell: Any) -> str:
    """Describe, for messages, the content of a cell that should hold a number; never repeat its text."""
    if is_null(cell):
        return "nothing"
    if is_formula(cell):
        return "a formula without a saved value"
    if has_no_value(cell):
        return "an error such as #REF!"
    if isinstance(cell, MergedCell):
        return "a merged cell"
    if isinstance(cell, bool):
        return "a logical value (TRUE, FALSE)"
    if isinstance(cell, str) and SEPARATED.fullmatch(cell.strip()):
        return "a number with thousands separators or another decimal mark"
    return "text"


def decimal_mark(cells: Iterable[Any]) -> str:
    """Return the decimal mark of the numbers in `cells`, which may be text or numbers.

    `1,234` alone is ambiguous. Beside `0,5` its comma is a decimal mark. Beside `895` it separates thousands: the
    decimal mark is then the other one, so `number_of` refuses `1,234`.
    """
    has_plain_integer = False
    first_mark: str | None = None
    certain_marks: Counter[str] = Counter()
    for cell in cells:
        if not isinstance(cell, str | int | float):
            continue
        text = str(cell).strip()
        has_plain_integer |= PLAIN.fullmatch(text) is not None
        marked = MARKED.fullmatch(text)
        if marked is None:
            continue
        first_mark = first_mark or marked[1]
        if not THOUSANDS.fullmatch(text):
            certain_marks[marked[1]] += 1
    if certain_marks:
        return certain_marks.most_common(1)[0][0]
    if first_mark is None:
        return "."
    if has_plain_integer:
        return OTHER_MARK[first_mark]
    return first_mark
