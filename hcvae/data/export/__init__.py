"""Export of waveform tables to the formats of other programs; docs/own-data.md describes the layouts."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa

from hcvae.data import table as parquet
from hcvae.data.export.comma_separated import write_csv
from hcvae.data.export.european_data_format import write_edf
from hcvae.data.export.matlab import write_mat
from hcvae.errors import PackageMissing, UserError

WRITERS: dict[str, Callable[[pa.Table, Path], None]] = {
    ".parquet": parquet.write_table,
    ".csv": write_csv,
    ".mat": write_mat,
    ".edf": write_edf,
}


def check_path(path: str | Path) -> None:
    """Check that `write_table` supports the format of `path`, before the work that produces the table.

    Raises:
        UserError: the suffix is not one of `WRITERS`, or a package for the format is not installed.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in WRITERS:
        raise UserError(f"{path}: the name must end in one of {', '.join(WRITERS)}, but got {suffix!r}")
    if suffix == ".edf" and find_spec("edfio") is None:
        raise PackageMissing(f"{path}: EDF", "edfio", "formats")


def write_table(table: pa.Table, path: str | Path) -> None:
    """Write a waveform table atomically, in the format of the suffix.

    Raises:
        UserError: see `check_path`; the format cannot hold the table; or the file cannot be written.
    """
    check_path(path)
    WRITERS[Path(path).suffix.lower()](table, Path(path))
