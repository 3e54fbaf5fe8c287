import numpy as np
import pyarrow as pa

from hcvae.inspection import Recordings
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
