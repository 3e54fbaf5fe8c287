"""Cells of tables: the words for nothing, and numbers as programs and countries write them."""

import math
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

NULL_WORDS = frozenset(
    ("", "na", "n/a", "n.a.", "#n/a", "#na", "<na>", "nan", "null", "none", "nil", "-", "--", ".", "missing", "empty")
)
PLAIN = re.compile(r"[-+]?[1-9]\d*")
MARKED = re.compile(r"[-+]?\d*([.,])\d+(?:[eE][-+]?\d+)?")
THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}([.,])\d{3}")
SEPARATED = re.compile(r"[-+]?\d[\d.,'_ \u2019\u00a0\u202f]*\d")


def is_null(cell: Any) -> bool:
    """Whether a cell is empty, NaN, or holds a word for nothing."""
    if isinstance(cell, str):
        return cell.strip().lower() in NULL_WORDS
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def number_of(cell: Any, decimal: str = ".") -> float | None:
    """The finite number in a cell; None where there is none, or one with another decimal mark or separators."""
    if isinstance(cell, str):
        if "_" in cell or (decimal == "," and "." in cell):
            return None
        cell = cell.replace(decimal, ".")
    try:
        number = float(cell)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def what_is(cell: Any) -> str:
    """What stands in a cell that should hold a number, for messages; never its text."""
    if is_null(cell):
        return "nothing"
    if isinstance(cell, str) and SEPARATED.fullmatch(cell.strip()):
        return "a number with separators of thousands or with another decimal mark"
    return "text"


def decimal_mark(cells: Iterable[Any]) -> str:
    """The decimal mark of the numbers in `cells`, as text or as numbers.

    `1,234` alone may be either; beside `0,5` its comma is a decimal mark; beside `895` it separates thousands, and the
    mark is the other one, so that `number_of` refuses it.
    """
    texts = [str(cell).strip() for cell in cells if isinstance(cell, str | int | float)]
    marked = [(text, found[1]) for text in texts if (found := MARKED.fullmatch(text))]
    if sure := Counter(mark for text, mark in marked if not THOUSANDS.fullmatch(text)):
        return sure.most_common(1)[0][0]
    mark = marked[0][1] if marked else "."
    separates = marked and any(PLAIN.fullmatch(text) for text in texts)
    return {".": ",", ",": "."}[mark] if separates else mark
