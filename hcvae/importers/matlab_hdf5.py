"""MATLAB version 7.3 files: HDF5 with structs as groups, and cells and struct arrays as references to what they hold.

Nothing outside the file is read: links and data sets that lie in other files are refused.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np

from hcvae.importers.foreign import as_file_error, library
from hcvae.importers.recording import FileError

MAX_BYTES = 256 * 2**20  # of all arrays together
MAX_ITEMS = 2**18  # data sets, groups and references followed
MAX_DEPTH = 8
OWN = "#"  # of MATLAB's own groups: #refs#, #subsystem#


def read_version_7_3(path: Path) -> dict[str, Any]:
    """Variables as arrays (in MATLAB's order of dimensions), text, lists (cells, struct arrays) and dicts (structs).

    Objects, sparse and complex arrays are None.

    Raises:
        FileError: a damaged file, too much data, too deep structs, or data in other files.
        UserError: h5py is not installed.
    """
    h5py = library("h5py", path)
    with as_file_error(path, "a whole file of MATLAB version 7.3; save it again"), h5py.File(path, "r") as file:
        return _Reader(path, h5py, file).group(file, 0)


class _Reader:
    """Turns HDF5 objects into plain ones, within limits."""

    def __init__(self, path: Path, h5py: Any, file: Any) -> None:
        self.path, self.h5py, self.file, self.bytes, self.items = path, h5py, file, MAX_BYTES, MAX_ITEMS

    def group(self, group: Any, depth: int) -> dict[str, Any]:
        """A struct, or the file itself; a struct array becomes a list by its fields' references."""
        fields = {}
        for name in group:
            if not isinstance(group.get(name, getlink=True), self.h5py.HardLink):
                raise self.error(f"{group.name}/{name}", "a link, perhaps to another file", "data in the file itself")
            if not name.startswith(OWN):
                fields[name] = self.value(group[name], depth + 1)
        return fields

    def value(self, item: Any, depth: int) -> Any:
        self.items -= 1
        if depth > MAX_DEPTH or self.items < 0:
            raise self.error(item.name, f"more than {MAX_DEPTH} levels or {MAX_ITEMS} parts", "a simpler struct")
        if isinstance(item, self.h5py.Group):
            if "MATLAB_sparse" in item.attrs or self._is_object(item):
                return None
            fields = self.group(item, depth)
            return _rows(fields) if self._is_struct_array(item) else fields
        return self.dataset(item, depth)

    def dataset(self, data: Any, depth: int) -> Any:
        self.check(data)
        is_reference = self._is_reference(data)
        if self._is_object(data) or (data.dtype.kind not in "fiub" and not is_reference):
            return None  # a string, a table, complex numbers
        if data.attrs.get("MATLAB_empty"):
            return np.empty((0, 0))
        content = data[()]
        if is_reference:
            return [self.value(self.file[reference], depth + 1) for reference in np.ravel(content.T)]
        if data.attrs.get("MATLAB_class") == b"char":
            return "".join(map(chr, np.ravel(content)))
        return content.T if isinstance(content, np.ndarray) else np.array([[content]])

    def check(self, data: Any) -> None:
        """Refuse data in other files, and sizes (of the whole or of a chunk) that would not fit."""
        if data.is_virtual or data.external:
            raise self.error(data.name, "data in another file", "data in the file itself")
        size = max(math.prod(data.shape or (0,)), math.prod(data.chunks or (0,))) * data.dtype.itemsize
        self.bytes -= size
        if self.bytes < 0:
            raise self.error(data.name, f"an array of {size} bytes", f"at most {MAX_BYTES} in all; split the file")

    def error(self, where: str | None, found: str, expected: str) -> FileError:
        return FileError(self.path, str(where), found, expected)

    def _is_object(self, item: Any) -> bool:
        """Whether MATLAB keeps what it is in its own groups; numbers here are only references to that."""
        return "MATLAB_object_decode" in item.attrs

    def _is_reference(self, data: Any) -> bool:
        return bool(self.h5py.check_ref_dtype(data.dtype) is self.h5py.Reference)

    def _is_struct_array(self, group: Any) -> bool:
        """Whether all fields are references that are no cells: a struct array's, one for each of its structs."""
        return bool(len(group)) and all(
            isinstance(field, self.h5py.Dataset)
            and self._is_reference(field)
            and field.attrs.get("MATLAB_class") is None
            for field in group.values()
        )


def _rows(fields: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [dict(zip(fields, row, strict=True)) for row in zip(*fields.values(), strict=True)]
