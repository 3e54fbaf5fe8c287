"""MATLAB version 5 to 7 files: numbers, text, cells and structs, read by their sizes and nothing trusted.

`scipy.io.loadmat` is not for files from anywhere: one wrong byte, or some 10,000 nested cells, ends the process, and a
few kilobytes can expand to many gigabytes. The format is that of MathWorks, "MAT-File Format", chapter 1.
"""

import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcvae.importers.recording import FileError

MAX_BYTES = 256 * 2**20  # of the file once expanded
MAX_ARRAYS = 2**20
MAX_DEPTH = 8
HEADER_BYTES = 128
NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
INT8, UINT8, UINT16, INT32, UINT32, MATRIX, COMPRESSED, UTF_8, UTF_16, UTF_32 = 1, 2, 4, 5, 6, 14, 15, 16, 17, 18
CELL, STRUCT, CHAR, NUMERIC, OPAQUE = 1, 2, 4, range(6, 16), 17  # classes of arrays
COMPLEX, LOGICAL = 0x800, 0x200  # flags of arrays
RIGHT = "a whole file of MATLAB version 5 to 7; save it again with save -v7"


def read_version_5(path: Path) -> dict[str, Any]:
    """Variables as arrays, text, lists (cells and struct arrays, in MATLAB's order) and dicts (structs).

    Objects, functions, sparse and complex arrays are None. Numbers keep the type in which they are stored.

    Raises:
        FileError: the file is truncated or damaged, expands to more than `MAX_BYTES`, holds more than `MAX_ARRAYS`, or
            nests deeper than `MAX_DEPTH`.
    """
    if path.stat().st_size > MAX_BYTES:
        raise FileError(path, "whole file", f"{path.stat().st_size} bytes", f"at most {MAX_BYTES}; split it")
    content = memoryview(path.read_bytes())
    order = {b"IM": "<", b"MI": ">"}.get(bytes(content[126:128]))
    if order is None:
        raise FileError(path, "byte 126", f"{bytes(content[126:128])!r}", "IM or MI, the byte order of a MATLAB file")
    return dict(_Reader(path, order).variables(content[HEADER_BYTES:]))


class _Reader:
    """Reads elements: a tag of type and size, and what they hold."""

    def __init__(self, path: Path, order: str) -> None:
        self.path, self.order, self.bytes, self.arrays = path, order, MAX_BYTES, MAX_ARRAYS

    def variables(self, content: memoryview) -> Iterator[tuple[str, Any]]:
        for kind, payload in self.elements(content):
            if kind == COMPRESSED:
                ((kind, payload),) = self.elements(self.expanded(payload))
            yield self.array(payload, 0) if kind == MATRIX else ("", None)

    def elements(self, content: memoryview) -> Iterator[tuple[int, memoryview]]:
        """Type and content of each element."""
        at = 0
        while at < len(content):
            tag = content[at : at + 8]
            if len(tag) < 8:
                raise self.error(f"{len(tag)} bytes of the 8 of a tag")
            kind, size = map(int, np.frombuffer(tag, self.order + "u4"))
            small = kind >> 16  # its content lies in the tag
            begin, size = (at + 4, small) if small else (at + 8, size)
            if begin + size > len(content) or small > 4:
                raise self.error(f"an element of {size} bytes, of which {len(content) - begin} are there")
            yield kind & 0xFFFF if small else kind, content[begin : begin + size]
            at = at + 8 if small else begin + size + (0 if kind == COMPRESSED else -size % 8)

    def array(self, content: memoryview, depth: int) -> tuple[str, Any]:
        """Name and value of the array in a MATRIX element."""
        self.arrays -= 1
        if depth > MAX_DEPTH or self.arrays < 0:
            raise self.error(f"more than {MAX_DEPTH} levels of cells, or {MAX_ARRAYS} arrays")
        if not content:
            return "", np.empty((0, 0))
        parts = self.elements(content)
        flags = self.part(parts, UINT32)
        if flags and flags[0 if self.order == "<" else 3] == OPAQUE:  # a string, a table: no sizes, then its class
            return bytes(self.part(parts, INT8)).decode("latin-1"), None
        sizes, name = (self.part(parts, kind) for kind in (INT32, INT8))
        shape = [int(size) for size in np.frombuffer(sizes[: len(sizes) // 4 * 4], self.order + "i4")]
        if len(flags) != 8 or len(shape) < 2 or min(shape) < 0:
            raise self.error(f"an array of {len(flags)} bytes of flags and the sizes {shape[:8]}")
        flag = int(np.frombuffer(flags[:4], self.order + "u4")[0])
        return bytes(name).decode("latin-1"), self.value(flag, shape, parts, depth)

    def value(self, flag: int, shape: list[int], parts: Iterator[tuple[int, memoryview]], depth: int) -> Any:
        kind, count = flag & 0xFF, math.prod(shape)
        if kind == CELL:
            return self.arrays_in(parts, count, depth)
        if kind == STRUCT:
            names = self.field_names(self.part(parts, INT32), self.part(parts, INT8))
            values = self.arrays_in(parts, count * len(names), depth)
            structs = [dict(zip(names, values[n * len(names) :], strict=False)) for n in range(count if names else 0)]
            return structs[0] if len(structs) == 1 else structs
        if kind == CHAR:
            return self.text(*next(parts, (UINT16, memoryview(b""))), shape)
        if kind not in NUMERIC or flag & COMPLEX:
            return None
        numbers = self.numbers(*next(parts, (UINT8, memoryview(b""))))
        if len(numbers) != count:
            raise self.error(f"an array of {'x'.join(map(str, shape))} with {len(numbers)} numbers")
        numbers = numbers.reshape(shape, order="F")
        return numbers.astype(np.bool_) if flag & LOGICAL else numbers

    def arrays_in(self, parts: Iterator[tuple[int, memoryview]], count: int, depth: int) -> list[Any]:
        values = [self.array(content, depth + 1)[1] for kind, content in parts if kind == MATRIX]
        if len(values) != count:
            raise self.error(f"{len(values)} arrays where {count} must be")
        return values

    def part(self, parts: Iterator[tuple[int, memoryview]], wanted: int) -> memoryview:
        kind, content = next(parts, (0, memoryview(b"")))
        if kind != wanted:
            raise self.error(f"an element of type {kind} where type {wanted} must be")
        return content

    def field_names(self, length: memoryview, names: memoryview) -> list[str]:
        size = int.from_bytes(length, "little" if self.order == "<" else "big")
        if not 0 < size <= 64 or len(names) % size:
            raise self.error(f"{len(names)} bytes of field names of {size} each")
        raw = [bytes(names[at : at + size]) for at in range(0, len(names), size)]
        return [name.split(b"\0")[0].decode("latin-1") for name in raw]

    def numbers(self, kind: int, content: memoryview) -> NDArray[Any]:
        if kind not in NUMBERS or len(content) % int(NUMBERS[kind][1]):
            raise self.error(f"{len(content)} bytes of numbers of type {kind}")
        return np.frombuffer(content, self.order + NUMBERS[kind])

    def text(self, kind: int, content: memoryview, shape: list[int]) -> str | list[str]:
        """Text, line by line if it has several."""
        endian = "le" if self.order == "<" else "be"
        codings = {INT8: "latin-1", UINT8: "latin-1", UINT16: f"utf-16-{endian}", UTF_8: "utf-8"}
        codings |= {UTF_16: f"utf-16-{endian}", UTF_32: f"utf-32-{endian}"}
        if kind not in codings:
            raise self.error(f"text of type {kind}")
        letters = bytes(content).decode(codings[kind], errors="replace")
        return letters if shape[0] <= 1 else [letters[row :: shape[0]] for row in range(min(shape[0], len(letters)))]

    def expanded(self, raw: memoryview) -> memoryview:
        expander, parts, rest = zlib.decompressobj(), [], bytes(raw)
        try:
            while not expander.eof and rest:
                part = expander.decompress(rest, 2**20)
                self.bytes -= len(part)
                if self.bytes < 0:
                    raise self.error(f"more than {MAX_BYTES} bytes once expanded")
                parts.append(part)
                rest = expander.unconsumed_tail
        except zlib.error as error:
            raise self.error(f"compressed data that cannot be expanded ({error})") from error
        if not expander.eof:
            raise self.error("compressed data without an end")
        return memoryview(b"".join(parts))

    def error(self, found: str) -> FileError:
        return FileError(self.path, "an array", found, RIGHT)
