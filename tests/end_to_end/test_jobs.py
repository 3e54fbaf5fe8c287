"""The main job as a user runs it: search, pull, generate; on the simulator and on the real recordings."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import hcvae

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.services


def run(*arguments: object) -> str:
    """Run a module of the checkout, as `python -m` does, and return what it printed."""
    command = [sys.executable, "-m", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_quickstart_ends_in_a_front_and_says_what_to_type_next(tmp_path):
    options = ["--training.epochs", 8, "--search.storage", tmp_path]  # a third of its epochs
    said = run("jobs.search", "--config", "configs/quickstart.json", *options)
    study = tmp_path / "quickstart"
    assert "8/8 finished, 8 complete" in said
    assert "Pareto front" in said
    for command in ("jobs.dashboard", "jobs.report", "jobs.pull", "hcvae generate"):
        assert command in said
    front = json.loads((study / "pareto.json").read_text())["trials"]
    assert front
    for trial in front:
        bundle = hcvae.load(study / "best" / f"trial-{trial['number']}")
        assert bundle.metrics["validation"]["denoised_nmse"] == trial["denoised_nmse"]
        assert bundle.metrics["validation"]["disentanglement"] == trial["disentanglement"]
    run("jobs.pull", study, "--out", tmp_path / "model")
    out = tmp_path / "generated.parquet"
    run("hcvae", "generate", tmp_path / "model", "--condition", "stimulus_level_db=60", "--out", out)
    assert pq.read_table(out).num_rows == 100


def wave_v(signals: np.ndarray) -> tuple[float, float]:
    """Latency in ms and height in uV of the largest point from 5 to 9.5 ms of the mean of waveforms [N, 200]."""
    mean, time_ms = signals.mean(axis=0), np.arange(200) * 0.05
    window = np.flatnonzero((time_ms >= 5) & (time_ms <= 9.5))
    peak = window[mean[window].argmax()]
    return time_ms[peak], mean[peak]


def signals_at(path: Path, level_db: float) -> np.ndarray:
    table = pq.read_table(path, filters=[("stimulus_level_db", "==", level_db)])
    return np.array(table["signal"].to_pylist())


def test_a_search_on_the_recordings_generates_human_waves_v_like_the_recorded_ones(recordings, tmp_path):
    tables = [str(recordings / name) for name in ("human_click_shipm.parquet", "mouse_tone_shipm.parquet")]
    options = ["--data.tables", json.dumps(tables), "--search.storage", tmp_path, "--search.trials", "4"]
    said = run("jobs.search", "--config", "configs/recordings.json", *options)
    assert "4/4 finished, 4 complete" in said
    assert "Split by recording (3 subjects, fewer than 5)" in said
    run("jobs.pull", tmp_path / "recordings", "--out", tmp_path / "model")

    height_uv, generated_ms = {}, {}
    # At 20 dB the wave is low and broad; which model the search prefers, and so its top, depends on the processor.
    for level_db, recorded_ms, off_ms in ((60, 5.95, 0.5), (20, 7.65, 1.0)):
        recorded = wave_v(signals_at(recordings / "human_click_shipm.parquet", level_db))
        assert recorded[0] == pytest.approx(recorded_ms)
        out = tmp_path / f"{level_db}.parquet"
        conditions = ("species=human", "stimulus_frequency_hz=null", f"stimulus_level_db={level_db}")
        given = [word for condition in conditions for word in ("--condition", condition)]
        run("hcvae", "generate", tmp_path / "model", *given, "--samples", 200, "--out", out)
        generated_ms[level_db], height_uv[level_db] = wave_v(signals_at(out, level_db))
        assert generated_ms[level_db] == pytest.approx(recorded_ms, abs=off_ms)
    assert generated_ms[20] > generated_ms[60]
    assert height_uv[20] <= 0.6 * height_uv[60]
    # In uV: the recordings' height at 60 dB, to a factor of 2.
    assert 0.5 <= height_uv[60] / wave_v(signals_at(recordings / "human_click_shipm.parquet", 60))[1] <= 2
