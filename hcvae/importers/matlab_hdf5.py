"""MATLAB version 7.3 files: HDF5 with structs as groups, and cells and struct arrays as references to their elements.

No other file is read: links and data sets in other files are refused.
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
INTERNAL = "#"  # first letter of the names of MATLAB's internal groups: #refs#, #subsystem#


def read_version_7_3(path: Path) -> dict[str, Any]:
    """Read variables as arrays (in MATLAB's order of dimensions), text, lists (cells, struct arrays), dicts (structs).

    Objects, sparse and complex arrays are None.

    Raises:
        FileError: a damaged file, too much data, structs nested too deep, or data in other files.
        UserError: h5py is not installed.
    """
    h5py = library("h5py", path)
    with as_file_error(path, "a complete file of MATLAB version 7.3; save it again"), h5py.File(path, "r") as file:
        return _Reader(path, h5py, file).group(file, 0)


class _Reader:
    """Conversion of HDF5 objects to plain Python objects, within limits of size, number and depth."""

    def __init__(self, path: Path, h5py: Any, file: Any) -> None:
        self.path = path
        self.h5py = h5py
        self.file = file
        self.bytes_left = MAX_BYTES
        self.items_left = MAX_ITEMS

    def group(self, group: Any, depth: int) -> dict[str, Any]:
        """Return the fields of a struct, of a struct array (as lists), or of the file itself."""
        fields = {}
        for name in group:
            if not isinstance(group.get(name, getlink=True), self.h5py.HardLink):
                raise self.error(f"{group.name}/{name}", "a link, perhaps to another file", "data in the file itself")
            if not name.startswith(INTERNAL):
                fields[name] = self.value(group[name], depth + 1)
        return fields

    def value(self, item: Any, depth: int) -> Any:
        """Return a group or a data set as a plain object; None if its type cannot be read."""
        self.items_left -= 1
        if depth > MAX_DEPTH or self.items_left < 0:
            raise self.error(item.name, f"more than {MAX_DEPTH} levels or {MAX_ITEMS} parts", "a simpler struct")
        if isinstance(item, self.h5py.Group):
            if "MATLAB_sparse" in item.attrs or self._is_object(item):
                return None
            fields = self.group(item, depth)
            if self._is_struct_array(item):
                return _rows(fields)
            return fields
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
        if data.attrs.get("MATLAB_class") == b"logical":
            content = np.asarray(content, np.bool_)
        if isinstance(content, np.ndarray):
            return content.T
        return np.array([[content]])

    def check(self, data: Any) -> None:
        """Refuse data in other files, and arrays or chunks that are too large."""
        if data.is_virtual or data.external:
            raise self.error(data.name, "data in another file", "data in the file itself")
        size = max(math.prod(data.shape or (0,)), math.prod(data.chunks or (0,))) * data.dtype.itemsize
        self.bytes_left -= size
        if self.bytes_left < 0:
            raise self.error(data.name, f"an array of {size} bytes", f"at most {MAX_BYTES} in all; split the file")

    def error(self, where: str | None, found: str, expected: str) -> FileError:
        return FileError(self.path, str(where), found, expected)

    def _is_object(self, item: Any) -> bool:
        """Return whether it is a MATLAB object: its content is in internal groups, and the numbers here refer to it."""
        return "MATLAB_object_decode" in item.attrs

    def _is_reference(self, data: Any) -> bool:
        return bool(self.h5py.check_ref_dtype(data.dtype) is self.h5py.Reference)

    def _is_struct_array(self, group: Any) -> bool:
        """Return whether all fields are references without a class, one for each struct of a struct array."""
        return bool(len(group)) and all(map(self._is_field_of_array, group.values()))

    def _is_field_of_array(self, field: Any) -> bool:
        is_references = isinstance(field, self.h5py.Dataset) and self._is_reference(field)
        return is_references and field.attrs.get("MATLAB_class") is None


def _rows(fields: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """Return the structs of a struct array from the lists of its fields."""
    return [dict(zip(fields, row, strict=True)) for row in zip(*fields.values(), strict=True)]
