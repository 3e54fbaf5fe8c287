"""Families of waveforms in a generated table, for figures.

Shapes: N waveforms of a family, T samples.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hcvae.data.labelled_peaks import MODEL_WAVES
from hcvae.data.preprocessing import ConditionValue
from hcvae.data.table import WAVES, signals_of
from hcvae.described import Described

COUNTERS = ("sample", "share")
"""Columns that start again at 0 in each family."""


@dataclass(frozen=True, repr=False)
class Family(Described):
    """Waveforms of one condition, exchange or interpolation."""

    condition: Mapping[str, ConditionValue]
    """Of the first waveform; it may change along an interpolation."""
    signals_uv: NDArray[np.float32]
    """[N, T]."""
    latency_ms: NDArray[np.float32]
    """Predicted latencies of waves I, III, V [N, 3]; NaN where there is no valid one."""

    def facts(self) -> dict[str, object]:
        """Return the condition and the number of waveforms."""
        return {"condition": self.condition, "waveforms": len(self.signals_uv)}


def families(table: pa.Table) -> Iterator[Family]:
    """Yield the families of a table from `generate`, `vary`, `interpolate` or `swap`, whose rows are consecutive."""
    names = table.column_names[: table.column_names.index("signal")]
    for start, end in pairwise([*_starts(table), table.num_rows]):
        rows = table.slice(start, end - start)
        condition = {}
        for name in names:
            if name not in COUNTERS:
                condition[name] = rows[name][0].as_py()
        yield Family(condition, signals_of(rows), _latencies(rows))


def _starts(table: pa.Table) -> list[int]:
    for counter in COUNTERS:
        if counter in table.column_names:
            rows: list[int] = np.flatnonzero(table[counter].to_numpy() == 0).tolist()
            return rows
    return list(range(table.num_rows))


def _latencies(rows: pa.Table) -> NDArray[np.float32]:
    if "peak_latency_ms" not in rows.column_names:
        return np.full((rows.num_rows, len(MODEL_WAVES)), np.nan, np.float32)
    chosen = list(map(WAVES.index, MODEL_WAVES))
    latency_ms = np.stack(rows["peak_latency_ms"].to_numpy())[:, chosen]
    valid = np.stack(rows["peak_valid"].to_numpy())[:, chosen]
    return np.where(valid, latency_ms, np.float32(np.nan))
