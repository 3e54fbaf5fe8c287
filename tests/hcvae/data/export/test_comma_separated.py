import csv

import numpy as np
import pyarrow as pa
import pytest

from hcvae.data.export import write_table
from hcvae.data.simulator import simulate
from hcvae.errors import UserError


def read(path) -> dict[str, list[str]]:
    """The columns as Python's own reader sees them."""
    with open(path, newline="") as file:
        header, *rows = csv.reader(file)
    return dict(zip(header, map(list, zip(*rows, strict=True)), strict=True))


def test_waveforms_come_back_bit_for_bit(table, signals, tmp_path):
    """At a rate whose steps have no short decimal."""
    write_table(table.replace_schema_metadata({"sampling_rate_hz": "30000"}), tmp_path / "a.csv")
    columns = read(tmp_path / "a.csv")
    samples = {name: values for name, values in columns.items() if name.startswith("t_ms=")}
    found = np.array(list(samples.values())).T.astype(np.float32)
    assert found.tobytes() == signals.tobytes()
    times_ms = np.array([float(name.removeprefix("t_ms=")) for name in samples])
    assert np.allclose(times_ms, np.arange(64) / 30, rtol=1e-11, atol=0)


def test_columns_have_the_documented_order_and_names(tmp_path):
    write_table(simulate(4, 0), tmp_path / "a.csv")
    names = list(read(tmp_path / "a.csv"))
    first, last = names.index("t_ms=0"), names.index("t_ms=9.95")
    assert names[0] == "record_id"
    assert names[first + 1 : first + 4] == ["t_ms=0.05", "t_ms=0.1", "t_ms=0.15"]
    assert last - first == 199
    waves = ("I", "II", "III", "IV", "V")
    kinds = ("peak_latency_ms", "peak_amplitude_uv", "peak_valid")
    assert names[last + 1 :] == [f"{kind}_{wave}" for kind in kinds for wave in waves]


def test_scalars_and_peaks_are_those_of_the_table(table, tmp_path):
    write_table(table, tmp_path / "a.csv")
    columns = read(tmp_path / "a.csv")
    assert columns["subject_id"][3] == 'a "quoted", name'
    assert columns["sex"] == ["F", "", "M", "F", "", "M", "F"]
    assert [float(text) if text else None for text in columns["stimulus_level_db"]] == [60, 50, None, 30, 20, 10, 0]
    assert columns["notch"][:2] == ["true", "false"]
    latency = np.array(table["peak_latency_ms"].to_pylist(), np.float32)
    for position, wave in enumerate(("I", "II", "III", "IV", "V")):
        found = np.array(columns[f"peak_latency_ms_{wave}"], np.float32)
        assert np.array_equal(found, latency[:, position], equal_nan=True)
    assert columns["peak_valid_III"] == ["false", *["true"] * 6]


def test_a_table_in_chunks_is_written_completely(table, signals, tmp_path):
    write_table(pa.concat_tables([table.slice(0, 2), table.slice(2)]), tmp_path / "a.csv")
    columns = read(tmp_path / "a.csv")
    assert np.array_equal(np.array(columns["t_ms=0"], np.float32), signals[:, 0])
    assert len(columns["peak_valid_V"]) == 7


def test_a_column_named_like_a_sample_is_refused(table, tmp_path, add):
    with pytest.raises(UserError, match=r"CSV needs the column names \['t_ms=0'\]"):
        write_table(add(table, "t_ms=0", range(7)), tmp_path / "a.csv")
