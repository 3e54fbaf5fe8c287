"""The waveforms of a generated table by condition, for pictures.

Shapes: N waveforms of a family, T samples.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hcvae.data.dataset import MODEL_WAVES
from hcvae.data.preprocessing import ConditionValue
from hcvae.data.table import WAVES, signals_of
from hcvae.described import Described

COUNTERS = ("sample", "share")
"""Columns that begin again with each family."""


@dataclass(frozen=True, repr=False)
class Family(Described):
    """Waveforms that belong together."""

    condition: Mapping[str, ConditionValue]
    """Of the first waveform; that of an interpolation may change on the way."""
    signals_uv: NDArray[np.float32]
    """[N, T]."""
    latency_ms: NDArray[np.float32]
    """Predicted latencies of waves I, III, V [N, 3]; NaN where there is none that is valid."""

    def facts(self) -> dict[str, object]:
        """The condition, and the number of waveforms."""
        return {"condition": self.condition, "waveforms": len(self.signals_uv)}


def families(table: pa.Table) -> Iterator[Family]:
    """The rows of a table of `generate`, `vary`, `interpolate` or `swap`, which stand family by family: one for each
    condition or exchange, or a whole interpolation."""
    names = table.column_names[: table.column_names.index("signal")]
    for start, end in pairwise([*_starts(table), table.num_rows]):
        rows = table.slice(start, end - start)
        condition = {name: rows[name][0].as_py() for name in names if name not in COUNTERS}
        yield Family(condition, signals_of(rows), _latencies(rows))


def _starts(table: pa.Table) -> list[int]:
    for counter in COUNTERS:
        if counter in table.column_names:
            return [int(row) for row in np.flatnonzero(table[counter].to_numpy() == 0)]
    return list(range(table.num_rows))


def _latencies(rows: pa.Table) -> NDArray[np.float32]:
    if "peak_latency_ms" not in rows.column_names:
        return np.full((rows.num_rows, len(MODEL_WAVES)), np.nan, np.float32)
    chosen = [WAVES.index(wave) for wave in MODEL_WAVES]
    latency_ms, valid = (np.stack(rows[name].to_numpy())[:, chosen] for name in ("peak_latency_ms", "peak_valid"))
    return np.where(valid, latency_ms, np.float32(np.nan))
