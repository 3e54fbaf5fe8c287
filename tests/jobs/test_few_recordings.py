"""Recordings too few for disentanglement: a training runs without it, a search is refused with what it takes."""

import io
import re
import shlex
from contextlib import redirect_stdout
from pathlib import Path

import pytest

import hcvae
from hcvae.config import Config
from hcvae.data.dataset import prepare
from hcvae.data.simulator import simulate
from hcvae.data.table import write_table
from hcvae.errors import UserError
from hcvae.training import fit
from jobs import search, train

TINY = ["--model.width=0.02", "--model.global_latent_dim=3", "--model.local_latent_dim=4", "--training.epochs=1"]
COLUMNS = ["record_id", "subject_id", "stimulus_level_db", "recording_index", "n_averages", "sex", "signal"]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Forty waveforms of two subjects, two averages a recording: six are for validation."""
    path = tmp_path_factory.mktemp("table") / "own.parquet"
    write_table(simulate(400, 1).slice(0, 40).select(COLUMNS), path)
    return str(path)


@pytest.fixture(scope="module")
def trained(table: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of a training on few recordings, and what it printed."""
    out = tmp_path_factory.mktemp("few") / "out"
    with redirect_stdout(io.StringIO()) as printed:
        assert train.run([f"--data.tables={table}", "--data.static=stimulus_level_db", *TINY, "--out", str(out)]) == 0
    return out, printed.getvalue()


def test_a_training_without_disentanglement_prints_the_reason_once(trained: tuple[Path, str]) -> None:
    _, said = trained
    assert said.count("the training runs, but disentanglement cannot be measured on the validation part") == 1
    assert "no fine attribute of the waveforms is distinguishable from noise" in said
    assert "34 waveforms show a correlation of 0.5" in said
    assert "disentanglement not measured (validation part, best epoch)" in said


def test_a_bundle_without_disentanglement_has_the_other_metrics(trained: tuple[Path, str]) -> None:
    metrics = hcvae.load(trained[0] / "bundle").metrics["validation"]
    assert {"disentanglement", "film_effect"} & metrics.keys() == set()
    assert metrics["reconstruction_nmse"] > 0


def test_the_model_card_says_that_disentanglement_was_not_measured(trained: tuple[Path, str]) -> None:
    card = (trained[0] / "bundle" / "README.md").read_text()
    assert "- disentanglement cannot be measured on the validation part" in card
    assert re.search(r"disentanglement.*\| not measured \| not measured \|", card)


def test_the_result_of_a_training_without_disentanglement_can_be_shown(table: str, tmp_path: Path) -> None:
    config = Config.model_validate(
        {
            "model": {"width": 0.02, "global_latent_dim": 3, "local_latent_dim": 4},
            "data": {"tables": [table], "static": ["stimulus_level_db"]},
            "training": {"epochs": 1},
        }
    )
    shown = repr(fit(config, prepare(config), tmp_path / "fit"))
    assert "reconstruction_nmse" in shown
    assert "disentanglement" not in shown


def test_a_search_names_the_options_with_which_it_runs(table: str, tmp_path: Path) -> None:
    arguments = [f"--data.tables={table}", "--search.storage", str(tmp_path / "results"), *TINY, "--dry-run"]
    static = ['--data.static=["stimulus_level_db","sex","n_averages"]']
    with pytest.raises(UserError) as error:
        search.run([*arguments, *static])
    told = re.search(r"It can be measured with: (.*)\. python -m jobs.train", str(error.value))
    assert told, error.value
    assert shlex.split(told[1]) == [
        "--data.static", '["stimulus_level_db"]', "--data.average_columns", '["record_id"]'
    ]  # fmt: skip
    assert not (tmp_path / "results").exists()


@pytest.mark.services
def test_a_search_runs_with_these_options(table: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [f"--data.tables={table}", "--search.storage", str(tmp_path / "results"), *TINY, "--dry-run"]
    options = ["--data.static", '["stimulus_level_db"]', "--data.average_columns", '["record_id"]']
    space = ["--search.space", '{"training.learning_rate": {"type": "float", "low": 1e-4, "high": 1e-2}}']
    assert search.run([*arguments, *options, *space]) == 0
    printed = capsys.readouterr().out
    assert "0 of 8 trials finished" in printed
    assert printed.endswith("Dry run: no trial was started, and nothing was written\n")
