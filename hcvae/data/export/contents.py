"""Columns of a waveform table, divided into waveforms, per-wave and scalar columns, for export.

Shapes: N rows, T samples, 5 waves I to V.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hcvae.data.table import WAVES, sampling_rate_of, signals_of
from hcvae.errors import UserError


@dataclass(frozen=True)
class Contents:
    """A waveform table, by kind of column."""

    scalars: pa.Table
    """Columns with one value per row [N]."""
    signals: NDArray[np.float32]
    """Waveforms in uV [N, T]."""
    sampling_rate_hz: float
    waves: dict[str, pa.Array]
    """Columns with one value per wave, such as labelled peaks: flat [N * 5]."""

    @classmethod
    def of(cls, table: pa.Table, where: str) -> Self:
        """Sort the columns of `table`.

        Raises:
            UserError: a column has neither the waveform nor one value per row or wave; starts with `where`.
        """
        scalars = {}
        waves = {}
        for name, column in zip(table.column_names, table.columns, strict=True):
            if name == "signal":
                continue
            if pa.types.is_dictionary(column.type):
                column = column.cast(column.type.value_type)
            if pa.types.is_fixed_size_list(column.type) and column.type.list_size == len(WAVES):
                waves[name] = column.combine_chunks().flatten()
            elif pa.types.is_nested(column.type):
                raise UserError(
                    f"{where}: column {name!r} must have one value per row, or one for each of waves I to V, "
                    f"but got type {column.type}; write .parquet, or leave the column out"
                )
            else:
                scalars[name] = column
        return cls(pa.table(scalars), signals_of(table), sampling_rate_of(table, where=where), waves)

    @property
    def times_ms(self) -> NDArray[np.float64]:
        """Time of each sample after the stimulus [T]."""
        return np.arange(self.signals.shape[1], dtype=np.float64) * 1e3 / self.sampling_rate_hz
