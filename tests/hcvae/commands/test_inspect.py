import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from hcvae import cli
from hcvae.data.simulator import simulate
from hcvae.data.table import signals_of, write_table
from hcvae.errors import UserError

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")


@pytest.fixture
def table(tmp_path) -> Path:
    """64 simulated rows in volts, one of them broken."""
    simulated = simulate(64, 1)
    signals = signals_of(simulated) * np.float32(1e-6)
    signals[5, 9] = np.nan
    column = pa.FixedSizeListArray.from_arrays(signals.ravel(), 200)
    write_table(simulated.set_column(simulated.column_names.index("signal"), "signal", column), tmp_path / "a.parquet")
    return tmp_path / "a.parquet"


def test_a_table_is_summarised_with_warnings_and_exit_code_0(table, tmp_path, capsys, wide):
    arguments = ["--figure", str(tmp_path / "a.png"), "--json", str(tmp_path / "a.json")]
    assert cli.run(["inspect", str(table), *arguments]) == 0
    said = capsys.readouterr().out
    for words in (
        "64 waveforms of 2 subjects, 200 samples at 20000 Hz (10 ms)",
        "Rows by level",
        "Spearman-Brown",
        "warning: rows contain NaN or infinite samples: 1 of 64 rows: 5 (sim-00000005)",
        "warning: amplitudes are too small for human: 2 of 2 subjects",
        "they fit values in volts stored as uV",
        "what to do: ",
    ):
        assert words in said
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    written = json.loads((tmp_path / "a.json").read_text())
    assert written["summary"]["rows"] == 64
    assert [finding["trouble"] for finding in written["findings"]] == [
        "rows contain NaN or infinite samples",
        "amplitudes are too small for human",
    ]
    assert written["independent_averages"][-1]["responses"] == 31


def test_a_table_without_problems_is_reported(tmp_path, capsys, wide):
    write_table(simulate(600, 1), tmp_path / "a.parquet")
    assert cli.run(["inspect", str(tmp_path / "a.parquet")]) == 0
    said = capsys.readouterr().out
    assert "no problems found" in said
    assert "warning" not in said


def test_other_columns_can_name_subjects_and_responses(make_table, tmp_path, capsys, wide):
    table = make_table(rate_hz=None).rename_columns({"subject_id": "animal"})
    write_table(table, tmp_path / "a.parquet")
    options = ["--subject-column", "animal", "--sampling-rate-hz", "20000"]
    options += ["--average-columns", "animal", "--average-columns", "recording_index"]
    assert cli.run(["inspect", str(tmp_path / "a.parquet"), *options, "--json", str(tmp_path / "a.json")]) == 0
    written = json.loads((tmp_path / "a.json").read_text())
    assert written["summary"]["subjects"] == 6
    assert written["summary"]["sampling_rate_hz"] == 20000
    assert written["average_columns"] == ["animal", "recording_index"]
    assert written["independent_averages"][-1]["responses"] == 24


def test_a_table_without_second_averages_is_reported_with_the_columns_compared(make_table, tmp_path, capsys, wide):
    write_table(make_table(time=[f"at {row}" for row in range(48)]), tmp_path / "a.parquet")
    assert cli.run(["inspect", str(tmp_path / "a.parquet")]) == 0
    said = capsys.readouterr().out
    assert "no independent averages: no two rows agree in subject_id, stimulus_level_db, sex, time" in said


def test_a_bundle_is_summarised(trained, tmp_path, capsys, wide):
    assert cli.run(["inspect", str(trained), "--json", str(tmp_path / "b.json")]) == 0
    said = capsys.readouterr().out
    assert "hierarchical conditional VAE" in said
    assert "latents z_global 3, z_local 4" in said
    assert "stimulus_level_db" in said
    assert "reconstruction NMSE" in said
    written = json.loads((tmp_path / "b.json").read_text())
    assert written["summary"]["metrics"] == json.loads((trained / "metrics.json").read_text())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.parquet"], "no such file"),
        (["."], "not a model bundle"),
        ([".", "--figure", "a.png"], "is for waveform tables"),
    ],
)
def test_other_files_are_refused(tmp_path, arguments, message):
    with pytest.raises(UserError, match=message):
        cli.run(["inspect", str(tmp_path / arguments[0]), *arguments[1:]])


def test_a_table_and_the_help_need_no_torch(table):
    started = time.perf_counter()
    program = (
        "import sys; from hcvae import cli; cli.run(['inspect', sys.argv[1]]); print('torch' in sys.modules); "
        "cli.run(['inspect', '--help'])"
    )
    result = subprocess.run([sys.executable, "-c", program, table], cwd=ROOT, capture_output=True, text=True)
    assert "\nFalse\n" in result.stdout, result.stderr
    assert "hcvae inspect recordings.parquet" in result.stdout.split("examples:")[1]
    assert time.perf_counter() - started < 20
