"""A search in a process of its own, interrupted in several ways; then the same command again."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

import hcvae
from tune.config import SearchConfig
from tune.results import SearchResult

SmallSearch = Callable[..., SearchConfig]
EPOCHS = 25
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

    def events(self) -> Iterator[dict[str, object]]:
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
            except (FileNotFoundError, ProcessLookupError):
                continue
        return {number: line for number, line in found.items() if line}

    def end(self, timeout_s: float = 30) -> int:
        """Wait for the process, and for all that it started."""
        self.lines.read()
        code = self.process.wait(timeout_s)
        deadline = time.monotonic() + timeout_s
        while self.processes():
            assert time.monotonic() < deadline, f"left behind: {self.processes()}"
            time.sleep(0.2)
        return code


@pytest.fixture
def config(small_search: SmallSearch) -> SearchConfig:
    training = {"epochs": EPOCHS, "checkpoint_every_epochs": 1, "early_stopping_patience": None}
    return small_search(trials=3, max_concurrent=2, training=training)


def trials_of(config: SearchConfig) -> list[FrozenTrial]:
    folder = Path(config.search.storage) / config.search.study
    return optuna.load_study(study_name="small", storage=f"sqlite:///{folder / 'study.db'}").trials


def check_complete(config: SearchConfig) -> None:
    """Every trial finished once, with one unbroken history, and the front's bundles load."""
    trials = trials_of(config)
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 3
    for trial in trials:
        assert [epoch["epoch"] for epoch in trial.user_attrs["history"]] == list(range(1, EPOCHS + 1))
    result = SearchResult.load(Path(config.search.storage) / config.search.study)
    assert result.pareto
    for trial in result.pareto:
        hcvae.load(result.bundle(trial.number))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_same_command_continues_an_interrupted_search(config: SearchConfig, number: signal.Signals) -> None:
    search = Search(config)
    search.wait_for_epoch(5, trials=2)
    interrupted_at = time.monotonic()
    if number == signal.SIGINT:
        os.killpg(search.process.pid, number)  # as a terminal does
    else:
        search.process.send_signal(number)
    code = search.end()
    assert code == (-signal.SIGKILL if number == signal.SIGKILL else 130)
    assert time.monotonic() - interrupted_at < 30
    assert [trial.state for trial in trials_of(config)] == [TrialState.RUNNING] * 2
    params = [trial.params for trial in trials_of(config)]

    again = Search(config)
    first_epochs: dict[object, object] = {}
    for event in again.events():
        if event["event"] == "epoch":
            metrics = event["metrics"]
            assert isinstance(metrics, dict)
            first_epochs.setdefault(event["trial"], metrics["epoch"])
    assert again.end() == 0
    # The first two went on under their own numbers from their own checkpoints.
    assert first_epochs[0] >= 5  # type: ignore[operator]
    assert first_epochs[1] >= 5  # type: ignore[operator]
    assert first_epochs[2] == 1
    assert [trial.params for trial in trials_of(config)][:2] == params
    check_complete(config)


def kill_an_actor(search: Search) -> None:
    actors = [number for number, line in search.processes().items() if line.startswith("ray::ImplicitFunc")]
    os.kill(actors[0], signal.SIGKILL)


def test_a_killed_actor_goes_on_from_its_checkpoint(config: SearchConfig) -> None:
    search = Search(config)
    search.wait_for_epoch(5, trials=2)
    kill_an_actor(search)
    assert search.end(120) == 0
    check_complete(config)


def test_a_trial_whose_process_dies_again_and_again_fails_and_the_search_goes_on(small_search: SmallSearch) -> None:
    config = small_search(trials=2, max_concurrent=1, training={"epochs": 400, "early_stopping_patience": None})
    search = Search(config)
    for kill in range(4):
        search.wait_for_epoch(1 + kill)
        kill_an_actor(search)
    search.wait_for_epoch(1)
    ended = [trial for trial in trials_of(config) if trial.state.is_finished()]
    os.killpg(search.process.pid, signal.SIGINT)
    assert search.end() == 130
    [trial] = ended
    assert trial.state == TrialState.FAIL
    assert "process died" in trial.user_attrs["failure"]
    assert [other.state for other in trials_of(config)] == [TrialState.FAIL, TrialState.RUNNING]
    print(trial.user_attrs)
