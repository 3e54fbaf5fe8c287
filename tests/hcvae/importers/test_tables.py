"""Arrow tables: our own, and other tables through a mapping."""

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from hcvae.errors import UserError
from hcvae.importers.file_result import ImportOptions
from hcvae.importers.importing import read_file
from hcvae.importers.recording import ReadOptions
from hcvae.importers.tables import FORMAT

RANDOM = np.random.default_rng(0)
WAVES = RANDOM.normal(size=(300, 16))  # more than one batch


def read(path, **mapping):
    return list(FORMAT.read(path, ReadOptions(mapping=mapping)))


def write(table, path):
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    elif path.suffix == ".feather":
        pyarrow.feather.write_feather(table, path)
    else:
        with pa.ipc.new_file(path, table.schema) as file:
            file.write_table(table)
    return path


@pytest.mark.parametrize("name", ["t.parquet", "t.feather", "t.arrow"])
def test_a_waveform_table(tmp_path, name):
    table = pa.table(
        {
            "subject_id": [f"s{n}" for n in range(300)],
            "ear": pa.array(["L", None] * 150).dictionary_encode(),
            "n_averages": pa.array(range(300), pa.int32()),
            "patient_name": ["Ann"] * 300,
            "signal": pa.FixedSizeListArray.from_arrays(WAVES.astype(np.float32).ravel(), 16),
            "peak_latency_ms": pa.array([[1, 2, 3, 4, 5.0], None] * 150, pa.list_(pa.float32(), 5)),
        },
        metadata={"sampling_rate_hz": "25000"},
    )
    path = write(table, tmp_path / name)
    assert FORMAT.recognises(path, path.read_bytes()[:64])
    found = read(path)
    np.testing.assert_array_equal([r.signal_uv for r in found], WAVES.astype(np.float32).astype(np.float64))
    assert {(r.sampling_rate_hz, r.start_ms) for r in found} == {(25000.0, 0.0)}
    assert [r.subject for r in found] == [f"s{n}" for n in range(300)]
    assert [dict(r.values) for r in found[:2]] == [{"ear": "L", "n_averages": 0}, {"ear": None, "n_averages": 1}]
    np.testing.assert_array_equal(found[298].peaks.latency_ms, [1, 2, 3, 4, 5])
    assert found[299].peaks is None


def test_the_real_tables(recordings):
    tables = [*recordings.glob("*.parquet")]
    assert tables
    for path in tables:
        table = pq.read_table(path)
        found = read(path)
        np.testing.assert_array_equal([r.signal_uv for r in found], table["signal"].to_pylist())
        assert [r.subject for r in found] == table["subject_id"].to_pylist()
        assert [r.values["stimulus_level_db"] for r in found] == table["stimulus_level_db"].to_pylist()
        assert [r.peaks is not None for r in found] == [any(valid) for valid in table["peak_valid"].to_pylist()]


def test_one_sample_a_column(tmp_path):
    table = pa.table({"dB": [50] * 300} | {f"s{n}": WAVES[:, n] for n in range(16)})
    path = write(table, tmp_path / "t.parquet")
    found = read(path, signal="s*", sampling_rate_hz="16000", unit="mV", stimulus_level_db="dB")
    np.testing.assert_allclose([r.signal_uv for r in found], 1000 * WAVES)
    (r, *_) = read(path, signal="s*", stimulus_level_db="dB")  # the numbers are times in ms
    assert (r.sampling_rate_hz, r.start_ms) == (1000.0, 0.0)


@pytest.mark.parametrize(
    ("columns", "mapping", "message"),
    [
        ({"wave": [[1.0, 2.0]]}, {}, "mapping of signal"),
        ({"signal": [[1.0, 2.0]]}, {}, "sampling_rate_hz"),
        ({"signal": [[1.0, 2.0], [1.0]]}, {"sampling_rate_hz": "1"}, "lengths"),
        ({"signal": [[1.0, 2.0], None]}, {"sampling_rate_hz": "1"}, "lengths"),
        ({"signal": [[1.0, np.inf]]}, {"sampling_rate_hz": "1"}, "not finite"),
        ({"signal": [["a", "b"]]}, {"sampling_rate_hz": "1"}, "matrix of numbers"),
        ({"signal": [1.0]}, {"sampling_rate_hz": "1"}, "matrix of numbers"),
        ({"signal": [[1.0, 2.0]]}, {"sampling_rate_hz": "1", "ear": "eear"}, "no 'eear'"),
    ],
)
def test_columns_that_do_not_fit(tmp_path, columns, mapping, message):
    with pytest.raises(UserError, match=message):
        read(write(pa.table(columns), tmp_path / "t.parquet"), **mapping)


def test_rows_too_long_for_memory(tmp_path):
    """Equal values take few bytes of Parquet."""
    zeros = pa.array(np.zeros(2**18, np.float32))
    path = write(pa.table({"signal": pa.FixedSizeListArray.from_arrays(zeros, 2**18)}), tmp_path / "t.parquet")
    assert path.stat().st_size < 10**4
    with pytest.raises(UserError, match="samples a waveform"):
        read(path, sampling_rate_hz="1")


@pytest.mark.parametrize("name", ["t.parquet", "t.feather", "t.arrow"])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_truncated(tmp_path, name, share):
    table = pa.table({"signal": pa.FixedSizeListArray.from_arrays(WAVES.ravel(), 16)})
    path = write(table, tmp_path / name)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match="cannot be read"):
        read(path, sampling_rate_hz="1")


def test_other_files_are_not_recognised(recordings):
    raw = [*(recordings / "raw").iterdir()]
    assert raw
    for path in raw:
        assert not FORMAT.recognises(path, path.read_bytes()[:4096])


def table_of(**columns):
    table = pa.table({"signal": pa.array(list(WAVES[:4]))} | {name: pa.array(list(of)) for name, of in columns.items()})
    return table.replace_schema_metadata({"sampling_rate_hz": "25000"})


@pytest.mark.parametrize(("unit", "uv"), [("V", 1e6), ("mV", 1e3), ("nV", 1e-3), ("uV", 1)])
@pytest.mark.parametrize("name", ["t.parquet", "t.feather", "t.arrow"])
def test_the_unit_in_the_metadata_of_the_waveforms(tmp_path, name, unit, uv):
    field = pa.field("signal", pa.list_(pa.float64()), metadata={"unit": unit})
    table = table_of()
    path = write(table.cast(pa.schema([field], metadata=table.schema.metadata)), tmp_path / name)
    np.testing.assert_allclose([r.signal_uv for r in read(path)], WAVES[:4] * uv)
    np.testing.assert_allclose([r.signal_uv for r in read(path, unit="mV")], WAVES[:4] * 1e3)


def test_an_unknown_unit_in_the_metadata_is_refused(tmp_path):
    field = pa.field("signal", pa.list_(pa.float64()), metadata={"unit": "counts"})
    table = table_of()
    path = write(table.cast(pa.schema([field], metadata=table.schema.metadata)), tmp_path / "t.parquet")
    with pytest.raises(UserError, match="unit: got another unit"):
        read(path)


def test_a_stream(tmp_path):
    table = table_of(ear="LRLR")
    with pa.ipc.new_stream(tmp_path / "t.arrows", table.schema) as stream:
        stream.write_table(table)
    found = read(tmp_path / "t.arrows")
    assert FORMAT.recognises(tmp_path / "t.arrows", (tmp_path / "t.arrows").read_bytes()[:64])
    np.testing.assert_array_equal([r.signal_uv for r in found], WAVES[:4])
    assert [r.values["ear"] for r in found] == list("LRLR")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"stimulus_level_db": [{"dB": 80}] * 4}, "column 'stimulus_level_db': got values of type struct"),
        ({"subject_id": ["a", "=A1", "b", "c"]}, "waveform 1 .* got a formula without a saved value as subject_id"),
        ({"peak_latency_ms": [[1.0, 2.0, 3.0]] * 4}, "peak_latency_ms: got .* must be 5 numbers, waves I to V"),
        ({"peak_latency_ms": [list("abcde")] * 4}, "peak_latency_ms: got values of type"),
        ({"time_ms": [True] * 4}, "time_ms: got values that are not all numbers"),
    ],
)
def test_columns_that_cannot_be_what_they_are_called(tmp_path, columns, message):
    with pytest.raises(UserError, match=message):
        read(write(table_of(**columns), tmp_path / "t.arrow"))


def test_doubled_names(tmp_path):
    table = table_of(ear="LRLR")
    table = pa.Table.from_arrays([*table.columns, table["ear"]], names=["signal", "ear", "ear"])
    with pytest.raises(UserError, match=r"column names must differ, but \['ear'\] occur twice"):
        read(write(table, tmp_path / "t.arrow"), sampling_rate_hz="25000")


def test_a_table_without_rows_is_an_error(tmp_path):
    result = read_file(write(table_of().slice(0, 0), tmp_path / "t.feather"), ImportOptions())
    assert "no waveforms" in result.error
