import numpy as np
import pyarrow as pa

from hcvae.inspection import Recordings, read
from hcvae.inspection.missing import check


def test_complete_rows_give_no_finding(simulated):
    assert check(Recordings.of(simulated)) == []


def test_broken_rows_are_listed_by_problem(make_table):
    signals = np.ones((48, 64), np.float32) * np.arange(64, dtype=np.float32)
    signals[3, 5], signals[9, 0], signals[11] = np.nan, -np.inf, 0.25
    rows = [None if row in (20, 40) else signal for row, signal in enumerate(signals)]
    table = make_table(
        signal=pa.array(rows, pa.list_(pa.float32(), 64)),
        subject_id=[None] + ["s"] * 46 + [""],
        record_id=[f"r{row}" for row in range(48)],
    )
    found = {finding.trouble: finding.evidence for finding in check(Recordings.of(table))}
    assert found == {
        "rows have no waveform (null)": "2 of 48 rows: 20 (r20), 40 (r40)",
        "rows contain NaN or infinite samples": "2 of 48 rows: 3 (r3), 9 (r9)",
        "rows are constant": "1 of 48 rows: 11 (r11)",
        "rows have no subject": "2 of 48 rows: 0 (r0), 47 (r47)",
    }


def test_implausible_numbers_are_listed_by_column(make_table):
    columns = {
        "stimulus_level_db": [9999.0] + [80.0] * 46 + [-999.0],
        "n_averages": [500] * 47 + [0],
        "highpass_hz": [100.0] * 48,
        "lowpass_hz": [3000.0] * 40 + [None] * 7 + [100.0],
        "record_id": [f"r{row}" for row in range(48)],
    }
    found = {finding.trouble: finding for finding in check(Recordings.of(make_table(**columns)))}
    assert {trouble: finding.evidence for trouble, finding in found.items()} == {
        "stimulus_level_db cannot be right": "2 of 48 rows have -999 to 9999: 0 (r0), 47 (r47)",
        "n_averages cannot be right": "1 of 48 rows have 0: 47 (r47)",
        "highpass_hz cannot be right": "1 of 48 rows have 100: 47 (r47)",
    }
    assert "the numbers must be -120 to 200 dB" in found["stimulus_level_db cannot be right"].remedy
    assert "the numbers must be below lowpass_hz" in found["highpass_hz cannot be right"].remedy


def test_the_published_tables_hold_no_implausible_number(recordings):
    tables = [*recordings.glob("*.parquet")]
    assert tables
    for path in tables:
        assert not [finding for finding in check(read(str(path))) if "cannot be right" in finding.trouble]


def test_columns_that_hold_no_numbers(make_table):
    table = make_table(n_averages=["500"] * 47 + [None], stimulus_level_db=[True, False] * 24)
    found = {finding.trouble: finding.evidence for finding in check(Recordings.of(table))}
    assert found["rows have text as n_averages"].startswith("47 of 48 rows")
    assert found["rows have logical values as stimulus_level_db"].startswith("48 of 48 rows")
