"""A search in a process of its own, interrupted in several ways; then the same command again."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

import hcvae
from tests.fixtures.studies import SmallSearch
from tune.config import SearchConfig
from tune.report.results import SearchResult
from tune.study.trial_attributes import attributes_of

pytestmark = pytest.mark.services  # kills, and restarts of Ray: minutes

Start = Callable[[SearchConfig], "Search"]
EPOCHS = 30
MARK = "HCVAE_TEST_SEARCH"
PROGRAM = """
import sys
from tune.config import SearchConfig
from tune.search import run_search
try:
    run_search(SearchConfig.model_validate_json(sys.argv[1]), log_json=True)
except KeyboardInterrupt:
    sys.exit(130)
"""


class Search:
    """A search process, and what it says."""

    def __init__(self, config: SearchConfig) -> None:
        self.mark = f"{config.search.storage}:{time.monotonic()}"
        environment = os.environ | {MARK: self.mark, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", PROGRAM, config.model_dump_json()]
        self.process = subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        assert self.process.stdout is not None
        self.lines = self.process.stdout

    def events(self) -> Iterator[dict[str, Any]]:
        for line in self.lines:
            yield json.loads(line)

    def wait_for_epoch(self, epoch: int, trials: int = 1) -> None:
        """Until `trials` trials have reached `epoch`."""
        reached = set()
        for event in self.events():
            metrics = event.get("metrics")
            if isinstance(metrics, dict) and metrics["epoch"] >= epoch:
                reached.add(event["trial"])
            if len(reached) == trials:
                return
        pytest.fail("the search ended too early")

    def processes(self) -> dict[int, str]:
        """Command lines of its processes, Ray's included, by process id."""
        found = {}
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and f"{MARK}={self.mark}".encode() in (entry / "environ").read_bytes():
                    found[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
        return {number: line for number, line in found.items() if line}

    def actors(self) -> list[int]:
        """Process ids of the trials' actors."""
        return [number for number, line in self.processes().items() if line.startswith("ray::ImplicitFunc")]

    def end(self, timeout_s: float = 60) -> int:
        """Wait for the process and its actors."""
        self.lines.read()
        code = self.process.wait(timeout_s)
        wait_until(lambda: not self.actors())
        return code


def wait_until(condition: Callable[[], Any], timeout_s: float = 60) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (met := condition()):
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)
    return met


@pytest.fixture
def start() -> Iterator[Callable[[SearchConfig], Search]]:
    """Starts searches, and ends what they leave behind."""
    searches: list[Search] = []

    def start(config: SearchConfig) -> Search:
        searches.append(Search(config))
        return searches[-1]

    yield start
    for search in searches:
        search.process.kill()
        for number in search.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)


@pytest.fixture
def config(small_search: SmallSearch) -> SearchConfig:
    training = {"epochs": EPOCHS, "checkpoint_every_epochs": 1, "early_stopping_patience": None}
    return small_search(trials=3, max_concurrent=2, training=training)


def trials_of(config: SearchConfig) -> list[FrozenTrial]:
    folder = Path(config.search.storage) / config.search.study
    return optuna.load_study(study_name="small", storage=f"sqlite:///{folder / 'study.db'}").trials


def damage_checkpoints(config: SearchConfig) -> None:
    """Delete the first trial's checkpoints, and cut a file of the second's short."""
    trials = Path(config.search.storage) / config.search.study / "trials"
    shutil.rmtree(trials / "0" / "attempt-1" / "checkpoint")
    for file in (trials / "1" / "attempt-1").glob("checkpoint/epoch-*/optimizer.safetensors"):
        os.truncate(file, file.stat().st_size - 1)


def check_complete(config: SearchConfig) -> None:
    """Every trial finished once, with one unbroken history, and the front's bundles load."""
    trials = trials_of(config)
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 3
    for trial in trials:
        assert [epoch["epoch"] for epoch in attributes_of(trial)["epochs_reported"]] == list(range(1, EPOCHS + 1))
    result = SearchResult.open(Path(config.search.storage) / config.search.study)
    assert result.pareto
    for trial in result.pareto:
        hcvae.load(result.bundle(trial.number))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_the_same_command_continues_an_interrupted_search(
    config: SearchConfig, start: Start, number: signal.Signals
) -> None:
    search = start(config)
    search.wait_for_epoch(3, trials=2)
    if number == signal.SIGINT:
        os.killpg(search.process.pid, number)  # as a terminal does
    else:
        search.process.send_signal(number)
    if number == signal.SIGKILL:
        assert search.end() == -signal.SIGKILL
        damage_checkpoints(config)
    else:
        assert search.end() == 130
        wait_until(lambda: not search.processes())
    params = [trial.params for trial in trials_of(config)]
    assert [trial.state for trial in trials_of(config)] == [TrialState.RUNNING] * 2
    trials = Path(config.search.storage) / config.search.study / "trials"
    last = trials.glob(f"*/attempt-1/checkpoint/epoch-{EPOCHS:04}")
    at_the_end = {int(checkpoint.parents[2].name) for checkpoint in last}

    again = start(config)
    first_epochs: dict[Any, float] = {}
    for event in again.events():
        if event["event"] == "epoch":
            first_epochs.setdefault(event["trial"], event["metrics"]["epoch"])
    assert again.end() == 0
    # The first two went on under their own numbers, from their own checkpoints where these are whole: the last epoch
    # told of may be lost, and one that had kept its last may have none to tell of.
    if number == signal.SIGINT:
        assert all(first_epochs[trial] >= 3 for trial in {0, 1}.difference(at_the_end))
    else:
        assert first_epochs[0] == first_epochs[1] == 1
    assert first_epochs[2] == 1
    assert [trial.params for trial in trials_of(config)][:2] == params
    check_complete(config)


def test_a_killed_actor_goes_on_from_its_checkpoint(config: SearchConfig, start: Start) -> None:
    search = start(config)
    search.wait_for_epoch(3, trials=2)
    os.kill(search.actors()[0], signal.SIGKILL)
    assert search.end(120) == 0
    check_complete(config)
    recorded = [attributes_of(trial) for trial in trials_of(config)]
    [deaths] = [attributes["deaths"] for attributes in recorded if "deaths" in attributes]
    assert len(deaths) == 1
    assert "worker process has died" in deaths[0]


def test_a_trial_whose_process_keeps_dying_fails_and_the_search_goes_on(
    small_search: SmallSearch, start: Start
) -> None:
    """A trial is started again three times; the fourth death is its end."""
    search = start(small_search(trials=2, max_concurrent=1, training={"epochs": 20, "early_stopping_patience": None}))
    killed: set[int] = set()
    for _ in range(4):
        [actor] = wait_until(lambda: set(search.actors()).difference(killed))
        os.kill(actor, signal.SIGKILL)
        killed.add(actor)
    first, second = (event for event in search.events() if event["event"] == "finished")
    assert search.end() == 0
    assert (first["number"], first["state"]) == (0, "fail")
    assert "process died" in first["failure"]
    assert (second["number"], second["state"]) == (1, "complete")
