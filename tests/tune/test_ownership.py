"""Ownership, between real processes; searches in two processes lie in test_two_processes.py."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest
from optuna.trial import Trial

from hcvae.storage import Place
from tune.config import SearchConfig
from tune.database import Database
from tune.folder_lock import locked_folder
from tune.ownership import Claim, Owner, Ownership, adoptable, claim_of, heartbeats, own_folder
from tune.study import open_study
from tune.study_folder import StudyFolder

SmallSearch = Callable[..., SearchConfig]


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


def test_a_claim_is_free_once_its_owner_is_dead_or_silent(sleeper: "subprocess.Popen[bytes]") -> None:
    owner = owner_of(sleeper.pid)
    claim = Claim(attempt=1, owner=owner, heartbeat=1000)
    assert [claim.free(now) for now in (1000, 1059, 1061)] == [False, False, True]
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)  # dead, and not asked after: a zombie runs no trial
    assert Path(f"/proc/{sleeper.pid}").exists()
    assert claim.free(1000)
    sleeper.wait()
    assert claim.free(1000)


def test_another_process_with_the_same_id_is_not_the_owner(sleeper: "subprocess.Popen[bytes]") -> None:
    owner = owner_of(sleeper.pid)
    assert not owner.gone
    assert owner.model_copy(update={"started": owner.started - 1}).gone


def test_of_another_machine_only_silence_is_known() -> None:
    owner = Owner(host="elsewhere 1", process=1, started=1, identity="other")
    assert not owner.gone
    claim = Claim(attempt=1, owner=owner, heartbeat=1000)
    assert [claim.free(now) for now in (1059, 1061)] == [False, True]


def test_an_adopted_trial_is_lost_to_its_first_owner(opened: tuple[StudyFolder, optuna.Study, Database]) -> None:
    _, study, database = opened
    first, second = Ownership(study), Ownership(study)
    trial = study.ask()
    with database.locked() as now:
        assert first.take(trial, now) == 1
        assert adoptable(study.get_trials(), now) == []
        [silent] = adoptable(study.get_trials(), now + 61)
        assert second.take(silent, now + 61) == 2
        assert (first.holds(trial), second.holds(trial)) == (False, True)
        first.beat(trial, now + 500)  # does not speak for the second
        [frozen] = study.get_trials()
        assert claim_of(frozen) == Claim(attempt=2, owner=second.me, heartbeat=now + 61)
        second.release(trial)
        assert [trial.number for trial in adoptable(study.get_trials(), now)] == [0]


def test_hearts_beat_while_a_search_runs_and_it_releases_its_trials(
    opened: tuple[StudyFolder, optuna.Study, Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tune.ownership.HEARTBEAT_S", 0.05)
    _, study, database = opened
    ownership = Ownership(study)
    trials: list[Trial] = [study.ask(), study.ask()]
    with database.locked() as began:
        for trial in trials:
            ownership.take(trial, began)
    study.tell(trials[1], (0.5, 0.1))  # ended, and for a moment still listed: nothing is written there
    with heartbeats(database, ownership, lambda: trials[:1]):
        time.sleep(0.5)
        with database.locked():
            assert claim_of(study.get_trials()[0]).heartbeat > began
    assert [claim_of(trial).owner for trial in study.get_trials()] == [None, ownership.me]


def test_folders_of_the_dead_are_removed(tmp_path: Path, sleeper: "subprocess.Popen[bytes]") -> None:
    parent = Place.of(tmp_path)
    mine = own_folder(parent, Owner.myself()).path
    other = own_folder(parent, owner_of(sleeper.pid)).path
    assert own_folder(parent, Owner.myself()).is_whole()
    assert mine.exists()
    assert other.exists()
    sleeper.kill()
    sleeper.wait()
    own_folder(parent, Owner.myself())
    assert not other.exists()
    assert mine.exists()
