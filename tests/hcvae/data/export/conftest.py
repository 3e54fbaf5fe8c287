import numpy as np
import pyarrow as pa
import pytest

LENGTH, ROWS = 64, 7


@pytest.fixture
def table() -> pa.Table:
    """Seven waveforms with nulls, text that needs quotes, booleans, labelled peaks, at 25 kHz."""
    random = np.random.default_rng(5)
    signal = random.normal(0, 0.3, ROWS * LENGTH).astype(np.float32)
    signal[:4] = 1 / 3, np.float32(1e-7), -0.0, 12.345678
    latency = random.uniform(1, 8, ROWS * 5).astype(np.float32)
    latency[2] = np.nan
    return pa.table(
        {
            "record_id": [f"r{number}" for number in range(ROWS)],
            "subject_id": ["s1"] * 3 + ['a "quoted", name'] * 4,
            "sex": ["F", None, "M", "F", None, "M", "F"],
            "stimulus_level_db": pa.array([60, 50, None, 30, 20, 10, 0], pa.float32()),
            "n_averages": pa.array([1000] * ROWS, pa.int32()),
            "notch": [True, False, True, False, True, False, True],
            "signal": pa.FixedSizeListArray.from_arrays(signal, LENGTH),
            "peak_latency_ms": pa.FixedSizeListArray.from_arrays(latency, 5),
            "peak_amplitude_uv": pa.FixedSizeListArray.from_arrays(latency / 10, 5),
            "peak_valid": pa.FixedSizeListArray.from_arrays(pa.array(np.isfinite(latency)), 5),
        },
        metadata={"sampling_rate_hz": "25000"},
    )


@pytest.fixture
def signals(table) -> np.ndarray:
    return np.array(table["signal"].to_pylist(), np.float32)


@pytest.fixture
def add():
    """A function that adds a column."""

    def added(table: pa.Table, name: str, values: object) -> pa.Table:
        return table.append_column(name, pa.array(values))

    return added
