"""The waveforms of a generated table by condition, for pictures.

Legend: N waveforms of a family, T samples.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hcvae.bundle import Bundle
from hcvae.data.dataset import MODEL_WAVES
from hcvae.data.table import WAVES, signals_of
from hcvae.generation.conditions import text_of


@dataclass(frozen=True)
class Family:
    """Waveforms that belong together."""

    title: str
    """The condition, as far as it differs between the families."""
    signals_uv: NDArray[np.float32]
    """[N, T]."""
    latency_ms: NDArray[np.float32]
    """Predicted latencies of waves I, III, V [N, 3]; NaN where there is none."""


def families(bundle: Bundle, table: pa.Table) -> Iterator[Family]:
    """The rows of a table of `generate`, `vary`, `interpolate` or `swap`, which stand family by family.

    A family has one condition; an interpolation is a family, too.
    """
    names = [column.name for column in bundle.preprocessing.static.columns]
    first_rows = [*_starts(table, names), table.num_rows]
    differing = [name for name in names if len(table[name].unique()) > 1 and "share" not in table.column_names]
    for start, end in pairwise(first_rows):
        rows = table.slice(start, end - start)
        title = ", ".join(f"{name}={text_of(rows[name][0].as_py())}" for name in differing)
        yield Family(title, signals_of(rows), _latencies(rows))


def _starts(table: pa.Table, names: list[str]) -> list[int]:
    if "share" in table.column_names:
        return np.flatnonzero(table["share"].to_numpy() == 0).tolist()
    conditions = table.select(names).to_pylist()
    return [row for row, condition in enumerate(conditions) if row == 0 or condition != conditions[row - 1]]


def _latencies(rows: pa.Table) -> NDArray[np.float32]:
    if "peak_latency_ms" not in rows.column_names:
        return np.full((rows.num_rows, len(MODEL_WAVES)), np.nan, np.float32)
    chosen = [WAVES.index(wave) for wave in MODEL_WAVES]
    latency_ms: NDArray[np.float32] = np.stack(rows["peak_latency_ms"].to_numpy())[:, chosen]
    return latency_ms
