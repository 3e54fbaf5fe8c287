import asyncio
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import optuna
import pytest
import ray
from optuna.trial import FrozenTrial, TrialState

import hcvae
from hcvae.errors import UserError
from hcvae.training.diagnosis import diagnose
from hcvae.training.precision import PrecisionChoice
from tests.fixtures.studies import SmallSearch, small_search_config
from tune.config import SearchConfig
from tune.report.results import SearchResult
from tune.search import plan_search, run_search
from tune.space.search_space import apply
from tune.study.artifacts import history_of, images
from tune.study.folder import StudyFolder
from tune.study.opening import git_revision
from tune.study.trial_attributes import attributes_of
from tune.study.trial_summary import TrialSummary

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Ended:
    """A search that has ended, and what it printed."""

    config: SearchConfig
    result: SearchResult
    out: str = ""
    err: str = ""

    @property
    def folder(self) -> StudyFolder:
        return StudyFolder(self.result.folder)

    @property
    def study(self) -> optuna.Study:
        """The study as Optuna opens it by itself."""
        database = self.result.folder.path / "study.db"
        return optuna.load_study(study_name=self.config.search.study, storage=f"sqlite:///{database}")

    def trials(self) -> Iterator[tuple[FrozenTrial, TrialSummary, dict[str, Any], list[dict[str, Any]]]]:
        """Yield each trial, its summary, its attributes and its history."""
        study = self.study
        for trial in study.trials:
            history = history_of(self.folder, study, trial)
            yield trial, self.result.trials[trial.number], attributes_of(trial), history


@pytest.fixture(scope="module")
def ended(cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """A search of three trials."""
    config = small_search_config(tmp_path_factory.mktemp("ended"), trials=3)
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        result = run_search(config)
    return Ended(config, result, out.getvalue(), err.getvalue())


def test_all_trials_of_a_search_complete(ended: Ended) -> None:
    assert [trial.state for trial in ended.result.trials] == ["complete"] * 3


def test_the_study_lies_in_the_storage_and_names_its_objectives(ended: Ended) -> None:
    assert ended.result.folder.path == Path(ended.config.search.storage) / "small"
    assert ended.study.metric_names == ["reconstruction_nmse", "disentanglement"]
    assert [direction.name for direction in ended.study.directions] == ["MINIMIZE", "MAXIMIZE"]


def test_the_front_is_optuna_s(ended: Ended) -> None:
    best = {trial.number for trial in ended.study.best_trials}
    assert sorted(trial.number for trial in ended.result.pareto) == sorted(best)


def test_the_values_of_a_trial_are_those_of_its_best_epoch(ended: Ended) -> None:
    for trial, _, _, history in ended.trials():
        best = history[trial.user_attrs["best_epoch"] - 1]
        assert [epoch["epoch"] for epoch in history] == [1, 2]
        assert trial.values == [best["reconstruction_nmse"], best["disentanglement"]]


def test_a_trial_records_its_diagnosis(ended: Ended) -> None:
    for trial, summary, recorded, history in ended.trials():
        found = diagnose(apply(ended.config, trial.params), history)
        assert recorded["diagnosis"] == [asdict(finding) for finding in found]
        assert summary.troubles == tuple(finding.trouble for finding in found)


def test_a_trial_records_its_seconds(ended: Ended) -> None:
    for trial, _, _, history in ended.trials():
        assert trial.user_attrs["seconds"] == pytest.approx(sum(epoch["seconds"] for epoch in history))
        assert trial.duration is not None
        assert trial.duration.total_seconds() > trial.user_attrs["seconds"]


def test_a_trial_records_its_revision_and_its_precision(ended: Ended) -> None:
    for trial, summary, recorded, _ in ended.trials():
        assert trial.user_attrs["git_revision"] == git_revision()
        choice = PrecisionChoice.model_validate(recorded["precision_choice"])
        assert choice.used == trial.user_attrs["precision"] == summary.precision


def test_a_trial_has_figures(ended: Ended) -> None:
    for trial, _, _, _ in ended.trials():
        figures = images(ended.folder, ended.study, trial)
        assert list(figures) == ["latent_use.png", "reconstructions.png", "swap_grid.png"]
        assert sum(map(len, figures.values())) < 300_000
        assert "figure_failure" not in trial.user_attrs


def test_the_bundles_of_the_front_are_those_of_its_trials(ended: Ended) -> None:
    exported = {path.name for path in ended.folder.best.path.iterdir()}
    assert exported == {f"trial-{trial.number}" for trial in ended.result.pareto}
    for trial in ended.result.pareto:
        bundle = ended.result.load(trial)
        assert bundle.config.training.precision == trial.precision
        assert bundle.config.model.global_latent_dim == trial.params["model.global_latent_dim"]
        assert bundle.metrics["validation"]["reconstruction_nmse"] == trial.reconstruction_nmse


def test_a_search_leaves_ray_as_it_was(ended: Ended) -> None:
    assert not (ended.result.folder.path / ".ray").exists()
    assert ray.is_initialized()


def test_a_search_prints_its_progress_and_nothing_of_ray(ended: Ended) -> None:
    assert "3/3 finished" in ended.out
    assert re.search(r"^trial \d trains in \w+ \(measured: fp32 ", ended.out, re.MULTILINE)
    assert "Ray" not in ended.out + ended.err


@pytest.mark.usefixtures("cluster")
def test_a_search_in_a_running_event_loop(small_search: SmallSearch) -> None:
    """As in a notebook's cell."""

    async def cell() -> SearchResult:
        return run_search(small_search(trials=1))

    result = asyncio.run(cell())
    assert [trial.state for trial in result.trials] == ["complete"]
    assert result.load(result.compromise()).model.latent_dims


@pytest.mark.usefixtures("cluster")
def test_a_search_in_a_thread(small_search: SmallSearch) -> None:
    """On a cluster that the main thread has connected to."""
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(run_search, small_search(trials=1)).result()
    assert [trial.state for trial in result.trials] == ["complete"]
    assert ray.is_initialized()


@pytest.mark.services
@pytest.mark.parametrize("place", ["event loop", "thread"])
def test_a_search_with_its_own_ray_in_a_process_of_its_own(
    small_search: SmallSearch, tmp_path: Path, place: str
) -> None:
    """It starts Ray there, and leaves none behind."""
    program = f"""
import asyncio, sys, threading
import ray
from tune.config import SearchConfig
from tune.search import run_search
def search():
    result = run_search(SearchConfig.model_validate_json(sys.argv[1]))
    print([trial.state for trial in result.trials], ray.is_initialized())
async def cell():
    search()
if {place!r} == "thread":
    thread = threading.Thread(target=search); thread.start(); thread.join()
else:
    asyncio.run(cell())
"""
    command = [sys.executable, "-c", program, small_search(trials=1).model_dump_json()]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.endswith("['complete'] False\n")


@pytest.mark.usefixtures("cluster")
def test_a_finished_study_is_extended(small_search: SmallSearch) -> None:
    first = run_search(small_search(trials=1))
    again = run_search(small_search(trials=1))
    assert again.trials == first.trials
    longer = run_search(small_search(trials=2))
    assert longer.trials[0] == first.trials[0]
    assert [trial.state for trial in longer.trials] == ["complete", "complete"]


@pytest.fixture(scope="module", params=[(1, 3), pytest.param((2, 2), marks=pytest.mark.services)])
def with_failures(request: pytest.FixtureRequest, cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """A trial that diverges, as a weight of 1e38 overflows, a good one, and one for a GPU that is missing."""
    workers, trials = request.param
    weight, device = "training.loss_weights.reconstruction", "training.device"
    choices: dict[str, list[Any]] = {weight: [1.0, 1e38], device: ["cpu", "cuda"]}
    good = {weight: 1.0, device: "cpu"}
    config = small_search_config(
        tmp_path_factory.mktemp("with-failures"),
        trials=trials,
        workers=workers,
        max_concurrent=1,
        space={name: {"type": "choice", "choices": values} for name, values in choices.items()},
        first_trials=[good | {weight: 1e38}, good, good | {device: "cuda"}][:trials],
    )
    return Ended(config, run_search(config))


def test_a_trial_that_fails_does_not_end_the_search(with_failures: Ended) -> None:
    trials = with_failures.config.search.trials
    assert [trial.state for trial in with_failures.result.trials] == ["fail", "complete", "fail"][:trials]


def test_the_good_trial_of_a_search_with_failures_has_its_model(with_failures: Ended) -> None:
    good = with_failures.result.trials[1]
    bundle = hcvae.load(with_failures.result.bundle(good.number))
    assert bundle.metrics["validation"]["disentanglement"] == good.disentanglement


def test_a_trial_that_diverges_is_diagnosed(with_failures: Ended) -> None:
    assert str(with_failures.result.trials[0].failure).startswith("TrainingDiverged: ")
    recorded = attributes_of(with_failures.study.trials[0])
    assert "raise TrainingDiverged" in recorded["traceback"]
    (finding,) = recorded["diagnosis"]
    assert finding["trouble"] == "training instability"
    assert "not finite after epoch 0" in finding["evidence"]
    assert "training.learning_rate (now 0.0" in finding["remedy"]


def test_a_trial_that_never_trained_has_no_diagnosis(with_failures: Ended) -> None:
    for trial, summary, recorded, _ in [*with_failures.trials()][2:]:
        assert trial.state == TrialState.FAIL
        assert "UserError: training.device" in str(summary.failure)
        assert "diagnosis" not in recorded


def test_a_failed_trial_keeps_no_checkpoint(with_failures: Ended) -> None:
    for trial in with_failures.result.trials[::2]:
        assert not list((with_failures.folder.trial(trial.number).path).glob("*/checkpoint"))


@pytest.mark.usefixtures("cluster")
def test_progress_as_json_lines(small_search: SmallSearch, capsys: pytest.CaptureFixture[str]) -> None:
    result = run_search(small_search(trials=2), log_json=True)
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    kinds = [event["event"] for event in events]
    assert [kinds.count(kind) for kind in ("started", "epoch", "finished")] == [2, 4, 2]
    *_, last, ended = events
    assert ended["reason"] == "search.trials: 2 trials finished"
    assert last["event"] == "finished"
    assert last["left_s"] == 0
    assert last["hypervolume"] == pytest.approx(result.hypervolume)
    assert last["front"] == [trial.number for trial in result.pareto]
    numbers = {event["trial"]: event["params"] for event in events if event["event"] == "started"}
    assert numbers == {trial.number: trial.params for trial in result.trials}


@pytest.mark.usefixtures("cluster")
def test_one_process_runs_one_trial_after_the_other(small_search: SmallSearch) -> None:
    """A fresh one for each would take seconds to import torch. TensorBoard's files are named by their process."""
    result = run_search(small_search(trials=3, max_concurrent=1, training={"epochs": 1}))
    events = list(result.folder.path.glob("tensorboard/*/events.out.tfevents.*"))
    assert len(events) == 3
    assert len({file.name.split(".")[-2] for file in events}) == 1


# Bad input: refused before any trial starts, and nothing is left behind.


@pytest.mark.parametrize("call", [run_search, plan_search])
def test_bad_space_and_bad_data_need_no_ray(
    small_search: SmallSearch, tmp_path: Path, call: Callable[[SearchConfig], Any]
) -> None:
    space = {"model.early_signal_ration": {"type": "float", "low": 0.1, "high": 0.2}}
    with pytest.raises(UserError, match=r"did you mean 'model\.early_signal_ratio'"):
        call(small_search(space=space))
    config = small_search()
    missing = config.model_copy(update={"data": config.data.model_copy(update={"tables": ("nowhere.parquet",)})})
    with pytest.raises(UserError, match=r"nowhere\.parquet"):
        call(missing)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("call", [run_search, plan_search])
def test_more_than_the_cluster_has_is_refused(
    small_search: SmallSearch, tmp_path: Path, call: Callable[[SearchConfig], Any]
) -> None:
    with pytest.raises(UserError, match=r"a trial needs 3 workers.*1 node with 2 CPUs and 0 GPUs"):
        call(small_search(workers=3))
    with pytest.raises(UserError, match=r"1 GPU, more than the cluster has"):
        call(small_search(gpus_per_worker=1))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("cluster")
def test_plan_says_what_would_be_done(small_search: SmallSearch, tmp_path: Path) -> None:
    plan = plan_search(small_search(trials=5))
    assert "0 of 5 trials finished" in plan
    assert "2 at once, on 1 node with 2 CPUs and 0 GPUs" in plan
    assert "subject" in plan
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("cluster")
def test_a_finite_space_ends_the_search_when_all_of_it_is_tried(
    small_search: SmallSearch, capsys: pytest.CaptureFixture[str]
) -> None:
    choices = {"model.local_latent_dim": {"type": "choice", "choices": [64, 65]}}
    config = small_search(trials=5, space=choices, training={"epochs": 1})
    plan = plan_search(config)
    assert "The space holds 2 combinations; each is tried once" in plan
    assert "search.trials is 5, but the search ends when all combinations are tried" in plan
    result = run_search(config)
    assert sorted(trial.params["model.local_latent_dim"] for trial in result.trials) == [64, 65]
    assert "Ended by search.space: all 2 combinations have been tried; " in capsys.readouterr().out
    again = run_search(config)
    assert again.trials == result.trials
    assert "Ended by search.space: all 2 combinations have been tried; " in capsys.readouterr().out
