"""Tables for terminals of any width, without elision.

Text wraps at spaces, `_` and `/`, numbers are never broken, and columns that do not fit beside the others follow below
them, next to a repeated first column.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table
from rich.text import Text

WIDTH_OF_FILES = 160
"""Columns of output that no terminal shows, such as a log, unless COLUMNS is set."""
GAP = 2
MAX_PIECE = 24
"""Longer words, such as hashes, are broken in a column that is too narrow."""
PIECE = re.compile(r"\s*\S+?(?:_+|(?<!\d)/+|(?=\s)|$)")
NUMBER = re.compile(r"[-+]?\d[\d.,]*(e[-+]?\d+)?|nan|-|", re.IGNORECASE)


@dataclass(frozen=True)
class TerminalTable:
    """A table whose first column identifies the row. Rich prints it; all text is plain, without markup."""

    title: str
    headers: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    """Cells; a row of a single cell is the heading of a section."""
    caption: str = ""
    """Text below the table."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        yield ""
        title: str | None = self.title
        for columns in self._blocks(options.max_width):
            yield self._table(columns, options.max_width, title)
            title = None
        if self.caption:
            yield wrapped(self.caption, options.max_width, "italic")

    def _blocks(self, width: int) -> Iterator[list[int]]:
        """Yield the columns that fit beside each other, each time with the first one."""
        block = [0]
        for column in range(1, len(self.headers)):
            if len(block) > 1 and self._min_width([*block, column]) > width:
                yield block
                block = [0]
            block.append(column)
        yield block

    def _min_width(self, columns: Sequence[int]) -> int:
        return sum(map(self._longest_word, columns)) + GAP * (len(columns) - 1)

    def _table(self, columns: Sequence[int], width: int, title: str | None) -> Table:
        table = Table(
            title=title,
            title_justify="left",
            title_style="bold",
            box=SIMPLE_HEAD,
            show_edge=False,
            padding=(0, GAP - 1, 0, 0),
            pad_edge=False,
        )
        widths = self._widths(columns, width)
        for column, room in zip(columns, widths, strict=True):
            header = wrapped(self.headers[column], room)
            table.add_column(header, width=room, overflow="fold", justify=self._justification(column))
        for row in self.rows:
            if len(row) == 1:
                table.add_section()
                table.add_row(wrapped(row[0], widths[0], "bold"))
            else:
                cells = [row[column] for column in columns]
                table.add_row(*map(wrapped, cells, widths))
        return table

    def _widths(self, columns: Sequence[int], width: int) -> list[int]:
        """Return the width of each column: that of its text, under the largest limit at which all fit."""
        room = width - GAP * (len(columns) - 1)
        lowest = list(map(self._longest_word, columns))
        highest = list(map(self._longest_line, columns))
        for limit in range(max(highest), 0, -1):
            widths = [max(low, min(high, limit)) for low, high in zip(lowest, highest, strict=True)]
            if sum(widths) <= room:
                return widths
        total = sum(lowest)
        return [max(1, low * room // total) for low in lowest]  # a terminal narrower than the words

    def _justification(self, column: int) -> Literal["left", "right"]:
        """Return the side of a column's text: numbers are to the right, except those that identify the row."""
        if column > 0 and all(map(NUMBER.fullmatch, self._cells(column))):
            return "right"
        return "left"

    def _cells(self, column: int) -> list[str]:
        """Return the cells of a column: the first one also has the headings of sections."""
        return [row[column] for row in self.rows if column < len(row)]

    def _texts(self, column: int) -> list[str]:
        return [self.headers[column], *self._cells(column)]

    def _longest_word(self, column: int) -> int:
        words = map(str.strip, PIECE.findall("\n".join(self._texts(column))))
        longest = max(map(cell_len, words), default=1)
        return max(1, min(MAX_PIECE, longest))

    def _longest_line(self, column: int) -> int:
        return max(1, *map(cell_len, self._texts(column)))


def print_line(console: Console, text: object) -> None:
    """Print text as it is: without markup, colours of numbers, or line breaks of ours."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def output_console() -> Console:
    """Return a console for tables: as wide as the terminal, and wide enough for most tables in a file."""
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        return Console(width=WIDTH_OF_FILES)
    return console


def wrapped(text: str, width: int, style: str = "") -> Text:
    """Wrap `text` in lines of `width` cells; a longer word is left to the terminal to fold."""
    lines = [""]
    for piece in PIECE.findall(text):
        if not lines[-1]:
            lines[-1] = piece.lstrip()
        elif cell_len(lines[-1] + piece) > width:
            lines.append(piece.lstrip())
        else:
            lines[-1] += piece
    return Text("\n".join(lines), style)
