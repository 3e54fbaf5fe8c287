import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hcvae.config import DataConfig
from hcvae.data.table import (
    check_table,
    licence_of,
    read_tables,
    sampling_rate_of,
    signals_of,
    waveform_schema,
    write_table,
)
from hcvae.errors import UserError

CONFIG = DataConfig(static=("stimulus_level_db", "sex"))


def signals_with(row, sample, value, n=48):
    signals = np.ones((n, 64), np.float32)
    signals[row, sample] = value
    return pa.FixedSizeListArray.from_arrays(signals.ravel(), 64)


def read(*paths, **settings):
    return read_tables(CONFIG.model_copy(update={"tables": tuple(map(str, paths)), **settings}), 64)


def test_a_written_table_is_read_back_with_its_waveforms_and_rate(make_table, tmp_path):
    table = make_table(extra=["unused"] * 48)
    write_table(table, tmp_path / "a.parquet")
    result = read(tmp_path / "a.parquet")
    assert set(result.column_names) == {"subject_id", "stimulus_level_db", "recording_index", "sex", "signal"}
    assert np.array_equal(signals_of(result), np.array(table["signal"].to_pylist(), np.float32))
    assert sampling_rate_of(result) == 20000
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]  # no temporary file stays


def test_tables_are_read_as_one_whatever_their_number_types_and_extra_columns(make_table, tmp_path):
    first = make_table(2, stimulus_level_db=pa.array(range(16), pa.int16()))
    second = make_table(2, note=["x"] * 16, sex=pa.array(["F", None] * 8).dictionary_encode())
    write_table(first, tmp_path / "a.parquet")
    write_table(second, tmp_path / "b.parquet")
    result = read(tmp_path / "a.parquet", tmp_path / "b.parquet")
    assert result["stimulus_level_db"].to_pylist()[:17] == [*map(float, range(16)), 0.0]
    assert result["sex"].to_pylist()[16:18] == ["F", None]
    assert signals_of(result).shape == (32, 64)


def test_licences_and_attributions_of_all_tables_are_kept(make_table, tmp_path):
    rate = {"sampling_rate_hz": "20000"}
    for name, metadata in (
        ("a", rate | {"licence": "Apache-2.0", "attribution": "Wang et al. (2021)"}),
        ("b", rate),
        ("c", rate | {"licence": "MIT"}),
        ("d", rate | {"licence": "MIT", "attribution": ""}),
    ):
        write_table(make_table(2).replace_schema_metadata(metadata), tmp_path / f"{name}.parquet")
    paths = [tmp_path / f"{name}.parquet" for name in "abcd"]
    assert licence_of(read(*paths)) == "Apache-2.0 (Wang et al. (2021)); not stated; MIT"
    assert licence_of(read(paths[1])) is None


def test_a_path_like_a_partitioned_data_set_is_a_plain_file(make_table, tmp_path):
    folder = tmp_path / "sex=other"
    folder.mkdir()
    write_table(make_table(), folder / "a.parquet")
    assert set(read(folder / "a.parquet")["sex"].to_pylist()) == {"F", "M"}


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no such file.*nowhere\.parquet"):
        read(tmp_path / "nowhere.parquet")


@pytest.mark.parametrize("content", [b"", b"level,signal\n10,0.1\n", b"PAR1 cut short"])
def test_a_file_that_is_not_parquet_is_named(tmp_path, content):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.csv: must be a readable Parquet file"):
        read(tmp_path / "a.csv")


def test_a_column_missing_in_one_of_two_files_names_that_file_and_a_similar_column(make_table, tmp_path):
    write_table(make_table(), tmp_path / "a.parquet")
    write_table(make_table().rename_columns({"sex": "Sex"}), tmp_path / "b.parquet")
    with pytest.raises(UserError, match=r"b\.parquet: column 'sex' is missing; did you mean 'Sex'"):
        read(tmp_path / "a.parquet", tmp_path / "b.parquet")


def test_tables_of_different_sampling_rates_are_refused(make_table, tmp_path):
    write_table(make_table(), tmp_path / "a.parquet")
    write_table(make_table(rate_hz=40000), tmp_path / "b.parquet")
    with pytest.raises(UserError, match=r"one sampling rate.*a\.parquet': 20000\.0.*b\.parquet': 40000\.0"):
        read(tmp_path / "a.parquet", tmp_path / "b.parquet")


def test_text_in_one_file_and_numbers_in_the_other_are_refused(make_table, tmp_path):
    write_table(make_table(), tmp_path / "a.parquet")
    write_table(make_table(sex=range(48)), tmp_path / "b.parquet")
    with pytest.raises(UserError, match=r"text in one file and a number in another.*sex"):
        read(tmp_path / "a.parquet", tmp_path / "b.parquet")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"signal": None}, "column 'signal' is missing"),
        ({"subject_id": None}, "column 'subject_id' is missing"),
        ({"recording_index": None}, "column 'recording_index' is missing"),
        ({"subject_id": ["s1"] * 7 + [None] + ["s2"] * 40}, r"1 of 48 rows have no subject; the rows are 7 \("),
        ({"signal": range(48)}, "must hold lists of 64 values, but got type int64"),
        ({"signal": [["x"] * 64] * 48}, "must hold lists of float, but got type list<item: string>"),
        ({"signal": [[0.0] * 64] * 47 + [[0.0] * 50]}, r"1 of 48 rows must hold 64 values, but got \[50\]; .* are 47"),
        ({"signal": [[0.0] * 64] * 47 + [None]}, "1 of 48 rows have no waveform; the rows are 47"),
        (
            {"signal": [[0.0] * 64] * 47 + [[None] * 64]},
            "1 of 48 rows contain NaN or inf.* the rows are 47",
        ),
        (
            {"signal": signals_with([3, 5], 9, np.nan)},
            "2 of 48 rows contain NaN or inf.* the rows are 3, 5",
        ),
        ({"signal": signals_with([4], [0, 1], [np.inf, -np.inf])}, "1 of 48 rows contain NaN or inf.* the rows are 4"),
        ({"signal": signals_with(range(30), 0, np.nan)}, r"30 of 48 rows .* the rows are 0, 1, 2, 3, 4, \.\.\."),
        ({"stimulus_level_db": [np.inf] + [1.0] * 47}, "column 'stimulus_level_db': 1 of 48 rows are infinite"),
        ({"sex": [["F"]] * 48}, "column 'sex': must have one number or text per row, but got type list"),
        ({"peak_valid": [[True] * 5] * 48}, "column 'peak_latency_ms' is missing"),
    ],
)
def test_bad_columns_are_refused_by_name_and_row(make_table, columns, message):
    with pytest.raises(UserError, match=f"^lab: .*{message}"):
        check_table(make_table(**columns), CONFIG, 64, "lab")


def test_rows_are_counted_over_the_whole_table_and_not_its_pieces(make_table):
    table = pa.concat_tables([make_table(), make_table(signal=signals_with(2, 0, np.nan))])
    with pytest.raises(UserError, match="1 of 96 rows contain NaN or infinite samples; the rows are 50"):
        check_table(table, CONFIG, 64, "lab")


def test_a_wrong_signal_length_is_reported_with_both_lengths(make_table):
    with pytest.raises(
        UserError,
        match=r"column 'signal' \(model.signal_length=200\): 48 of 48 rows must hold 200 values, but got \[64\]",
    ):
        check_table(make_table(), CONFIG, 200, "lab")


def test_the_same_file_twice_is_refused(make_table, tmp_path):
    write_table(make_table(), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"data\.tables: each file must be named once"):
        read(tmp_path / "a.parquet", tmp_path / "." / "a.parquet")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"static": ("sex", "sex")}, r"data\.static: each column must be named once, but got \['sex', 'sex'\]"),
        ({"static": ("sex", "signal")}, r"must have one value per row, but got \['signal'\]"),
        ({"subject_column": "signal"}, r"must have one value per row, but got \['signal'\]"),
    ],
)
def test_columns_that_cannot_have_their_role_are_refused(make_table, settings, message):
    with pytest.raises(UserError, match=message):
        check_table(make_table(), CONFIG.model_copy(update=settings), 64, "lab")


def test_an_empty_table_is_refused(make_table):
    with pytest.raises(UserError, match="lab: a waveform table must have rows, but got none"):
        check_table(make_table().slice(0, 0), CONFIG, 64, "lab")


def test_lists_of_any_kind_and_precision_are_waveforms(make_table):
    fixed = make_table()
    for data_type in (pa.list_(pa.float64()), pa.large_list(pa.float32()), pa.list_(pa.float64(), 64)):
        table = make_table(signal=fixed["signal"].cast(data_type))
        checked = check_table(table.slice(8), CONFIG, 64, "lab")
        assert np.array_equal(signals_of(checked), signals_of(fixed)[8:])


def test_nan_in_a_static_column_is_a_null(make_table):
    table = check_table(make_table(stimulus_level_db=[np.nan] + [1.0] * 47), CONFIG, 64, "lab")
    assert table["stimulus_level_db"].to_pylist()[:2] == [None, 1.0]


@pytest.mark.parametrize(
    ("stored", "given", "message"),
    [
        (None, None, "no sampling_rate_hz in the metadata; set --data.sampling_rate_hz"),
        ("fast", None, "must be a positive number, but got 'fast'"),
        ("-1", None, "must be a positive number, but got '-1'"),
        ("nan", None, "must be a positive number, but got 'nan'"),
        (20000, 40000.0, "recorded at 20000 Hz, but got data.sampling_rate_hz=40000"),
    ],
)
def test_an_invalid_sampling_rate_is_refused(make_table, stored, given, message):
    config = CONFIG.model_copy(update={"sampling_rate_hz": given})
    with pytest.raises(UserError, match=f"lab: .*{message}"):
        check_table(make_table(rate_hz=stored), config, 64, "lab")


def test_the_configuration_gives_a_missing_sampling_rate(make_table):
    config = CONFIG.model_copy(update={"sampling_rate_hz": 24414.0625})
    assert sampling_rate_of(check_table(make_table(rate_hz=None), config, 64, "lab")) == 24414.0625


def test_the_schema_is_the_real_recordings_one(recordings):
    real = pq.read_schema(recordings / "human_click_shipm.parquet")
    scalars = {name: real.field(name).type for name in ("subject_id", "n_averages")}
    schema = waveform_schema(scalars, 200, 20000)
    for field in schema:
        assert field.type == real.field(field.name).type
    assert schema.field("signal").metadata[b"unit"] == real.field("signal").metadata[b"unit"]


def test_an_interrupted_write_leaves_the_old_file_and_no_other(make_table, tmp_path):
    path = tmp_path / "a.parquet"
    write_table(make_table(), path)
    before = path.read_bytes()
    unwritable = pa.table({"x": pa.array([(1, 2, 3)], pa.month_day_nano_interval())})  # a type that Parquet cannot hold
    with pytest.raises(pa.ArrowNotImplementedError):
        write_table(unwritable, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
