"""Text files of devices and programs, line by line, within size limits.

The encoding is UTF-8, or UTF-16 with a byte order mark; bytes that are not UTF-8 are read as Latin-1, which devices
write.
"""

import codecs
import math
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain, islice
from pathlib import Path

from hcvae.importers.cells import is_null, number_of
from hcvae.importers.recording import FileError

MAX_LINE = 2**16  # characters
MAX_BYTES = 2**28
MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
"""Encoding by byte order mark."""
LATIN_1 = "hcvae.latin-1"
"""Name of the error handler that decodes invalid bytes as Latin-1."""


def _as_latin_1(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode("latin-1"), error.end


codecs.register_error(LATIN_1, _as_latin_1)


def encoding_of(head: bytes) -> str:
    """Return the encoding of a text that begins with `head`."""
    for mark, encoding in MARKS.items():
        if head.startswith(mark):
            return encoding
    return "utf-8"


def text_of(content: bytes) -> str:
    """Decode `content`, without its byte order mark."""
    return content.decode(encoding_of(content), LATIN_1)


class Lines(Iterator[tuple[int, str]]):
    """Number (from 1) and text of each line of a file; LF, CR LF and CR end lines.

    Raises:
        FileError: a line that is too long or contains NUL, as in binary files and UTF-16 without its mark, or a file
            that is too large.
    """

    def __init__(self, path: Path, max_line: int = MAX_LINE, max_bytes: int | None = MAX_BYTES) -> None:
        size = path.stat().st_size
        if max_bytes is not None and size > max_bytes:
            raise FileError(path, "whole file", f"{size} bytes", f"at most {max_bytes}")
        self._path = path
        self._max_line = max_line
        self._number = 0
        self._lines = self._open()

    def _open(self) -> Iterator[str]:
        """Yield lines, cut one character after the longest valid line, so that no huge line is loaded."""
        with self._path.open("rb") as file:
            encoding = encoding_of(file.read(4))
        with self._path.open(encoding=encoding, errors=LATIN_1) as text:
            yield from iter(partial(text.readline, self._max_line + 1), "")

    def __next__(self) -> tuple[int, str]:
        return self._checked(next(self._lines))

    def _checked(self, line: str) -> tuple[int, str]:
        self._number += 1
        if len(line) > self._max_line or "\0" in line:
            found = f"more than {self._max_line} characters without a line end, or a NUL"
            expected = "a line of text in UTF-8, UTF-16 with its mark, or Latin-1"
            raise FileError(self._path, f"line {self._number}", found, expected)
        return self._number, line.rstrip("\n")

    def numbers(self, count: int, what: str) -> list[float]:
        """Return the next `count` finite numbers, one a line; blank lines are skipped."""
        block = list(islice(self._lines, count))
        numbers = _floats(block)
        is_short = max(map(len, block), default=0) < self._max_line
        if numbers is not None and len(numbers) == count and is_short:
            self._number += count
            return numbers
        numbers = []
        for number, line in map(self._checked, chain(block, self._lines)):
            if line.strip():
                numbers.append(number_in(line, self._path, number, what))
            if len(numbers) == count:
                return numbers
        expected = f"{count - len(numbers)} more lines, {what} each"
        raise FileError(self._path, f"line {self._number}", "the end of the file", expected)


def lines_of(path: Path, max_line: int = MAX_LINE, max_bytes: int | None = MAX_BYTES) -> Lines:
    """Return the lines of a text file; see `Lines`."""
    return Lines(path, max_line, max_bytes)


def number_in(text: str, path: Path, line: int, what: str) -> float:
    """Return the number in a field; messages never repeat the text, which may be a name.

    Raises:
        FileError: no number, or one that is not finite.
    """
    number = number_of(text)
    if number is None:
        raise FileError(path, f"line {line}", f"no number as {what}", "a finite number")
    return number


def numbers_in(texts: Sequence[str], path: Path, line: int, what: str) -> list[float]:
    """Return the numbers in the fields of a line; see `number_in`."""
    numbers = _floats(texts)
    if numbers is not None:
        return numbers
    return [number_in(text, path, line, what) for text in texts]


def whole_in(text: str, path: Path, line: int, what: str) -> int:
    """Return the whole number of 0 or more in a field.

    Raises:
        FileError: other content.
    """
    number = number_in(text, path, line, what)
    if number < 0 or not number.is_integer() or number > 2**31 - 1:
        raise FileError(path, f"line {line}", f"{number:g} as {what}", "a whole number of 0 or more")
    return int(number)


def number_or_none(text: str, path: Path, line: int, what: str) -> float | None:
    """Return the number in a field as `number_in`; None if `is_null`."""
    if is_null(text):
        return None
    return number_in(text, path, line, what)


def text_or_none(text: str) -> str | None:
    """Return the text of a field; None if `is_null`."""
    if is_null(text):
        return None
    return text


def whole_or_none(text: str, path: Path, line: int, what: str) -> int | None:
    """Return the whole number in a field as `whole_in`; None if `is_null`."""
    if is_null(text):
        return None
    return whole_in(text, path, line, what)


def _floats(texts: Sequence[str]) -> list[float] | None:
    """Return the texts as finite numbers, the fast way; None if any of them needs a closer look."""
    try:
        numbers = list(map(float, texts))
    except ValueError:
        return None
    if all(map(math.isfinite, numbers)):
        return numbers
    return None
