"""Every script in `examples` runs from an empty folder and leaves what its docstring promises."""

import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tune.report.results import SearchResult

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.services


def run(folder: Path, script: str, *arguments: str) -> str:
    command = [sys.executable, "-m", f"examples.{script}", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_script_is_tested() -> None:
    assert {path.name for path in (ROOT / "examples").glob("*.py")} == {
        "import_and_inspect.py",
        "load_study_and_plot.py",
        "search_from_python.py",
        "train_and_generate.py",
    }


def test_a_model_is_trained_and_generates(tmp_path: Path) -> None:
    assert "300 waveforms" in run(tmp_path, "train_and_generate")
    assert (tmp_path / "results/examples/model/levels.png").read_bytes().startswith(b"\x89PNG")


def test_a_search_leaves_a_study_that_can_be_plotted(tmp_path: Path) -> None:
    said = run(tmp_path, "search_from_python")
    result = SearchResult.open(tmp_path / "results/examples/search")
    assert len(result.trials) == 4
    assert f"trial {result.compromise().number} generated 10 waveforms" in said
    assert f"{len(result.pareto)} of 4 trials" in run(tmp_path, "load_study_and_plot", "results/examples/search")
    assert (tmp_path / "front.png").read_bytes().startswith(b"\x89PNG")


def test_a_text_file_is_imported_and_inspected(tmp_path: Path) -> None:
    run(tmp_path, "import_and_inspect")
    table = pq.read_table(tmp_path / "results/examples/import/table.parquet")
    assert table.num_rows == 200
    assert len(table["signal"][0]) == 200
