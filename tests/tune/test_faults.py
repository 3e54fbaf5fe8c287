"""Faults of the machine in the middle of a search, each a real one; docs/resume.md has the table of them all."""

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from optuna.trial import FrozenTrial, TrialState
from ray._common.utils import get_system_memory
from ray._private.utils import get_used_memory

import hcvae
from hcvae.errors import UserError
from tests.fixtures.running_search import RunningSearch, newest_checkpoint
from tests.fixtures.studies import SmallSearch, small_search_config
from tune.report.results import SearchResult
from tune.study.folder import StudyFolder
from tune.study.leases import lease_of
from tune.study.lock import locked_folder
from tune.study.trial_attributes import attributes_of

pytestmark = pytest.mark.services
EPOCHS = 40
PROGRAM = """
import sys
import hcvae.retrying, tune.study.ledger
hcvae.retrying.RETRY_FOR_S, tune.study.ledger.MAX_RESTARTS = {patience_s}, 1
from hcvae import command_line
from jobs import search
sys.exit(command_line.main(search.run))
"""


class Disk:
    """A file system of a few MiB, which somebody else can fill."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self, until: Callable[[], bool]) -> None:
        """Take all room, and what becomes free meanwhile, until something has been refused."""
        deadline = time.monotonic() + 240  # the trials have a low priority
        with self._filler.open("ab", buffering=0) as filler:
            while True:
                with suppress(OSError):
                    while True:
                        filler.write(bytes(4096))
                if until():
                    return
                assert time.monotonic() < deadline, "nothing was refused"

    def empty(self) -> None:
        self._filler.unlink()


@contextmanager
def mounted_disk(folder: Path) -> Iterator[Disk]:
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", folder], check=True)
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def start(config: Path, errors: Path, patience_s: float = 60) -> RunningSearch:
    return RunningSearch(config, ("-c", PROGRAM.format(patience_s=patience_s)), errors)


def actor(search: RunningSearch) -> psutil.Process:
    """The process that trains."""
    started = psutil.Process(search.process.pid).children(recursive=True)
    [found] = [process for process in started if process.name().startswith("ray::ImplicitFun")]
    return found


def refusals(what: Path, since: float) -> int:
    """How often the trials' processes have logged that something below `what` was refused."""
    logs = (log for log in Path("/tmp/ray").glob("session_*/logs/worker-*.err") if log.stat().st_mtime >= since)
    return sum(log.read_text().count(f"cannot write {what}") for log in logs)


def refuse(disk: Disk, search: RunningSearch, what: Path, since: float) -> None:
    """Fill the disk until the trial cannot write to `what`; it stands still while there is room."""
    before, process = refusals(what, since), actor(search)
    process.suspend()
    disk.fill(lambda: True)
    process.resume()
    disk.fill(lambda: refusals(what, since) > before)


def memory_limit() -> float:
    """The bytes in use at which Ray kills: half of the free memory, and not more than 5 GiB, may be taken."""
    used = get_used_memory()
    return float(used + min((get_system_memory() - used) / 2, 5 * 2**30))


def take_memory(limit: float, until: Callable[[], bool]) -> None:
    """Keep the machine's memory in use above `limit`, in bytes, until something has happened; then free it."""
    taken: list[bytearray] = []
    deadline = time.monotonic() + 120
    while not until():
        while get_used_memory() < limit + 2**28:
            taken.append(bytearray(b"1") * 2**26)
        assert time.monotonic() < deadline, "nothing was killed"
        time.sleep(0.1)


def wait_for_epoch(search: RunningSearch, trial: int, epoch: int) -> None:
    for event in search.events():
        if event["event"] == "epoch" and event["trial"] == trial and event["metrics"]["epoch"] >= epoch:
            return
    pytest.fail("the search ended too early")


def test_a_full_disk_is_refused_at_the_start(small_search: SmallSearch, tmp_path: Path) -> None:
    with mounted_disk(tmp_path / "disk") as disk:
        disk.fill(lambda: True)
        config = small_search(storage=str(disk.folder))
        with pytest.raises(UserError, match=r"cannot write to .*: No space left on device"), locked_folder(config):
            pass


@dataclass(frozen=True)
class GivenUp:
    """What a search left that waited in vain for room on a full disk."""

    exit_code: int
    last_error: str
    pareto: dict[str, Any]
    states: list[TrialState]


@dataclass(frozen=True)
class Outlived:
    """A search of three trials that has met all faults, and ended."""

    folder: StudyFolder
    first: GivenUp
    exit_code: int
    errors: str

    @property
    def trials(self) -> list[FrozenTrial]:
        return self.folder.load().trials


@pytest.fixture(scope="module")
def outlived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outlived]:
    """A search that gives up on a full disk; its command again, which meets a full disk twice and more faults."""
    tmp_path = tmp_path_factory.mktemp("faults")
    with mounted_disk(tmp_path / "disk") as disk, pytest.MonkeyPatch.context() as patch:
        config = write_config(disk, tmp_path / "config.json")
        folder = StudyFolder(disk.folder / "small")
        errors = tmp_path / "errors"
        began = time.time()
        first = give_up(start(config, errors, patience_s=3), disk, folder, errors, began)
        limit = memory_limit()
        patch.setenv("RAY_memory_usage_threshold", str(limit / get_system_memory()))
        again = start(config, errors)
        make_room_in_time(again, disk, folder, errors, began)
        # The next trial is killed twice, as others take the memory. The folder of the last is deleted under it.
        wait_for_epoch(again, 1, 1)
        take_memory(limit, lambda: folder.load().trials[1].state == TrialState.FAIL)
        wait_for_epoch(again, 2, 3)
        shutil.rmtree(folder.trial(2))
        for _ in again.events():
            pass
        exit_code = again.process.wait(120)
        yield Outlived(folder, first, exit_code, errors.read_text())


def write_config(disk: Disk, file: Path) -> Path:
    sizes = (32, 33, 34)
    settings = {
        "trials": 3,
        "max_concurrent": 1,
        "space": {"model.local_latent_dim": {"type": "choice", "choices": sizes}},
        "first_trials": [{"model.local_latent_dim": size} for size in sizes],
        "training": {"epochs": EPOCHS, "early_stopping_patience": None, "checkpoint_every_epochs": 1},
    }
    file.write_text(small_search_config(disk.folder, **settings).model_dump_json())
    return file


def give_up(search: RunningSearch, disk: Disk, folder: StudyFolder, errors: Path, began: float) -> GivenUp:
    """Fill the disk: a checkpoint waits, then the driver, too, but not for ever."""
    wait_for_epoch(search, 0, 3)
    refuse(disk, search, folder.trial(0), began)
    actor(search).kill()
    disk.fill(lambda: search.process.poll() is not None)
    assert search.process.returncode is not None
    pareto = json.loads(folder.pareto.read_text())
    disk.empty()
    states = [trial.state for trial in folder.load().trials]
    return GivenUp(search.process.returncode, errors.read_text().splitlines()[-1], pareto, states)


def make_room_in_time(search: RunningSearch, disk: Disk, folder: StudyFolder, errors: Path, began: float) -> None:
    """Fill the disk twice, and make room: first in time for the trial, then in time for the driver."""
    for kill in (False, True):
        wait_for_epoch(search, 0, newest_checkpoint(folder.path, 0) + 3)
        refuse(disk, search, folder.trial(0), began)
        if kill:
            actor(search).kill()
            disk.fill(lambda: "the study cannot be written" in errors.read_text())
        disk.empty()


def test_a_search_gives_up_on_a_disk_that_stays_full(outlived: Outlived) -> None:
    assert outlived.first.exit_code == 2
    said = outlived.first.last_error
    assert said.startswith("error: the study cannot be written: ")
    assert "disk is full" in said
    assert said.endswith("the same command continues")


def test_a_full_disk_leaves_the_study_as_it_was(outlived: Outlived) -> None:
    assert outlived.first.pareto["trials"] == []
    assert outlived.first.states.count(TrialState.RUNNING) == 1


def test_the_same_command_ends_well_in_spite_of_all_faults(outlived: Outlived) -> None:
    assert outlived.exit_code == 0, outlived.errors
    trials = outlived.trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE, TrialState.FAIL, TrialState.COMPLETE]
    assert [lease_of(trial).attempt for trial in trials] == [3, 2, 1]


def test_the_deaths_of_a_trial_are_recorded_with_their_causes(outlived: Outlived) -> None:
    first, second, _ = map(attributes_of, outlived.trials)
    assert len(first["deaths"]) == 1
    assert "worker process has died" in first["deaths"][0]
    assert len(second["deaths"]) == 2
    assert all("low on memory" in death for death in second["deaths"])
    assert "low on memory" in second["failure"]


def test_the_history_of_an_interrupted_trial_has_every_epoch_once(outlived: Outlived) -> None:
    for trial in (outlived.trials[0], outlived.trials[2]):
        assert [epoch["epoch"] for epoch in attributes_of(trial)["epochs_reported"]] == list(range(1, EPOCHS + 1))


def test_the_front_is_whole_after_all_faults(outlived: Outlived) -> None:
    result = SearchResult.open(outlived.folder.path)
    written = json.loads(outlived.folder.pareto.read_text())["trials"]
    assert {member["number"] for member in written} == {member.number for member in result.pareto}
    for member in result.pareto:
        hcvae.load(result.bundle(member.number))


def test_a_trial_of_two_workers_outlives_its_leader(small_search: SmallSearch, tmp_path: Path) -> None:
    """The CPUs of the workers that it led are free for the next attempt, though no dashboard can say that it died."""
    training = {"epochs": 12, "early_stopping_patience": None, "checkpoint_every_epochs": 1}
    config = small_search(trials=1, workers=2, training=training)
    file = tmp_path / "config.json"
    file.write_text(config.model_dump_json())
    search = RunningSearch(file)
    wait_for_epoch(search, 0, 3)
    for process in psutil.Process(search.process.pid).children(recursive=True):
        if process.name().startswith("ray::ImplicitFu"):
            process.kill()
    for _ in search.events():
        pass
    assert search.process.wait(60) == 0
    [trial] = StudyFolder(tmp_path / "small").load().trials
    assert trial.state == TrialState.COMPLETE
    deaths = attributes_of(trial)["deaths"]
    assert "worker process has died" in deaths[0]
    assert lease_of(trial).attempt == 1 + len(deaths), deaths  # on a busy machine another attempt can die
    assert [epoch["epoch"] for epoch in attributes_of(trial)["epochs_reported"]] == list(range(1, 13))
