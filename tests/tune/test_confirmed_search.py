"""A search that is killed in the middle of its confirmation, and the same command again, with a real Ray."""

import json
import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from optuna.trial import TrialState

import hcvae
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.running_search import RunningSearch, newest_checkpoint
from tests.fixtures.studies import small_search_config
from tune.report.html import html_report
from tune.report.results import SearchResult
from tune.study.folder import StudyFolder
from tune.study.leases import lease_of, study_id
from tune.study.repetition import repetition_of

pytestmark = pytest.mark.services
ROOT = Path(__file__).resolve().parents[2]
TRIALS = 2
EPOCHS = 3
REPETITIONS = 4


class Confirmed:
    """The study of a search that was killed in its second repetition and started again."""

    def __init__(self, folder: Path) -> None:
        training = {"epochs": EPOCHS, "checkpoint_every_epochs": 1, "early_stopping_patience": None}
        confirm = {"members": 2, "repeats": 2, "by": "seeds"}
        settings = {"study": "killed", "trials": TRIALS, "max_concurrent": 1, "confirm": confirm}
        config = small_search_config(folder, training, **settings)
        (folder / "config.json").write_text(config.model_dump_json())
        self.folder = folder / "killed"
        first = RunningSearch(folder / "config.json")
        first.wait_for_epochs(EPOCHS * (TRIALS + 1) + 2)
        self.killed_in = TRIALS + 1
        first.kill(with_ray=True)
        self.checkpoint = newest_checkpoint(self.folder, self.killed_in)
        second = RunningSearch(folder / "config.json")
        self.events = list(second.events())
        self.code = second.process.wait()
        second.kill(with_ray=True)
        self.result = SearchResult.open(self.folder)


@pytest.fixture(scope="module")
def confirmed(tmp_path_factory: pytest.TempPathFactory) -> Confirmed:
    return Confirmed(tmp_path_factory.mktemp("confirmed"))


def test_two_processes_share_a_confirmation(
    tmp_path: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one dies in its repetition, which the second one takes over."""
    monkeypatch.setenv("PGPASSFILE", str(postgres.password_file))
    training = {"epochs": 10, "checkpoint_every_epochs": 1, "early_stopping_patience": None}
    settings = {"study": "two", "trials": 2, "max_concurrent": 1, "database": postgres.url}
    config = small_search_config(tmp_path, training, **settings, confirm={"members": 2, "repeats": 2})
    (tmp_path / "config.json").write_text(config.model_dump_json())
    first, second = (RunningSearch(tmp_path / "config.json") for _ in range(2))
    with ThreadPoolExecutor(1) as pool:  # both are heard: a full pipe would hold one up
        heard = pool.submit(lambda: list(second.events()))
        try:
            for event in first.events():
                if event["event"] == "epoch" and event["trial"] >= 2:
                    break
            first.kill(with_ray=True)
            reason = heard.result()[-1]["reason"]
        finally:
            first.kill(with_ray=True)
            second.kill(with_ray=True)
    study = StudyFolder(tmp_path / "two").load()
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 6
    repetitions = [repetition_of(trial, study_id(study)) for trial in study.trials[2:]]
    assert sorted((each.number, each.index) for each in repetitions if each) == [(0, 1), (0, 2), (1, 1), (1, 2)]
    assert sorted(lease_of(trial).attempt for trial in study.trials[2:]) == [1, 1, 1, 2]
    assert reason == "search.trials: 2 trials finished; 2 configurations confirmed by 4 repetitions"


def test_every_repetition_is_trained_once_from_where_it_was_killed(confirmed: Confirmed) -> None:
    assert confirmed.code == 0
    study = StudyFolder(confirmed.folder).load()
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * (TRIALS + REPETITIONS)
    repetitions = [repetition_of(trial, study_id(study)) for trial in study.trials[TRIALS:]]
    assert Counter(Counter((each.number, each.index) for each in repetitions if each).values()) == {1: REPETITIONS}
    attempts = [lease_of(trial).attempt for trial in study.trials]
    assert attempts == [2 if number == confirmed.killed_in else 1 for number in range(TRIALS + REPETITIONS)]
    first_epochs = {}
    for event in confirmed.events:
        if event["event"] == "epoch":
            first_epochs.setdefault(event["trial"], event["metrics"]["epoch"])
    assert confirmed.checkpoint >= 1
    assert first_epochs == {confirmed.killed_in: confirmed.checkpoint + 1, TRIALS + 2: 1, TRIALS + 3: 1}
    assert "2 configurations confirmed by 4 repetitions" in confirmed.events[-1]["reason"]


def test_repetitions_share_nothing_but_the_configuration(confirmed: Confirmed) -> None:
    models = confirmed.result.models
    for summary in confirmed.result.trials[TRIALS:]:
        repetition = summary.repetition
        assert repetition
        original = confirmed.result.trial(repetition.number)
        bundle = hcvae.load(models[summary.number])
        assert bundle.config.training.seed == repetition.index
        expected = confirmed.result.config(summary.number).training
        assert bundle.config.training.model_copy(update={"precision": expected.precision}) == expected
        assert summary.params == original.params
        assert summary.reported != original.reported  # another seed, another model


def test_front_and_pull_go_by_the_means(confirmed: Confirmed, tmp_path: Path) -> None:
    result = confirmed.result
    assert len(result.confirmed) == 2
    for trial in result.confirmed:
        values = [each.reported for each in result.trials if each.repetition and each.repetition.number == trial.number]
        assert trial.confirmed
        assert trial.point == trial.confirmed.mean == pytest.approx(np.mean(values, axis=0))
        assert trial.confirmed.sd == pytest.approx(np.std(values, axis=0, ddof=1))
    chosen = result.compromise()
    assert {trial.number for trial in result.pareto} <= {trial.number for trial in result.confirmed}
    command = [sys.executable, "-m", "jobs.pull", str(confirmed.folder), "--out", str(tmp_path / "model")]
    printed = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=True).stdout
    assert chosen.confirmed
    assert chosen.confirmed.sd
    assert printed.startswith(f"trial {chosen.number} (reconstruction_nmse ")
    assert f" ± {chosen.confirmed.sd[0]:.4f}, disentanglement " in printed
    pulled = hcvae.load(tmp_path / "model")
    model = result.trial(chosen.confirmed.model or 0)
    assert pulled.metrics["validation"]["reconstruction_nmse"] == (model.reported or ())[0]
    assert f"means: trial {model.number} (" in (tmp_path / "model" / "README.md").read_text()
    assert json.loads((confirmed.folder / "pareto.json").read_text())["compromise"] == chosen.number


def test_the_report_has_the_deviations(confirmed: Confirmed) -> None:
    page = html_report(StudyFolder(confirmed.folder))
    for trial in confirmed.result.confirmed:
        assert trial.confirmed
        assert trial.confirmed.mean
        assert trial.confirmed.sd
        assert f"{trial.confirmed.mean[0]:.4f} ± {trial.confirmed.sd[0]:.4f}" in page
