"""CSV: one row a waveform; scalar columns, then `t_ms=<time>` in uV, then `<column>_<wave>`.

Numbers are the shortest decimals that give the same float32 again; null is an empty field, and text is quoted.
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
        UserError: a column that CSV cannot hold, two columns of one name, or the file cannot be written.
    """
    contents = Contents.of(table, str(path))
    columns = dict(zip(contents.scalars.column_names, contents.scalars.columns, strict=True))
    samples = {f"t_ms={t:.12g}": pa.array(x) for t, x in zip(contents.times_ms, contents.signals.T, strict=True)}
    waves = {
        f"{name}_{wave}": values.take(pa.array(range(number, len(values), len(WAVES))))
        for name, values in contents.waves.items()
        for number, wave in enumerate(WAVES)
    }
    if clashing := columns.keys() & (samples.keys() | waves.keys()):
        raise UserError(f"{path}: CSV needs the column names {sorted(clashing)} for waveforms or waves; rename yours")
    with atomic_write(path) as temporary:
        pyarrow.csv.write_csv(pa.table(columns | samples | waves), temporary)
