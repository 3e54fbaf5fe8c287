"""Every type that Arrow has, as a column that nobody asked for, as the subject, and as the waveforms.

`hcvae inspect` ends with exit code 0 or with one message, and training takes and refuses the same tables.
"""

import decimal
import uuid

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hcvae import cli
from hcvae.config import DataConfig
from hcvae.data.table import check_table, read_tables
from hcvae.errors import UserError
from hcvae.inspection import Recordings, find, read, summarise

ROWS, SAMPLES = 48, 64


def column(values, data_type=None):
    return pa.array((values * ROWS)[:ROWS], data_type)


def extension(data_type, values):
    return pa.ExtensionArray.from_storage(data_type, column(values, data_type.storage_type))


PLAIN = {
    "binary": lambda: column([b"\xff\x00", None, b"a"]),
    "fixed_size_binary": lambda: column([b"\xff\xfe", None, b"ab"], pa.binary(2)),
    "large_binary": lambda: column([b"\xff\xfe", None], pa.large_binary()),
    "binary_view": lambda: column([b"\xff\xfe", None], pa.binary_view()),
    "string_view": lambda: column(["a", None], pa.string_view()),
    "large_string": lambda: column(["a", None], pa.large_string()),
    "int64 beyond 2^53": lambda: column([1_700_000_000_123_456_789, 1_700_000_000_123_456_790, None]),
    "uint64": lambda: column([2**64 - 1, None, 1], pa.uint64()),
    "float16": lambda: column([1.0, None], pa.float16()),
    "decimal128": lambda: column([decimal.Decimal("1.5"), None]),
    "decimal256": lambda: column([decimal.Decimal("1.5"), None], pa.decimal256(50, 2)),
    "bool": lambda: column([True, None, False]),
    "date": lambda: column([86_400_000, None, 0], pa.date64()),
    "time": lambda: column([1, None], pa.time64("ns")),
    "timestamp": lambda: column([1, None], pa.timestamp("ns")),
    "timestamp with zone": lambda: column([1, None], pa.timestamp("ns", tz="Europe/Berlin")),
    "duration": lambda: column([1, None], pa.duration("ns")),
    "null": lambda: pa.nulls(ROWS),
    "dictionary of text": lambda: column(["a", None, "b"]).dictionary_encode(),
    "dictionary of bytes": lambda: column([b"\xff", None]).dictionary_encode(),
    "uuid": lambda: extension(pa.uuid(), [uuid.UUID(int=1).bytes, None]),
    "bool8": lambda: extension(pa.bool8(), [1, None, 0]),
    "json": lambda: extension(pa.json_(), ["{}", None]),
}
SEVERAL_VALUES = {
    "struct": lambda: column([{"a": 1}, None]),
    "map": lambda: column([[("a", 1)], None, []], pa.map_(pa.string(), pa.int64())),
    "list": lambda: column([[1, 2], None, []]),
    "list_view": lambda: column([[1, 2], None], pa.list_view(pa.int64())),
    "nested list": lambda: column([[[1.0], []], None]),
    "list of texts": lambda: column([["a"], None, []]),
}
WAVES = np.random.default_rng(0).normal(0, 1, (ROWS, SAMPLES)).round(2)
SIGNALS = {
    "large_list": lambda: pa.array(WAVES.tolist(), pa.large_list(pa.float64())),
    "list": lambda: pa.array(WAVES.tolist(), pa.list_(pa.float64())),
    "list_view": lambda: pa.array(WAVES.tolist(), pa.list_view(pa.float32())),
    "large_list_view": lambda: pa.array(WAVES.tolist(), pa.large_list_view(pa.float32())),
    "float16": lambda: pa.array(WAVES.astype(np.float16).tolist(), pa.list_(pa.float16())),
    "whole numbers": lambda: pa.array((1000 * WAVES).astype(np.int64).tolist()),
    "large whole numbers": lambda: pa.array((1e9 * WAVES).astype(np.int64).tolist()),
    "decimal": lambda: pa.array([[decimal.Decimal(f"{x:.2f}") for x in row] for row in WAVES.tolist()]),
    "tensor": lambda: pa.ExtensionArray.from_storage(
        pa.fixed_shape_tensor(pa.float32(), [SAMPLES]),
        pa.array(WAVES.astype(np.float32).tolist(), pa.list_(pa.float32(), SAMPLES)),
    ),
}
NO_SIGNALS = {
    "empty lists": lambda: column([[]], pa.list_(pa.float32())),
    "empty fixed lists": lambda: column([[]], pa.list_(pa.float32(), 0)),
    "one sample": lambda: column([[1.0]]),
    "nested lists": lambda: pa.array([[row] for row in WAVES.tolist()]),
    "timestamps": lambda: column([[1] * SAMPLES], pa.list_(pa.timestamp("ns"))),
    "dictionaries": lambda: column([["a"] * SAMPLES], pa.list_(pa.dictionary(pa.int8(), pa.string()))),
    "structs": lambda: column([{"a": 1.0}]),
    "text": lambda: column(["1 2 3"]),
    "bytes": lambda: column([WAVES[0].tobytes()]),
    "nothing": lambda: pa.nulls(ROWS),
    "null lists": lambda: column([None], pa.list_(pa.float32(), SAMPLES)),
}
TRAINING = DataConfig(static=("stimulus_level_db",), recording_columns=("subject_id", "stimulus_level_db"))


def inspect(table, path):
    """Exit code of the command on a file; 2 and the message where it refuses."""
    pq.write_table(table, path)
    try:
        return cli.run(["inspect", str(path)]), ""
    except UserError as error:
        return 2, str(error)


def trains(table, **config):
    """The columns that training reads of a table, or why it refuses it."""
    try:
        return check_table(table, TRAINING.model_copy(update=config), SAMPLES, "table")
    except UserError as error:
        return str(error)


def test_the_command_accepts_columns_of_all_types_at_once(make_table, tmp_path, capsys):
    columns = {name: make() for name, make in {**PLAIN, **SEVERAL_VALUES}.items()}
    assert inspect(make_table(**columns), tmp_path / "a.parquet") == (0, "")
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("not inspected") == len(SEVERAL_VALUES)
    config = TRAINING.model_copy(update={"tables": (str(tmp_path / "a.parquet"),)})
    assert read_tables(config, SAMPLES).num_rows == ROWS


@pytest.mark.parametrize("kind", PLAIN)
def test_a_column_with_one_value_per_row(make_table, kind):
    table = make_table(extra=PLAIN[kind]())
    values = [value for value in table["extra"].to_pylist() if value is not None]
    [found] = [each for each in summarise(Recordings.of(table)).columns if each.name == "extra"]
    assert found.distinct == len(set(values))
    if kind != "null":  # a column without values conditions nothing
        encoded = trains(table, static=("stimulus_level_db", "extra"))["extra"]
        assert encoded.type in (pa.float64(), pa.string())
        assert encoded.null_count == ROWS - len(values)


@pytest.mark.parametrize("kind", [name for name in PLAIN if name != "null"])
def test_as_the_subject(make_table, kind):
    """Two subjects whose numbers differ beyond 2^53 stay two; rows without one are named, and training refuses them."""
    table = make_table(subject_id=PLAIN[kind]())
    found = Recordings.of(table)
    assert len(np.unique(found.subject)) == len(set(table["subject_id"].to_pylist()))
    assert [finding.trouble for finding in find(found) if "subject" in finding.trouble] == ["rows have no subject"]
    assert "have no subject" in trains(table)


@pytest.mark.parametrize("kind", SEVERAL_VALUES)
def test_columns_with_several_values_per_row_are_neither_subject_nor_condition(make_table, kind):
    table = make_table(extra=SEVERAL_VALUES[kind](), subject_id=SEVERAL_VALUES[kind]())
    with pytest.raises(UserError, match="column 'subject_id': must have one number or text per row"):
        Recordings.of(table)
    assert "must have one number or text per row" in trains(table)
    assert "must have one number or text per row" in trains(table, subject_column="recording_index", static=("extra",))


@pytest.mark.parametrize("kind", SIGNALS)
def test_waveforms_of_any_kind_of_list(make_table, tmp_path, kind):
    table = make_table(signal=SIGNALS[kind]())
    scale = {"whole numbers": 1000, "large whole numbers": 1e9}.get(kind, 1)
    np.testing.assert_allclose(Recordings.of(table).signals_uv, scale * WAVES, rtol=1e-3, atol=1e-3 * scale)
    assert trains(table).num_rows == ROWS
    pq.write_table(table, tmp_path / "a.parquet")
    np.testing.assert_array_equal(read(str(tmp_path / "a.parquet")).signals_uv, Recordings.of(table).signals_uv)


@pytest.mark.parametrize("kind", NO_SIGNALS)
def test_columns_that_are_not_waveforms(make_table, kind):
    table = make_table(signal=NO_SIGNALS[kind]())
    with pytest.raises(UserError, match=r"signal|waveforms"):
        Recordings.of(table)
    assert isinstance(trains(table), str)


@pytest.mark.parametrize("kind", ["run_end_encoded", "union", "interval"])
def test_types_that_parquet_does_not_support(make_table, kind):
    """Tables in memory may have them."""
    extra = {
        "run_end_encoded": lambda: pa.RunEndEncodedArray.from_arrays([20, 30, ROWS], ["a", None, "b"]),
        "union": lambda: pa.UnionArray.from_dense(
            pa.array([0] * ROWS, pa.int8()), pa.array(range(ROWS), pa.int32()), [pa.array(range(ROWS))]
        ),
        "interval": lambda: column([(1, 2, 3), None], pa.month_day_nano_interval()),
    }[kind]()
    table = make_table(extra=extra)
    if kind == "interval":
        with pytest.raises(UserError, match="'extra': must hold numbers or text in UTF-8, but got type month_day_nano"):
            Recordings.of(table)
        return
    columns = {each.name: each for each in summarise(Recordings.of(table)).columns}
    assert columns["extra"].distinct == (2 if kind == "run_end_encoded" else 0)


def test_text_that_is_not_utf_8(make_table):
    broken = pa.Array.from_buffers(pa.string(), ROWS, pa.array([b"\xff"] * ROWS).buffers())
    with pytest.raises(UserError, match="column 'extra': must hold numbers or text in UTF-8"):
        Recordings.of(make_table(extra=broken))


@pytest.mark.parametrize("doubled", ["extra", "stimulus_level_db", "signal"])
def test_two_columns_with_one_name(make_table, doubled):
    table = make_table(extra=column([1.0]))
    table = table.append_column(doubled, table[doubled])
    with pytest.raises(UserError, match=rf"column names must differ, but \['{doubled}'\] occur twice"):
        Recordings.of(table)
    assert f"['{doubled}'] occur twice" in trains(table)


def test_text_where_numbers_are_needed(make_table):
    with pytest.raises(UserError, match="'residual_noise_uv' must have numbers, but got text"):
        Recordings.of(make_table(residual_noise_uv=["low"] * ROWS))
    levels = find(Recordings.of(make_table(stimulus_level_db=["loud", "soft"] * 24)))
    assert "rows have text as stimulus_level_db" in [finding.trouble for finding in levels]


@pytest.mark.parametrize("valid", [[True] * 3, [1.0, 0.0, 1.0, 1.0, 0.0], ["a"] * 5, {"a": True}])
def test_peaks_of_another_type(make_table, tmp_path, valid):
    peaks = column([[1.0] * 5])
    table = make_table(peak_latency_ms=peaks, peak_amplitude_uv=peaks, peak_valid=column([valid]))
    code, message = inspect(table, tmp_path / "a.parquet")
    assert (code == 0) == isinstance(trains(table), pa.Table), message


def test_no_rows_and_no_columns(tmp_path, make_table):
    code, message = inspect(make_table().slice(0, 0), tmp_path / "a.parquet")
    assert (code, message.endswith("must have rows, but got none")) == (2, True)
    assert inspect(pa.table({}), tmp_path / "a.parquet")[0] == 2
