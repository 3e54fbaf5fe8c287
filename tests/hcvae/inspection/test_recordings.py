import numpy as np
import pyarrow as pa
import pytest

from hcvae.errors import UserError
from hcvae.inspection import Recordings, read
from hcvae.inspection.recordings import groups


def test_groups_are_the_rows_of_each_code():
    codes = np.array([2, 0, 2, 7, 0])
    assert [rows.tolist() for rows in groups(codes)] == [[1, 4], [0, 2], [3]]
    among = np.array([True, True, False, False, False])
    assert [rows.tolist() for rows in groups(codes, among)] == [[1], [0]]
    assert groups(codes, np.zeros(5, bool)) == []


def test_the_highest_levels_are_the_upper_third_of_each_group(make_table):
    levels = [0.0, 20, 40, 60, 0, 100, 67, 66] + [np.nan] * 8
    recordings = Recordings.of(make_table(2, stimulus_level_db=levels))
    within = np.repeat([0, 1, 2, 2], 4)
    expected = [False, False, True, True, False, True, True, False] + [True] * 8
    assert recordings.highest(within).tolist() == expected


def test_null_waveforms_are_rows_of_nan(make_table):
    table = make_table(2)
    signals = table["signal"].to_pylist()
    for column_type in (pa.list_(pa.float32(), 64), pa.list_(pa.float64())):
        with_null = pa.array([*signals[:3], None, *signals[4:]], column_type)
        recordings = Recordings.of(table.set_column(table.schema.get_field_index("signal"), "signal", with_null))
        assert np.flatnonzero(~recordings.finite).tolist() == [3]
        kept = np.delete(np.arange(16), 3)
        assert np.array_equal(recordings.signals_uv[kept], np.array(signals, np.float32)[kept])


def test_averages_of_one_response_agree_in_all_columns_except_those_of_an_average(with_signals):
    response = with_signals().response
    assert np.array_equal(np.bincount(response), np.full(240, 2))
    assert np.array_equal(response[0::2], response[1::2])


def test_the_columns_of_one_response_can_be_named(simulated):
    recordings = Recordings.of(simulated, average_columns=["subject_id"])
    assert np.array_equal(np.bincount(recordings.response), np.full(15, 32))


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"signal": None}, {}, "column 'signal' is missing"),
        ({}, {"subject_column": "subject"}, "column 'subject' is missing; did you mean 'subject_id'"),
        ({}, {"average_columns": ["level"]}, "column 'level' is missing"),
        ({"signal": range(48)}, {}, "must have lists of samples, but got type int64"),
        ({"signal": [[0.0] * 64] * 47 + [[0.0] * 50]}, {}, r"one length, but got \(samples: rows\) \{64: 47, 50: 1\}"),
        ({"stimulus_level_db": [np.inf] * 48}, {}, "'stimulus_level_db': 48 of 48 rows are infinite"),
        ({"rate_hz": None}, {}, "no sampling_rate_hz in the metadata; set --sampling-rate-hz"),
    ],
)
def test_an_invalid_table_is_refused(make_table, columns, options, message):
    with pytest.raises(UserError, match=f"^lab: .*{message}"):
        Recordings.of(make_table(**columns), "lab", **options)


def test_missing_and_other_files_are_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.parquet: no such file"):
        read(str(tmp_path / "nowhere.parquet"))
    (tmp_path / "a.csv").write_text("level,signal\n")
    with pytest.raises(UserError, match=r"a\.csv: must be a readable Parquet file"):
        read(str(tmp_path / "a.csv"))
