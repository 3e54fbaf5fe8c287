"""What docs/own-data.md says of the recordings, measured."""

import numpy as np
import pyarrow.parquet as pq
import pytest


def test_the_two_device_halves_of_a_human_acquisition_are_not_averages_of_one_response(recordings):
    frame = pq.read_table(recordings / "human_click_shipm.parquet").to_pandas()
    key = ["subject_id", "stimulus_level_db", "recording_index", "n_averages"]
    pairs = frame[frame.half == 1].merge(frame[frame.half == 2], on=key)
    first, second = (np.stack(pairs[f"signal_{side}"]) for side in ("x", "y"))
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] == pytest.approx(0.14, abs=0.005)
    rows = ((pairs.subject_id == "H1") & (pairs.stimulus_level_db == 60)).to_numpy()
    assert np.corrcoef(first[rows].ravel(), second[rows].ravel())[0, 1] == pytest.approx(0.07, abs=0.005)


def test_mouse_waveforms_are_about_six_times_as_large_as_human_ones(recordings):
    signals = [
        np.array(pq.read_table(recordings / name)["signal"].to_pylist())
        for name in ("human_click_shipm.parquet", "mouse_tone_shipm.parquet")
    ]
    human, mouse = (np.std(values) for values in signals)
    assert mouse / human == pytest.approx(5.7, abs=0.3)
    rows = [len(values) for values in signals]
    share = rows[0] * human**2 / (rows[0] * human**2 + rows[1] * mouse**2)
    assert share == pytest.approx(0.015, abs=0.0005)
