"""What a model needs besides its weights to be used: `normalization.json` of a bundle.

Legend: N rows, T samples, S encoded static parameters, K groups.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hcvae.config import Section
from hcvae.data.normalization import SignalNormalization
from hcvae.data.static import StaticEncoder

Value = float | str | None
"""Of a static column."""


class Preprocessing(Section):
    """Maps waveforms and conditions to the model's numbers and back."""

    signal_length: int
    """T, samples of a waveform."""
    sampling_rate_hz: float
    """Samples a second."""
    signal: SignalNormalization
    """Scaling of the waveforms."""
    static: StaticEncoder
    """Encoding of the static parameters."""
    typical: dict[str, dict[str, Value]]
    """For each normalisation group, each static column's typical value in training."""
    labelled_waves: tuple[str, ...]
    """Waves whose peaks were labelled in training: the peak head knows no others."""

    def in_uv(self, normalised: NDArray[np.float32], static: NDArray[np.float32]) -> NDArray[np.float32]:
        """Waveforms [N, T] in uV, each at the scale of the group that its encoded condition [N, S] names."""
        if self.signal.group_by is None:
            return self.signal.denormalize(normalised, np.zeros(len(static), np.int64))
        columns = [self.static.names.index(f"{self.signal.group_by}={name}") for name in self.signal.groups]
        return self.signal.denormalize(normalised, static[:, columns].argmax(axis=1))


def typical_values(
    static: StaticEncoder, table: pa.Table, group: NDArray[np.int64], names: Sequence[str]
) -> dict[str, dict[str, Value]]:
    """The median or most frequent value of each static column in each group; null where most rows have none.

    Args:
        static: The columns.
        table: Training rows [N].
        group: Position in `names` of each row [N].
        names: The groups [K].
    """
    rows = {name: table.take(np.flatnonzero(group == position)) for position, name in enumerate(names)}
    return {
        name: {column.name: _typical(part[column.name], column.kind == "number") for column in static.columns}
        for name, part in rows.items()
    }


def _typical(column: pa.ChunkedArray, is_number: bool) -> Value:
    if 2 * column.null_count > len(column):
        return None
    known = column.drop_null()
    if is_number:
        # A value that occurs, and so one that the model has seen.
        return float(pc.quantile(known, 0.5, interpolation="lower")[0].as_py())
    counts = pc.value_counts(known).to_pylist()
    return str(max(counts, key=lambda entry: (entry["counts"], entry["values"]))["values"])
