"""Leases, between real processes; searches in two processes lie in test_two_processes.py."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from optuna.trial import Trial, TrialState

from hcvae.storage import StoragePath
from tests.fixtures.studies import SmallSearch
from tune.study.database import Database
from tune.study.folder import StudyFolder
from tune.study.leases import HEARTBEAT_S, LEASE, Lease, Leases, Owner, heartbeats, lease_of, own_folder, study_id
from tune.study.lock import locked_folder
from tune.study.opening import open_study


def owner_of(process: int) -> Owner:
    start = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    return Owner.myself().model_copy(update={"process": process, "started": int(start), "identity": "other"})


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def opened(small_search: SmallSearch) -> Iterator[tuple[StudyFolder, optuna.Study, Database]]:
    config = small_search()
    with locked_folder(config) as folder:
        yield folder, open_study(folder, config, "data"), Database.of(config.search, folder.path)


class Clock:
    """The monotonic clock of this process, moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("tune.study.leases.time.monotonic", clock)
    return clock


def claimed(study: optuna.Study, owner: Owner, heartbeat: float = 0) -> Trial:
    """A running trial of another process."""
    trial = study.ask()
    renew(study, trial, owner, heartbeat)
    return trial


def renew(study: optuna.Study, trial: Trial, owner: Owner, heartbeat: float) -> None:
    claim = Lease(attempt=1, owner=owner, heartbeat=heartbeat, study=study_id(study), trial="id")
    study._storage.set_trial_system_attr(trial._trial_id, LEASE, claim.model_dump())


def test_a_trial_is_reclaimed_once_its_owner_is_dead(
    opened: tuple[StudyFolder, optuna.Study, Database], sleeper: "subprocess.Popen[bytes]"
) -> None:
    _, study, _ = opened
    leases = Leases(study)
    claimed(study, owner_of(sleeper.pid))
    assert leases.reclaimable(study.trials) == []
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)  # dead, and not asked after: a zombie runs no trial
    assert Path(f"/proc/{sleeper.pid}").exists()
    assert len(leases.reclaimable(study.trials)) == 1
    sleeper.wait()
    assert len(leases.reclaimable(study.trials)) == 1


def test_another_process_with_the_same_id_is_not_the_owner(sleeper: "subprocess.Popen[bytes]") -> None:
    owner = owner_of(sleeper.pid)
    assert not owner.is_gone
    assert owner.model_copy(update={"started": owner.started - 1}).is_gone


ELSEWHERE = Owner(host="elsewhere 1", process=1, started=1, identity="other")


def test_of_another_machine_only_silence_is_known(
    opened: tuple[StudyFolder, optuna.Study, Database], clock: Clock
) -> None:
    _, study, _ = opened
    leases = Leases(study)
    claimed(study, ELSEWHERE)
    found = []
    for _ in range(8):
        found.append(len(leases.reclaimable(study.trials)))
        clock.now += HEARTBEAT_S
    assert found == [0, 0, 0, 0, 0, 0, 1, 1]  # seen for the first time, then silent for 10 to 60 s


def test_an_owner_that_renews_its_claim_is_alive_whatever_its_clock_shows(
    opened: tuple[StudyFolder, optuna.Study, Database], clock: Clock
) -> None:
    _, study, _ = opened
    leases = Leases(study)
    trial = claimed(study, ELSEWHERE)
    for heartbeat in (5e9, 0, 7, 6, -1e9, 3, 5e9, 1, 2, 1):  # as if set forward and back
        renew(study, trial, ELSEWHERE, heartbeat)
        assert leases.reclaimable(study.trials) == []
        clock.now += HEARTBEAT_S


def test_a_machine_that_was_asleep_has_not_listened_meanwhile(
    opened: tuple[StudyFolder, optuna.Study, Database], clock: Clock
) -> None:
    _, study, _ = opened
    leases = Leases(study)
    claimed(study, ELSEWHERE)
    assert leases.reclaimable(study.trials) == []
    clock.now += 8 * 3600  # both slept; the other one wakes, too, and is to have the time for a heartbeat
    for _ in range(5):
        assert leases.reclaimable(study.trials) == []
        clock.now += 2


def test_a_process_never_reclaims_what_it_runs(
    opened: tuple[StudyFolder, optuna.Study, Database], clock: Clock
) -> None:
    _, study, database = opened
    leases = Leases(study)
    with database.locked() as now:
        leases.acquire(study.ask(), now - 1e6, adopted=False)
    for _ in range(20):
        assert leases.reclaimable(study.trials) == []
        clock.now += 1e6


def test_what_other_programs_ask_for_is_theirs(opened: tuple[StudyFolder, optuna.Study, Database]) -> None:
    _, study, _ = opened
    study.ask()
    assert Leases(study, alone=True).reclaimable(study.trials) == []


def test_an_adopted_trial_is_lost_to_its_first_owner(opened: tuple[StudyFolder, optuna.Study, Database]) -> None:
    _, study, database = opened
    first, second = Leases(study), Leases(study, alone=True)
    trial = study.ask()
    with database.locked() as now:
        begun = first.acquire(trial, now, adopted=False)
        assert begun.attempt == 1
        [abandoned] = second.reclaimable(study.get_trials())
        adopted = second.acquire(abandoned, now + 61, adopted=True)
        assert (adopted.attempt, adopted.trial) == (2, begun.trial)
        assert (first.holds(trial), second.holds(trial)) == (False, True)
        assert not first.renew(trial, now + 500)  # does not speak for the second
        [frozen] = study.get_trials()
        assert lease_of(frozen) == adopted
        second.release(trial)
        assert [trial.number for trial in first.reclaimable(study.get_trials())] == [0]


def test_a_copy_of_a_trial_that_is_enqueued_is_a_trial_of_its_own(
    opened: tuple[StudyFolder, optuna.Study, Database],
) -> None:
    """As optuna's RetryFailedTrialCallback does, with all attributes."""
    _, study, database = opened
    leases = Leases(study)
    with database.locked() as now:
        first = leases.acquire(study.ask(), now, adopted=False)
        [frozen] = study.get_trials()
        waiting = optuna.trial.create_trial(state=TrialState.WAITING, system_attrs=frozen.system_attrs)
        study.add_trial(waiting)
        second = leases.acquire(study.ask(), now, adopted=False, attempts=3)
    assert second.trial != first.trial
    assert second.attempt == 4  # the folders of a trial that had this number before are left alone


def test_hearts_beat_while_a_search_runs_and_it_releases_its_trials(
    opened: tuple[StudyFolder, optuna.Study, Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tune.study.leases.HEARTBEAT_S", 0.05)
    _, study, database = opened
    leases = Leases(study)
    trials: list[Trial] = [study.ask(), study.ask()]
    with database.locked() as began:
        for trial in trials:
            leases.acquire(trial, began, adopted=False)
    study.tell(trials[1], (0.5, 0.1))  # by hand: nothing is written there, and its training is told
    ended = []
    with heartbeats(database, leases, lambda: trials, ended.append):
        time.sleep(0.5)
        with database.locked():
            assert lease_of(study.get_trials()[0]).heartbeat > began
    assert {trial.number for trial in ended} == {1}
    assert [lease_of(trial).owner for trial in study.get_trials()] == [None, leases.me]


def test_folders_of_the_dead_are_removed(tmp_path: Path, sleeper: "subprocess.Popen[bytes]") -> None:
    parent = StoragePath.of(tmp_path)
    mine = own_folder(parent, Owner.myself()).path
    other = own_folder(parent, owner_of(sleeper.pid)).path
    assert own_folder(parent, Owner.myself()).is_complete()
    assert mine.exists()
    assert other.exists()
    sleeper.kill()
    sleeper.wait()
    own_folder(parent, Owner.myself())
    assert not other.exists()
    assert mine.exists()
