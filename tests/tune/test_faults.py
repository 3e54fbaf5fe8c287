"""Faults of the machine in the middle of a search, each a real one; docs/resume.md has the table of them all."""

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from optuna.trial import TrialState
from ray._common.utils import get_system_memory
from ray._private.utils import get_used_memory

import hcvae
from benchmarks.kills import Search, newest_checkpoint
from hcvae.errors import UserError
from tune.config import SearchConfig
from tune.report.results import SearchResult
from tune.study.folder import StudyFolder
from tune.study.leases import lease_of
from tune.study.lock import locked_folder
from tune.study.trial_attributes import attributes_of

pytestmark = pytest.mark.services
SmallSearch = Callable[..., SearchConfig]
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
        deadline = time.monotonic() + 120
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


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", folder], check=True)
    yield Disk(folder)
    subprocess.run(["umount", "--lazy", folder], check=True)


def start(config: Path, errors: Path, patience_s: float = 60) -> Search:
    return Search(config, ("-c", PROGRAM.format(patience_s=patience_s)), errors)


def actor(search: Search) -> psutil.Process:
    """The process that trains."""
    started = psutil.Process(search.process.pid).children(recursive=True)
    [found] = [process for process in started if process.name().startswith("ray::ImplicitFun")]
    return found


def refusals(what: Path, since: float) -> int:
    """How often the trials' processes have logged that something below `what` was refused."""
    logs = (log for log in Path("/tmp/ray").glob("session_*/logs/worker-*.err") if log.stat().st_mtime >= since)
    return sum(log.read_text().count(f"cannot write {what}") for log in logs)


def refuse(disk: Disk, search: Search, what: Path, since: float) -> None:
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


def wait_for_epoch(search: Search, trial: int, epoch: int) -> None:
    for event in search.events():
        if event["event"] == "epoch" and event["trial"] == trial and event["metrics"]["epoch"] >= epoch:
            return
    pytest.fail("the search ended too early")


def test_a_full_disk_is_refused_at_the_start(small_search: SmallSearch, disk: Disk) -> None:
    disk.fill(lambda: True)
    config = small_search(storage=str(disk.folder))
    with pytest.raises(UserError, match=r"cannot write to .*: No space left on device"), locked_folder(config):
        pass


def test_a_search_outlives_full_disks_memory_that_is_out_and_folders_that_are_deleted(
    small_search: SmallSearch, disk: Disk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = (32, 33, 34)
    space = {"model.local_latent_dim": {"type": "choice", "choices": sizes}}
    config = small_search(
        storage=str(disk.folder),
        trials=3,
        max_concurrent=1,
        space=space,
        first_trials=[{"model.local_latent_dim": size} for size in sizes],
        training={"epochs": EPOCHS, "early_stopping_patience": None, "checkpoint_every_epochs": 1},
    )
    file, errors = tmp_path / "config.json", tmp_path / "errors"
    file.write_text(config.model_dump_json())
    folder, began = StudyFolder(disk.folder / "small"), time.time()

    # The disk is full: a checkpoint waits, then the driver too, but not for ever.
    first = start(file, errors, patience_s=3)
    wait_for_epoch(first, 0, 3)
    refuse(disk, first, folder.trial(0), began)
    actor(first).kill()
    disk.fill(lambda: first.process.poll() is not None)
    assert first.process.returncode == 2
    said = errors.read_text().splitlines()[-1]
    assert said.startswith("error: the study cannot be written: ")
    assert "disk is full" in said
    assert said.endswith("the same command goes on")
    assert json.loads(folder.pareto.read_text())["trials"] == []
    disk.empty()
    assert [trial.state for trial in folder.load().trials].count(TrialState.RUNNING) == 1

    # The same command goes on. It is full again: now room is made in time, first for the trial, then for the driver.
    limit = memory_limit()
    monkeypatch.setenv("RAY_memory_usage_threshold", str(limit / get_system_memory()))
    again = start(file, errors)
    for kill in (False, True):
        wait_for_epoch(again, 0, newest_checkpoint(folder.path, 0) + 3)
        refuse(disk, again, folder.trial(0), began)
        if kill:
            actor(again).kill()
            disk.fill(lambda: "the study cannot be written" in errors.read_text())
        disk.empty()
    # The next trial is killed twice, as others take the memory. The folder of the last is deleted under it.
    wait_for_epoch(again, 1, 1)
    take_memory(limit, lambda: folder.load().trials[1].state == TrialState.FAIL)
    wait_for_epoch(again, 2, 3)
    shutil.rmtree(folder.trial(2))
    for _ in again.events():
        pass
    assert again.process.wait(120) == 0, errors.read_text()

    trials = folder.load().trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE, TrialState.FAIL, TrialState.COMPLETE]
    assert [lease_of(trial).attempt for trial in trials] == [3, 2, 1]
    assert len(attributes_of(trials[0])["deaths"]) == 1
    assert "worker process has died" in attributes_of(trials[0])["deaths"][0]
    assert len(attributes_of(trials[1])["deaths"]) == 2
    assert all("low on memory" in death for death in attributes_of(trials[1])["deaths"])
    assert "low on memory" in attributes_of(trials[1])["failure"]
    for trial in (trials[0], trials[2]):
        assert [epoch["epoch"] for epoch in attributes_of(trial)["epochs_reported"]] == list(range(1, EPOCHS + 1))
    result = SearchResult.open(folder.path)
    assert {member["number"] for member in json.loads(folder.pareto.read_text())["trials"]} == {
        member.number for member in result.pareto
    }
    for member in result.pareto:
        hcvae.load(result.bundle(member.number))


def test_a_trial_of_two_workers_outlives_its_leader(small_search: SmallSearch, tmp_path: Path) -> None:
    """The CPUs of the workers that it led are free for the next attempt, though no dashboard can say that it died."""
    training = {"epochs": 12, "early_stopping_patience": None, "checkpoint_every_epochs": 1}
    config = small_search(trials=1, workers=2, training=training)
    file = tmp_path / "config.json"
    file.write_text(config.model_dump_json())
    search = Search(file)
    wait_for_epoch(search, 0, 3)
    for process in psutil.Process(search.process.pid).children(recursive=True):
        if process.name().startswith("ray::ImplicitFu"):
            process.kill()
    for _ in search.events():
        pass
    assert search.process.wait(60) == 0
    [trial] = StudyFolder(tmp_path / "small").load().trials
    assert trial.state == TrialState.COMPLETE
    assert lease_of(trial).attempt == 2
    assert [epoch["epoch"] for epoch in attributes_of(trial)["epochs_reported"]] == list(range(1, 13))
