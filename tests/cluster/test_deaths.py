"""Deaths in the middle of a submitted search: the node of a training worker, that of a trial's leader, the job."""

import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import psutil
import pytest
from optuna.trial import FrozenTrial, TrialState

import hcvae
from cluster.local import LocalCluster, local_cluster
from cluster.nodes import Node
from tune.study.leases import lease_of
from tune.study.trial_attributes import attributes_of

pytestmark = pytest.mark.services
Run = Callable[..., subprocess.CompletedProcess[str]]
WORKER = "RayTrainWorker"
LEADERS = ("ImplicitFunc", "TrainController")
"""Classes of the actors that lead a trial: Ray Tune's function, and Ray Train's controller."""
PATIENCE_S = 120
EPOCHS = 30


@pytest.fixture(scope="module")
def three_nodes() -> Iterator[LocalCluster]:
    """A head without a CPU, where nothing is trained, and 3 nodes with 1 CPU each: one more than a trial needs."""
    with local_cluster([0, 1, 1, 1]) as cluster:
        yield cluster


@pytest.fixture
def two_workers(tiny: Path) -> Path:
    config = json.loads(tiny.read_text())
    config["search"] |= {"workers": 2}
    config["training"]["epochs"] = EPOCHS
    tiny.write_text(json.dumps(config))
    return tiny


def study_of(config: Path) -> list[FrozenTrial]:
    storage = f"sqlite:///{config.parent / 'results' / 'tiny' / 'study.db'}"
    return optuna.load_study(study_name="tiny", storage=storage).trials


def wait_for(condition: Callable[[], Any], what: str, seconds: float = PATIENCE_S) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what}: not in {seconds} s"
        time.sleep(0.1)
    return found


def epochs_of(config: Path) -> dict[tuple[int, int], int]:
    """The newest checkpoint of each attempt, by trial and attempt."""
    newest: dict[tuple[int, int], int] = {}
    for checkpoint in (config.parent / "results" / "tiny" / "trials").glob("*/attempt-*/checkpoint/epoch-????"):
        attempt = checkpoint.parents[1]
        key = int(attempt.parent.name), int(attempt.name.removeprefix("attempt-"))
        newest[key] = max(newest.get(key, 0), int(checkpoint.name.removeprefix("epoch-")))
    return newest


def actors(cluster: LocalCluster) -> list[dict[str, Any]]:
    token = (cluster.folder / "token").read_text()
    address = f"{cluster.dashboard}/api/v0/actors?detail=1"
    request = urllib.request.Request(address, headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        found = json.load(answer)["data"]["result"]["result"]
    return [actor for actor in found if actor["state"] == "ALIVE"]


def places(cluster: LocalCluster, *classes: str) -> list[Node]:
    """The nodes on which live actors of these classes run."""
    pids = {actor["pid"] for actor in actors(cluster) if actor["class_name"].startswith(classes)}
    return [node for node in cluster.nodes if pids & {process.pid for process in node.processes()}]


def test_a_search_outlives_its_nodes(
    three_nodes: LocalCluster, submit: Run, two_workers: Path, capsys: pytest.CaptureFixture[str]
):
    assert submit("--submission-id", "nodes", "search", "--config", two_workers).returncode == 0
    for trial, victim in enumerate(("worker", "leader")):
        wait_for(lambda trial=trial: epochs_of(two_workers).get((trial, 1), 0) >= 3, f"trial {trial}'s third epoch")
        workers, leaders = places(three_nodes, WORKER), places(three_nodes, *LEADERS)
        assert len(workers) == 2
        assert leaders
        only_work = [node for node in workers if node not in leaders]
        (only_work[0] if victim == "worker" else leaders[0]).kill()
        killed, reached = time.monotonic(), epochs_of(two_workers)[trial, 1]
        wait_for(
            lambda trial=trial, reached=reached: epochs_of(two_workers).get((trial, 2), 0) > reached,
            f"an epoch of the second attempt at trial {trial}",
        )
        with capsys.disabled():
            seconds = time.monotonic() - killed
            print(f"\nnode of a {victim} killed at epoch {reached}: the next epoch ended {seconds:.1f} s later")
        three_nodes.add_node(1)

    wait_for(lambda: "RUNNING" not in submit("--status", "nodes").stdout, "the end of the search")
    assert submit("--status", "nodes", "--follow").returncode == 0
    trials = study_of(two_workers)
    assert [(trial.number, trial.state) for trial in trials] == [(0, TrialState.COMPLETE), (1, TrialState.COMPLETE)]
    assert [lease_of(trial).attempt for trial in trials] == [2, 2]
    for trial in trials:  # none was begun again: an epoch has one row
        assert [row["epoch"] for row in attributes_of(trial)["epochs_reported"]] == list(range(1, EPOCHS + 1))
    for member in json.loads((two_workers.parent / "results" / "tiny" / "pareto.json").read_text())["trials"]:
        hcvae.load(two_workers.parent / "results" / "tiny" / "best" / f"trial-{member['number']}")


def test_a_killed_job_goes_on_when_it_is_submitted_again(submit: Run, tiny: Path):
    search = ("search", "--config", tiny, "--training.epochs", 20, "--search.trials", 3, "--search.max_concurrent", 1)
    assert submit("--submission-id", "killed", *search).returncode == 0
    wait_for(lambda: epochs_of(tiny).get((1, 1), 0) >= 2, "the second trial's second epoch")
    before = study_of(tiny)
    owner = lease_of(before[1]).owner
    assert owner is not None
    assert "jobs.search" in psutil.Process(owner.process).cmdline()
    os.kill(owner.process, signal.SIGKILL)
    wait_for(lambda: "FAILED" in submit("--status", "killed").stdout, "the job's end")

    again = submit("--follow", *search)
    assert again.returncode == 0, again.stdout + again.stderr
    trials = study_of(tiny)
    assert [(trial.number, trial.state) for trial in trials] == [(n, TrialState.COMPLETE) for n in range(3)]
    assert lease_of(trials[0]).attempt == 1
    assert trials[0].datetime_complete == before[0].datetime_complete
    assert lease_of(trials[1]).attempt == 2
    assert [row["epoch"] for row in attributes_of(trials[1])["epochs_reported"]] == list(range(1, 21))
