"""MATLAB version 5 to 7 files: numbers, text, cells and structs, with a check of every size.

`scipy.io.loadmat` is unsafe for untrusted files: one wrong byte, or some 10,000 nested cells, crashes the process, and
a few kilobytes can expand to many gigabytes. Format: MathWorks, "MAT-File Format", chapter 1.
"""

import math
import zlib
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hcvae.importers.recording import FileError

MAX_BYTES = 256 * 2**20  # of the file once expanded
MAX_ARRAYS = 2**20
MAX_DEPTH = 8
HEADER_BYTES = 128
NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
"""NumPy type by type of an element."""


class _Element(IntEnum):
    """Types of elements."""

    INT8 = 1
    UINT8 = 2
    UINT16 = 4
    INT32 = 5
    UINT32 = 6
    MATRIX = 14
    COMPRESSED = 15
    UTF_8 = 16
    UTF_16 = 17
    UTF_32 = 18


class _Class(IntEnum):
    """Classes of arrays; 6 to 15 are numbers."""

    CELL = 1
    STRUCT = 2
    CHAR = 4
    OPAQUE = 17


NUMERIC = range(6, 16)
COMPLEX = 0x800  # flag of an array
LOGICAL = 0x200  # flag of an array
EXPECTED = "a complete file of MATLAB version 5 to 7; save it again with save -v7"


def read_version_5(path: Path) -> dict[str, Any]:
    """Read variables as arrays, text, lists (cells and struct arrays, in MATLAB's order) and dicts (structs).

    Objects, functions, sparse and complex arrays are None. Numbers keep their stored type.

    Raises:
        FileError: the file is truncated or damaged, expands to more than `MAX_BYTES`, has more than `MAX_ARRAYS`
            arrays, or nests deeper than `MAX_DEPTH`.
    """
    if path.stat().st_size > MAX_BYTES:
        raise FileError(path, "whole file", f"{path.stat().st_size} bytes", f"at most {MAX_BYTES}; split it")
    content = memoryview(path.read_bytes())
    order = {b"IM": "<", b"MI": ">"}.get(bytes(content[126:128]))
    if order is None:
        raise FileError(path, "byte 126", f"{bytes(content[126:128])!r}", "IM or MI, the byte order of a MATLAB file")
    return dict(_Reader(path, order).variables(content[HEADER_BYTES:]))


class _Reader:
    """Reader of elements: each is a tag with type and size, and its content."""

    def __init__(self, path: Path, order: str) -> None:
        self.path = path
        self.order = order
        self.bytes_left = MAX_BYTES
        self.arrays_left = MAX_ARRAYS
        self.endian: Literal["little", "big"] = "little"
        self.utf_suffix = "le"
        self.class_at = 0  # of an array, in its flags
        if order == ">":
            self.endian = "big"
            self.utf_suffix = "be"
            self.class_at = 3

    def variables(self, content: memoryview) -> Iterator[tuple[str, Any]]:
        """Yield name and value of each variable; an empty name and None for other elements."""
        for kind, payload in self.elements(content):
            if kind == _Element.COMPRESSED:
                ((kind, payload),) = self.elements(self.expanded(payload))
            if kind == _Element.MATRIX:
                yield self.array(payload, 0)
            else:
                yield "", None

    def elements(self, content: memoryview) -> Iterator[tuple[int, memoryview]]:
        """Yield type and content of each element."""
        at = 0
        while at < len(content):
            tag = content[at : at + 8]
            if len(tag) < 8:
                raise self.error(f"{len(tag)} bytes of the 8 of a tag")
            kind, size = map(int, np.frombuffer(tag, self.order + "u4"))
            small_size = kind >> 16
            if small_size:  # the content is in the tag
                if small_size > 4:
                    raise self.error(f"an element of {small_size} bytes in a tag, which has 4")
                yield kind & 0xFFFF, tag[4 : 4 + small_size]
                at += 8
                continue
            begin = at + 8
            if begin + size > len(content):
                raise self.error(f"an element of {size} bytes, of which {len(content) - begin} are there")
            yield kind, content[begin : begin + size]
            at = begin + size
            if kind != _Element.COMPRESSED:
                at += -size % 8  # padding

    def array(self, content: memoryview, depth: int) -> tuple[str, Any]:
        """Return name and value of the array in a MATRIX element."""
        self.arrays_left -= 1
        if depth > MAX_DEPTH or self.arrays_left < 0:
            raise self.error(f"more than {MAX_DEPTH} levels of cells, or {MAX_ARRAYS} arrays")
        if not content:
            return "", np.empty((0, 0))
        parts = self.elements(content)
        flags = self.part(parts, _Element.UINT32)
        if flags and flags[self.class_at] == _Class.OPAQUE:  # a string or a table: it has no sizes
            return bytes(self.part(parts, _Element.INT8)).decode("latin-1"), None
        sizes = self.part(parts, _Element.INT32)
        name = self.part(parts, _Element.INT8)
        shape = np.frombuffer(sizes[: len(sizes) // 4 * 4], self.order + "i4").tolist()
        if len(flags) != 8 or len(shape) < 2 or min(shape) < 0:
            raise self.error(f"an array of {len(flags)} bytes of flags and the sizes {shape[:8]}")
        flag = int(np.frombuffer(flags[:4], self.order + "u4")[0])
        return bytes(name).decode("latin-1"), self.value(flag, shape, parts, depth)

    def value(self, flag: int, shape: list[int], parts: Iterator[tuple[int, memoryview]], depth: int) -> Any:
        """Return the content of an array of any class; None if its class cannot be read."""
        kind = flag & 0xFF
        count = math.prod(shape)
        if kind == _Class.CELL:
            return self.arrays_in(parts, count, depth)
        if kind == _Class.STRUCT:
            return self.structs(count, parts, depth)
        if kind == _Class.CHAR:
            return self.text(*next(parts, (_Element.UINT16, memoryview(b""))), shape)
        if kind not in NUMERIC or flag & COMPLEX:
            return None
        numbers = self.numbers(*next(parts, (_Element.UINT8, memoryview(b""))))
        if len(numbers) != count:
            raise self.error(f"an array of {'x'.join(map(str, shape))} with {len(numbers)} numbers")
        numbers = numbers.reshape(shape, order="F")
        if flag & LOGICAL:
            numbers = numbers.astype(np.bool_)
        return numbers

    def structs(
        self, count: int, parts: Iterator[tuple[int, memoryview]], depth: int
    ) -> dict[str, Any] | list[dict[str, Any]]:
        """Return a struct, or the list of an array of structs; an empty list without fields."""
        length = self.part(parts, _Element.INT32)
        names = self.field_names(length, self.part(parts, _Element.INT8))
        values = self.arrays_in(parts, count * len(names), depth)
        structs = []
        for first in range(0, len(values), max(1, len(names))):
            structs.append(dict(zip(names, values[first : first + len(names)], strict=True)))
        if len(structs) == 1:
            return structs[0]
        return structs

    def arrays_in(self, parts: Iterator[tuple[int, memoryview]], count: int, depth: int) -> list[Any]:
        """Return the values of the `count` arrays that make up the remaining parts."""
        values = []
        for kind, content in parts:
            if kind == _Element.MATRIX:
                _, value = self.array(content, depth + 1)
                values.append(value)
        if len(values) != count:
            raise self.error(f"{len(values)} arrays where {count} must be")
        return values

    def part(self, parts: Iterator[tuple[int, memoryview]], wanted: int) -> memoryview:
        """Return the content of the next part, which must have the type `wanted`."""
        kind, content = next(parts, (0, memoryview(b"")))
        if kind != wanted:
            raise self.error(f"an element of type {kind} where type {int(wanted)} must be")
        return content

    def field_names(self, length: memoryview, names: memoryview) -> list[str]:
        """Return the names of fields, each in `length` bytes."""
        size = int.from_bytes(length, self.endian)
        if not 0 < size <= 64 or len(names) % size:
            raise self.error(f"{len(names)} bytes of field names of {size} each")
        fields = []
        for at in range(0, len(names), size):
            raw = bytes(names[at : at + size])
            fields.append(raw.split(b"\0")[0].decode("latin-1"))
        return fields

    def numbers(self, kind: int, content: memoryview) -> NDArray[Any]:
        """Return the numbers in an element, as a vector."""
        if kind not in NUMBERS or len(content) % int(NUMBERS[kind][1]):
            raise self.error(f"{len(content)} bytes of numbers of type {kind}")
        return np.frombuffer(content, self.order + NUMBERS[kind])

    def text(self, kind: int, content: memoryview, shape: list[int]) -> str | list[str]:
        """Return text, as a list if it has several lines."""
        encodings: dict[int, str] = {
            _Element.INT8: "latin-1",
            _Element.UINT8: "latin-1",
            _Element.UINT16: f"utf-16-{self.utf_suffix}",
            _Element.UTF_8: "utf-8",
            _Element.UTF_16: f"utf-16-{self.utf_suffix}",
            _Element.UTF_32: f"utf-32-{self.utf_suffix}",
        }
        encoding = encodings.get(kind)
        if encoding is None:
            raise self.error(f"text of type {kind}")
        letters = bytes(content).decode(encoding, errors="replace")
        lines = shape[0]
        if lines <= 1:
            return letters
        return [letters[line::lines] for line in range(min(lines, len(letters)))]

    def expanded(self, compressed: memoryview) -> memoryview:
        """Return the expanded content of a COMPRESSED element."""
        expander = zlib.decompressobj()
        parts = []
        rest = bytes(compressed)
        try:
            while not expander.eof and rest:
                part = expander.decompress(rest, 2**20)
                self.bytes_left -= len(part)
                if self.bytes_left < 0:
                    raise self.error(f"more than {MAX_BYTES} bytes once expanded")
                parts.append(part)
                rest = expander.unconsumed_tail
        except zlib.error as error:
            raise self.error(f"compressed data that cannot be expanded ({error})") from error
        if not expander.eof:
            raise self.error("compressed data without an end")
        return memoryview(b"".join(parts))

    def error(self, found: str) -> FileError:
        return FileError(self.path, "an array", found, EXPECTED)
