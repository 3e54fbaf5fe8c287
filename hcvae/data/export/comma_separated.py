"""CSV: one row per waveform; scalar columns, then `t_ms=<time>` in uV, then `<column>_<wave>`.

Numbers are the shortest decimals that round-trip to the same float32; null is an empty field; text is quoted.
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.csv

from hcvae.atomic import atomic_write
from hcvae.data.export.contents import Contents
from hcvae.data.table import WAVES
from hcvae.errors import UserError


def write_csv(table: pa.Table, path: Path) -> None:
    """Write a waveform table as CSV.

    Raises:
        UserError: CSV cannot represent a column, two columns have the same name, or the file cannot be written.
    """
    contents = Contents.of(table, str(path))
    columns = dict(zip(contents.scalars.column_names, contents.scalars.columns, strict=True))
    added: dict[str, pa.Array] = {}
    for time_ms, values in zip(contents.times_ms, contents.signals.T, strict=True):
        added[f"t_ms={time_ms:.12g}"] = pa.array(values)
    for name, of_waves in contents.waves.items():
        for number, wave in enumerate(WAVES):
            added[f"{name}_{wave}"] = of_waves.take(pa.array(range(number, len(of_waves), len(WAVES))))
    clashing = columns.keys() & added.keys()
    if clashing:
        raise UserError(f"{path}: CSV needs the column names {sorted(clashing)} for waveforms or waves; rename yours")
    with atomic_write(path) as temporary:
        pyarrow.csv.write_csv(pa.table(columns | added), temporary)
