"""Whether a MATLAB version 5 file can be loaded safely: sizes, nesting and numbers of elements, before loading.

`scipy.io.loadmat` trusts the file: some 10,000 nested cells end the process, and a few kilobytes can expand to many
gigabytes. The format is that of MathWorks, "MAT-File Format", chapter 1 (version 5).
"""

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from hcvae.importers.recording import FileError

MAX_BYTES = 256 * 2**20  # of the file once expanded
MAX_VALUES = 32 * 2**20  # in all arrays together: 256 MiB as double
MAX_ELEMENTS = 2**20
MAX_DEPTH = 8
HEADER_BYTES = 128
MATRIX, COMPRESSED = 14, 15
RIGHT = "a whole file of MATLAB version 5 to 7 that holds waveforms; save it again with save -v7"


def check_version_5(path: Path) -> None:
    """Walk through all elements of the file.

    Raises:
        FileError: the file is truncated or damaged, expands to more than `MAX_BYTES`, holds more than `MAX_VALUES`, or
            nests deeper than `MAX_DEPTH`.
    """
    if path.stat().st_size > MAX_BYTES:
        raise FileError(path, "whole file", f"{path.stat().st_size} bytes", f"at most {MAX_BYTES}; split it")
    content = path.read_bytes()
    order = {b"IM": "<", b"MI": ">"}.get(content[126:128])
    if order is None:
        raise FileError(path, "byte 126", f"{content[126:128]!r}", "IM or MI, the byte order of a MATLAB file")
    budget = _Budget(path)
    at = HEADER_BYTES
    while at < len(content):
        kind, size = _tag(content, at, order, path)
        end = at + 8 + size
        if end > len(content):
            raise FileError(path, f"byte {at}", f"an element of {size} bytes in a file of {len(content)}", RIGHT)
        if kind == COMPRESSED:
            _walk(memoryview(_expanded(content[at + 8 : end], budget, at)), order, budget, at)
        else:
            _walk(memoryview(content)[at:end], order, budget, at)
        at = end


class _Budget:
    """What the file may still use."""

    def __init__(self, path: Path) -> None:
        self.path, self.bytes, self.values, self.elements = path, MAX_BYTES, MAX_VALUES, MAX_ELEMENTS

    def spend(self, at: int, *, size: int = 0, values: int = 0, elements: int = 0) -> None:
        self.bytes, self.values, self.elements = self.bytes - size, self.values - values, self.elements - elements
        if min(self.bytes, self.values, self.elements) < 0:
            right = f"at most {MAX_BYTES} bytes, {MAX_VALUES} values and {MAX_ELEMENTS} elements; split the file"
            raise FileError(self.path, f"variable at byte {at}", "more once expanded", right)


def _expanded(raw: bytes, budget: _Budget, at: int) -> bytes:
    expander, parts = zlib.decompressobj(), []
    try:
        while not expander.eof:
            part = expander.decompress(raw, 2**20)
            budget.spend(at, size=len(part))
            parts.append(part)
            raw = expander.unconsumed_tail
            if not part and not raw:
                break
    except zlib.error as error:
        raise FileError(
            budget.path, f"byte {at}", f"compressed data that cannot be expanded ({error})", RIGHT
        ) from error
    return b"".join(parts)


def _walk(content: memoryview, order: str, budget: _Budget, variable: int) -> None:
    """Check every element of a variable; matrices hold elements, and cells and structs hold matrices."""
    ends, at = [len(content)], 0
    while at < len(content):
        while at >= ends[-1]:
            ends.pop()
        kind, size = _tag(content, at, order, budget.path)
        budget.spend(variable, elements=1)
        small = struct.unpack_from(order + "I", content, at)[0] >> 16
        end = at + 8 + (0 if small else size)
        if end > ends[-1]:
            found = f"an element of {size} bytes that ends after what holds it"
            raise FileError(budget.path, f"variable at byte {variable}", found, RIGHT)
        if kind == MATRIX:
            budget.spend(variable, values=_values(content[at + 8 : end], order, budget.path, variable))
            ends.append(end)
            at += 8
        else:
            at = end + (-end % 8 if not small else 0)
        if len(ends) > MAX_DEPTH + 1:
            raise FileError(
                budget.path, f"variable at byte {variable}", f"more than {MAX_DEPTH} levels of cells", RIGHT
            )


def _values(matrix: memoryview, order: str, path: Path, variable: int) -> int:
    """Number of values that a matrix claims by its dimensions: no more than it has bytes."""
    sizes = list(_dimensions(matrix, order))
    count = math.prod(sizes)
    if any(size < 0 for size in sizes) or count > len(matrix):
        found = f"an array of {'x'.join(map(str, sizes))} in {len(matrix)} bytes"
        raise FileError(path, f"variable at byte {variable}", found, RIGHT)
    return count


def _dimensions(matrix: memoryview, order: str) -> Iterator[int]:
    """The dimensions follow 16 bytes of array flags."""
    if len(matrix) >= 24:
        size = struct.unpack_from(order + "I", matrix, 20)[0]
        yield from struct.unpack_from(f"{order}{min(size, len(matrix) - 24) // 4}i", matrix, 24)


def _tag(content: bytes | memoryview, at: int, order: str, path: Path) -> tuple[int, int]:
    """Type and size in bytes of the element at `at`; small elements keep both in one word."""
    if at + 8 > len(content):
        raise FileError(path, f"byte {at}", f"{len(content) - at} bytes of an element's tag", RIGHT)
    kind, size = struct.unpack_from(order + "II", content, at)
    return (kind & 0xFFFF, kind >> 16) if kind >> 16 else (kind, size)
