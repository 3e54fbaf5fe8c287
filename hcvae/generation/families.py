"""The waveforms of a generated table by condition, for pictures.

Legend: N waveforms of a family, T samples.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hcvae.data.dataset import MODEL_WAVES
from hcvae.data.table import WAVES, signals_of
from hcvae.generation.conditions import text_of


@dataclass(frozen=True)
class Family:
    """Waveforms that belong together."""

    title: str
    """Some columns of the condition, with their values."""
    signals_uv: NDArray[np.float32]
    """[N, T]."""
    latency_ms: NDArray[np.float32]
    """Predicted latencies of waves I, III, V [N, 3]; NaN where there is none that is valid."""


def families(table: pa.Table, names: Sequence[str] = ()) -> Iterator[Family]:
    """The rows of a table of `generate`, `vary`, `interpolate` or `swap`, which stand family by family.

    Args:
        table: The table. A family has one condition; an interpolation is a family, too.
        names: Columns of the condition that the titles tell.
    """
    for start, end in pairwise([*_starts(table), table.num_rows]):
        rows = table.slice(start, end - start)
        title = ", ".join(f"{name}={text_of(rows[name][0].as_py())}" for name in names)
        yield Family(title, signals_of(rows), _latencies(rows))


def _starts(table: pa.Table) -> list[int]:
    for counter in ("sample", "share"):
        if counter in table.column_names:
            return [int(row) for row in np.flatnonzero(table[counter].to_numpy() == 0)]
    return list(range(table.num_rows))


def _latencies(rows: pa.Table) -> NDArray[np.float32]:
    if "peak_latency_ms" not in rows.column_names:
        return np.full((rows.num_rows, len(MODEL_WAVES)), np.nan, np.float32)
    chosen = [WAVES.index(wave) for wave in MODEL_WAVES]
    latency_ms, valid = (np.stack(rows[name].to_numpy())[:, chosen] for name in ("peak_latency_ms", "peak_valid"))
    return np.where(valid, latency_ms, np.float32(np.nan))
