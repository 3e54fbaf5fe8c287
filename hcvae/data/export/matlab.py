"""MATLAB v5: a struct `abr` with the fields signal [N x T] in uV, time_ms [T x 1], sampling_rate_hz, and the columns.

Numeric columns are doubles [N x 1], NaN for null; text is a cell array [N x 1], empty for null; waves I to V [N x 5].
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.io import savemat

from hcvae.atomic import atomic_write
from hcvae.data.export.contents import Contents
from hcvae.data.table import WAVES, scalar_column
from hcvae.errors import UserError

MAX_NAME_LENGTH = 63  # namelengthmax of MATLAB; `long_field_names` of scipy
MAX_BYTES = 2**31 - 1  # size of a variable in a v5 file
IDENTIFIER = re.compile(r"[A-Za-z]\w*", re.ASCII)


def write_mat(table: pa.Table, path: Path) -> None:
    """Write a waveform table as a MATLAB v5 file.

    Raises:
        UserError: a column name that is not a field name, more than 2 GiB, or the file cannot be written.
    """
    contents = Contents.of(table, str(path))
    abr: dict[str, Any] = {
        "signal": contents.signals,
        "time_ms": contents.times_ms,
        "sampling_rate_hz": contents.sampling_rate_hz,
    }
    for name in (*contents.scalars.column_names, *contents.waves):
        _check_name(name, abr, path)
    for name in contents.scalars.column_names:
        abr[name] = _scalar(contents.scalars[name], name, path)
    for name, values in contents.waves.items():
        abr[name] = _waves(values)
    size = sum(np.asarray(values).nbytes for values in abr.values())
    if size > MAX_BYTES:
        raise UserError(f"{path}: a MATLAB v5 file is limited to 2 GiB, but got {size / 2**30:.1f}; write .parquet")
    with atomic_write(path) as temporary:
        savemat(temporary, {"abr": abr}, appendmat=False, long_field_names=True, oned_as="column")


def _check_name(name: str, taken: dict[str, Any], path: Path) -> None:
    if len(name) > MAX_NAME_LENGTH or not IDENTIFIER.fullmatch(name) or name in taken:
        raise UserError(
            f"{path}: column {name!r}: a MATLAB field name has up to {MAX_NAME_LENGTH} letters, digits and "
            f"underscores, begins with a letter and is none of {', '.join(list(taken)[:3])}; rename the "
            "column, or write .parquet"
        )


def _scalar(column: pa.ChunkedArray, name: str, path: Path) -> NDArray[Any]:
    """Return doubles or text [N]."""
    values = scalar_column(column, f"{path}: column {name!r}")
    if pa.types.is_string(values.type):
        return np.array(values.fill_null("").to_pylist(), dtype=object)
    return np.asarray(values.cast(pa.float64()).to_numpy(), np.float64)


def _waves(values: pa.Array) -> NDArray[Any]:
    """Return doubles or logicals [N, 5]."""
    if pa.types.is_boolean(values.type):
        return np.asarray(pc.fill_null(values, False).to_numpy(zero_copy_only=False), np.bool_).reshape(-1, len(WAVES))
    return np.asarray(values.to_numpy(zero_copy_only=False), np.float64).reshape(-1, len(WAVES))
