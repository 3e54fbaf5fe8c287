import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import optuna
import pytest
import ray

import hcvae
from hcvae.errors import UserError
from hcvae.training.diagnosis import diagnose
from hcvae.training.precision import PrecisionChoice
from tests.fixtures.studies import SmallSearch
from tune.config import SearchConfig
from tune.report.results import SearchResult
from tune.search import plan_search, run_search
from tune.space.search_space import apply
from tune.study.artifacts import history_of, images
from tune.study.folder import StudyFolder
from tune.study.opening import git_revision
from tune.study.trial_attributes import attributes_of

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.usefixtures("cluster")
def test_a_search_ends_in_trials_a_front_and_bundles(
    small_search: SmallSearch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = run_search(small_search(trials=3))
    assert result.folder.path == tmp_path / "small"
    assert [trial.state for trial in result.trials] == ["complete"] * 3
    study = optuna.load_study(study_name="small", storage=f"sqlite:///{result.folder.path / 'study.db'}")
    assert sorted(trial.number for trial in study.best_trials) == sorted(trial.number for trial in result.pareto)
    for trial in study.trials:
        history, recorded = history_of(StudyFolder(result.folder), study, trial), attributes_of(trial)
        best = history[trial.user_attrs["best_epoch"] - 1]
        assert [epoch["epoch"] for epoch in history] == [1, 2]
        assert trial.values == [best["reconstruction_nmse"], best["disentanglement"]]
        found = diagnose(apply(small_search(trials=3), trial.params), history)
        assert recorded["diagnosis"] == [asdict(finding) for finding in found]
        assert result.trials[trial.number].troubles == tuple(finding.trouble for finding in found)
        assert trial.user_attrs["seconds"] == pytest.approx(sum(epoch["seconds"] for epoch in history))
        assert trial.duration is not None
        assert trial.duration.total_seconds() > trial.user_attrs["seconds"]
        assert trial.user_attrs["git_revision"] == git_revision()
        choice = PrecisionChoice.model_validate(recorded["precision_choice"])
        assert choice.used == trial.user_attrs["precision"] == result.trials[trial.number].precision
        figures = images(StudyFolder(result.folder), study, trial)
        assert list(figures) == ["latent_use.png", "reconstructions.png", "swap_grid.png"]
        assert sum(map(len, figures.values())) < 300_000
        assert "figure_failure" not in trial.user_attrs
    assert study.metric_names == ["reconstruction_nmse", "disentanglement"]
    assert [direction.name for direction in study.directions] == ["MINIMIZE", "MAXIMIZE"]
    for trial in result.pareto:
        bundle = result.load(trial)
        assert bundle.config.training.precision == trial.precision
        assert bundle.config.model.global_latent_dim == trial.params["model.global_latent_dim"]
        assert bundle.metrics["validation"]["reconstruction_nmse"] == trial.reconstruction_nmse
    assert {path.name for path in (result.folder.path / "best").iterdir()} == {
        f"trial-{t.number}" for t in result.pareto
    }
    # Ray's bookkeeping is gone, and Ray, which was there before, is not.
    assert not (result.folder.path / ".ray").exists()
    assert ray.is_initialized()
    printed = capsys.readouterr()
    assert "3/3 finished" in printed.out
    assert re.search(r"^trial \d trains in \w+ \(measured: fp32 ", printed.out, re.MULTILINE)
    assert "Ray" not in printed.out + printed.err


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


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(("workers", "trials"), [(1, 3), pytest.param(2, 2, marks=pytest.mark.services)])
def test_a_trial_that_goes_nan_or_raises_fails_and_the_search_goes_on(
    small_search: SmallSearch, workers: int, trials: int
) -> None:
    """A weight of 1e38 overflows, and there is no GPU."""
    weight, device = "training.loss_weights.reconstruction", "training.device"
    choices: dict[str, list[Any]] = {weight: [1.0, 1e38], device: ["cpu", "cuda"]}
    good_one = {name: values[0] for name, values in choices.items()}
    bad = [{name: values[1]} for name, values in choices.items()]
    config = small_search(
        trials=trials,
        workers=workers,
        max_concurrent=1,
        space={name: {"type": "choice", "choices": values} for name, values in choices.items()},
        first_trials=[good_one | change for change in (bad[0], {}, *bad[1:])][:trials],
    )
    result = run_search(config)
    assert [trial.state for trial in result.trials] == ["fail", "complete", "fail"][:trials]
    diverged, good, *never_trained = result.trials
    assert str(diverged.failure).startswith("TrainingDiverged: ")
    for trial in never_trained:
        assert "UserError: training.device" in str(trial.failure)
    assert hcvae.load(result.bundle(good.number)).metrics["validation"]["disentanglement"] == good.disentanglement
    study = optuna.load_study(study_name="small", storage=f"sqlite:///{result.folder.path / 'study.db'}")
    assert "raise TrainingDiverged" in attributes_of(study.trials[0])["traceback"]
    (finding,) = attributes_of(study.trials[0])["diagnosis"]
    assert finding["trouble"] == "training instability"
    assert "not finite after epoch 0" in finding["evidence"]
    assert "training.learning_rate (now 0.0" in finding["remedy"]
    assert all("diagnosis" not in attributes_of(study.trials[trial.number]) for trial in never_trained)
    for trial in (diverged, *never_trained):
        assert not list((result.folder.path / "trials" / str(trial.number)).glob("*/checkpoint"))


@pytest.mark.usefixtures("cluster")
def test_progress_as_json_lines(small_search: SmallSearch, capsys: pytest.CaptureFixture[str]) -> None:
    result = run_search(small_search(trials=2), log_json=True)
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    kinds = [event["event"] for event in events]
    assert [kinds.count(kind) for kind in ("started", "epoch", "finished")] == [2, 4, 2]
    *_, last, ended = events
    assert ended["reason"] == "search.trials: 2 trials have finished"
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
    with pytest.raises(UserError, match=r"a trial needs 3 worker\(s\).*1 node\(s\) with 2 CPUs and 0 GPUs"):
        call(small_search(workers=3))
    with pytest.raises(UserError, match=r"1 GPU\(s\), more than the cluster has"):
        call(small_search(gpus_per_worker=1))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("cluster")
def test_plan_says_what_would_be_done(small_search: SmallSearch, tmp_path: Path) -> None:
    plan = plan_search(small_search(trials=5))
    assert "0 of 5 trials finished" in plan
    assert "2 at once, on 1 node(s) with 2 CPUs and 0 GPUs" in plan
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
