"""Simulated recordings in which tests plant what is to be found."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from hcvae.data.simulator import simulate
from hcvae.data.table import signals_of
from hcvae.inspection import Recordings

ROWS = 480  # 15 subjects of 16 recordings of two averages


@pytest.fixture(scope="session")
def simulated() -> pa.Table:
    return simulate(ROWS, 4)


@pytest.fixture
def with_signals(simulated) -> Callable[..., Recordings]:
    """A function that puts changed waveforms, and other columns, into the simulated table."""

    def put(change: Callable[[np.ndarray], object] = lambda signals: None, **columns: object) -> Recordings:
        signals = signals_of(simulated).copy()
        changed = change(signals)
        signals = signals if changed is None else np.asarray(changed, np.float32)
        column = pa.FixedSizeListArray.from_arrays(pa.array(signals.ravel(), pa.float32()), signals.shape[1])
        table = simulated.set_column(simulated.schema.get_field_index("signal"), "signal", column)
        for name, values in columns.items():
            if name in table.column_names:
                table = table.set_column(table.schema.get_field_index(name), name, pa.array(values))
            else:
                table = table.append_column(name, pa.array(values))
        return Recordings.of(table)

    return put
