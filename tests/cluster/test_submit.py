"""Jobs on a real cluster of 3 nodes on this machine, as a user submits them."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

import hcvae
from cluster.local import LocalCluster

pytestmark = pytest.mark.services
Run = Callable[..., subprocess.CompletedProcess[str]]


def trials_of(results: Path, study: str = "tiny") -> list[FrozenTrial]:
    return optuna.load_study(study_name=study, storage=f"sqlite:///{results / study / 'study.db'}").trials


def test_a_submitted_search_ends_with_its_bundles_and_its_own_exit_code(submit: Run, tiny: Path):
    done = submit("--follow", "--metadata", "purpose=test", "search", "--config", tiny)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"dashboard  http://127.0.0.1:\d+/#/jobs/", done.stdout)
    assert "SUCCEEDED, exit code 0" in done.stderr
    results = tiny.parent / "results"
    assert [trial.state for trial in trials_of(results)] == [TrialState.COMPLETE] * 2
    for trial in json.loads((results / "tiny" / "pareto.json").read_text())["trials"]:
        hcvae.load(results / "tiny" / "best" / f"trial-{trial['number']}")


def test_ray_job_submit_works_as_it_is(run_there: Run, tiny: Path):
    ray = Path(sys.executable).with_name("ray")
    command = [ray, "job", "submit", "--working-dir", ".", "--", "python", "-m", "jobs.search", "--config", tiny]
    done = run_there(*command)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [trial.state for trial in trials_of(tiny.parent / "results")] == [TrialState.COMPLETE] * 2


def test_a_mistake_in_the_configuration_is_exit_code_2(submit: Run, tiny: Path):
    done = submit("--follow", "search", "--config", tiny, "--search.trails", 3)
    assert done.returncode == 2
    assert "did you mean '--search.trials'" in done.stdout


def test_a_failed_training_is_not_zero(submit: Run, tiny: Path):
    diverging = ("--training.loss_weights.reconstruction", "1e38", "--out", tiny.parent / "model")
    config = json.loads(tiny.read_text())
    del config["search"]
    tiny.write_text(json.dumps(config))
    done = submit("--follow", "train", "--config", tiny, *diverging)
    assert done.returncode == 1, done.stdout + done.stderr


def test_a_stopped_search_goes_on_when_it_is_submitted_again(submit: Run, tiny: Path):
    search = ("search", "--config", tiny, "--training.epochs", 40)
    assert submit("--submission-id", "stopped", *search).returncode == 0
    checkpoints = tiny.parent / "results" / "tiny" / "trials"
    deadline = time.monotonic() + 120
    while not list(checkpoints.glob("*/attempt-*/checkpoint*")):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert "stopped RUNNING" in submit("--status", "stopped").stdout
    done = submit("--stop", "stopped")
    assert (done.returncode, done.stdout.strip()) == (0, "stopped STOPPED")
    assert submit("--status", "stopped", "--follow").returncode == 130

    again = submit("--follow", *search)
    assert again.returncode == 0, again.stdout + again.stderr
    trials = trials_of(tiny.parent / "results")
    assert [(trial.number, trial.state) for trial in trials] == [(0, TrialState.COMPLETE), (1, TrialState.COMPLETE)]


@pytest.mark.parametrize("token", ["", "0" * 64])
def test_a_wrong_token_is_refused_with_what_to_set(submit: Run, tiny: Path, tmp_path: Path, token: str):
    path = tmp_path / "token"
    path.write_text(token)
    path.chmod(0o600)
    done = submit("search", "--config", tiny, RAY_AUTH_TOKEN_PATH=str(path))
    assert done.returncode == 2
    assert "RAY_AUTH_TOKEN_PATH to a file that holds the cluster's token" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("--env", "PGPASSWORD=quandary", "search"),
        ("search", "--search.database", "postgresql://me:quandary@db/x"),
        ("--metadata", "token=quandary", "search"),
    ],
)
def test_secrets_are_refused_and_not_repeated(submit: Run, arguments: tuple[str, ...]):
    done = submit(*arguments)
    assert done.returncode == 2
    assert "Ray would show in its job API" in done.stderr
    assert "quandary" not in done.stdout + done.stderr


def test_the_token_and_the_clusters_folder_are_the_users_alone(three_nodes: LocalCluster):
    assert three_nodes.folder.stat().st_mode & 0o077 == 0
    token = (three_nodes.folder / "token").read_text()
    assert (three_nodes.folder / "token").stat().st_mode & 0o077 == 0
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert token.encode() not in process.read_bytes()
        except OSError:
            continue
    logs = [path for path in three_nodes.folder.rglob("*") if path.is_file() and path.name != "token"]
    assert logs
    assert not [path for path in logs if os.access(path, os.R_OK) and token.encode() in path.read_bytes()]
