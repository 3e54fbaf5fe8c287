import numpy as np
import pytest

from hcvae.inspection import Recordings, summarise


def test_counts_and_ranges_agree_with_numpy(with_signals, simulated):
    def break_one(signals):
        signals[7, 3] = np.nan

    recordings = with_signals(break_one, note=["x", None, "y", "x"] * 120)
    summary = summarise(recordings)
    assert (summary.rows, summary.subjects, summary.samples) == (480, 15, 200)
    assert (summary.sampling_rate_hz, summary.duration_ms) == (20000, 10)
    columns = {column.name: column for column in summary.columns}
    assert "signal" not in columns
    ages = simulated["age_years"].to_numpy()
    assert (columns["age_years"].minimum, columns["age_years"].maximum) == (ages.min(), ages.max())
    assert columns["age_years"].distinct == len(np.unique(ages))
    assert (columns["note"].missing, columns["note"].values) == (120, "x, y")
    signals = np.delete(np.array(simulated["signal"].to_pylist()), 7, axis=0)
    sizes = signals.max(axis=1) - signals.min(axis=1)
    assert summary.peak_to_peak_uv["50"] == pytest.approx(np.median(sizes), rel=1e-6)
    assert summary.rms_uv["95"] == pytest.approx(np.percentile(np.sqrt((signals**2).mean(axis=1)), 95), rel=1e-6)


def test_rows_are_counted_by_level_and_subject(simulated):
    counts = summarise(Recordings.of(simulated)).rows_by_level
    pairs = list(zip(simulated["stimulus_level_db"].to_pylist(), simulated["subject_id"].to_pylist(), strict=True))
    assert sum(sum(of_level.values()) for of_level in counts.values()) == 480
    for level, subject in set(pairs):
        assert counts[f"{level:g}"][subject] == pairs.count((level, subject))


def test_labelled_peaks_are_counted_by_wave(simulated):
    labelled = summarise(Recordings.of(simulated)).labelled_peaks
    valid = np.array(simulated["peak_valid"].to_pylist())
    assert list(labelled.values()) == valid.sum(axis=0).tolist()


def test_a_table_without_levels_peaks_or_numbers_is_summarised(make_table):
    summary = summarise(Recordings.of(make_table(stimulus_level_db=None, signal=[[np.nan] * 64] * 48)))
    assert (summary.rows_by_level, summary.labelled_peaks, summary.rms_uv) == ({}, {}, {})
