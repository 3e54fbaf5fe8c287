"""Text files of devices, line by line, within bounds."""

from collections.abc import Iterator
from pathlib import Path

from hcvae.importers.columns import as_number
from hcvae.importers.recording import FileError

MAX_LINE = 2**16  # bytes
MAX_BYTES = 2**28


def lines_of(path: Path) -> Iterator[tuple[int, str]]:
    """Number (from 1) and text of each line, Latin-1, without its end.

    Raises:
        FileError: a line that is too long or holds NUL bytes, as in binary files and UTF-16, or a file over 256 MiB.
    """
    if path.stat().st_size > MAX_BYTES:
        raise FileError(path, "whole file", f"{path.stat().st_size} bytes", f"at most {MAX_BYTES}")
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_LINE + 1):
            number += 1
            if len(line) > MAX_LINE or b"\0" in line:
                found = f"more than {MAX_LINE} bytes without a line end, or a NUL byte"
                raise FileError(path, f"line {number}", found, "a line of text, one byte a character")
            yield number, line.decode("latin-1").rstrip("\r\n")


def number_in(text: str, path: Path, line: int, what: str) -> float:
    """The number that a field spells; its text, which might be a name, is in no message.

    Raises:
        FileError: it spells none, or one that is not finite.
    """
    number = as_number(text)
    if number is None:
        raise FileError(path, f"line {line}", f"no number as {what}", "a finite number")
    return number


def whole_in(text: str, path: Path, line: int, what: str) -> int:
    """The whole number of 0 or more that a field spells.

    Raises:
        FileError: it spells none.
    """
    number = number_in(text, path, line, what)
    if number < 0 or not number.is_integer() or number > 2**31 - 1:
        raise FileError(path, f"line {line}", f"{number:g} as {what}", "a whole number of 0 or more")
    return int(number)
