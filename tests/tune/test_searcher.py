"""What the searcher records while the study or its folder cannot be written, without Ray."""

import io
import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState

from hcvae import retrying
from hcvae.errors import StorageError
from hcvae.interruption import remembered_ctrl_c
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.studies import SmallSearch
from tune.config import SearchConfig
from tune.objectives import SPECIFIED
from tune.report.progress import JsonProgress
from tune.search.searcher import SearchCallback, StudySearcher, _reason
from tune.study.budget import Budget
from tune.study.database import Database
from tune.study.folder import StudyFolder
from tune.study.leases import Leases, lease_of
from tune.study.ledger import TrialLedger
from tune.study.lock import locked_folder
from tune.study.opening import open_study
from tune.study.outcome import Outcome
from tune.study.pareto_archive import ParetoArchive
from tune.trial.outcome import outcome_of_error


class Search:
    """A searcher with one trial handed out, and what it shows."""

    def __init__(self, folder: StudyFolder, config: SearchConfig) -> None:
        self.folder, self.study = folder, open_study(folder, config, "data")
        front, self._stream = ParetoArchive.open(folder, self.study, SPECIFIED), io.StringIO()
        progress = JsonProgress(config, front, Counter(), self._stream)
        database = Database.of(config.search, folder.path)
        self.ledger = TrialLedger(self.study, database, config, front, Budget(config.search, self.study), progress)
        self.searcher = StudySearcher(self.ledger, config, progress)
        self.searcher.suggest("a")

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._stream.getvalue().splitlines()]


@pytest.fixture
def search(small_search: SmallSearch, monkeypatch: pytest.MonkeyPatch) -> Iterator[Search]:
    monkeypatch.setattr(retrying, "RETRY_EVERY_S", 0.05)
    config = small_search()
    with locked_folder(config) as folder:
        yield Search(folder, config)


def test_a_trial_that_cannot_be_written_is_left_for_the_next_start_and_ends_the_search(search: Search) -> None:
    outcome = outcome_of_error(StorageError("cannot write checkpoint: No space left on device"), [])
    search.searcher.end("a", outcome)
    [trial] = search.study.trials
    assert trial.state == TrialState.RUNNING
    assert lease_of(trial).owner is None
    assert "failure" not in trial.user_attrs
    assert "deaths" not in trial.user_attrs
    assert search.events()[-1]["event"] == "suspended"
    with pytest.raises(StorageError, match=r"^trial 0: cannot write checkpoint: No space left on device$"):
        SearchCallback(search.searcher).on_step_end(0, [])


def test_an_adopted_trial_that_cannot_be_written_here_does_not_end_the_search(search: Search) -> None:
    [trial] = search.study.trials
    Leases(search.study).acquire(trial, 0, adopted=True)
    search.searcher.end("a", outcome_of_error(StorageError("cannot write checkpoint: No space left on device"), []))
    assert search.events()[-1]["event"] == "lost"
    SearchCallback(search.searcher).on_step_end(0, [])


def test_ctrl_c_ends_the_search_though_a_library_drops_its_interrupt(search: Search) -> None:
    with remembered_ctrl_c() as interrupted:
        search.searcher.interrupted = interrupted.is_set
        ends = SearchCallback(search.searcher)
        ends.on_step_end(0, [])
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            ends.on_step_end(0, [])


def test_a_death_is_counted_once_however_often_it_must_be_written(
    search: Search, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, refusals = search.ledger.leases.release, [StorageInternalError("database or disk is full")]

    def refused_once(trial: Any) -> None:
        if refusals:
            raise refusals.pop()
        release(trial)

    monkeypatch.setattr(search.ledger.leases, "release", refused_once)
    search.searcher.end_by_death("a", "killed")
    assert search.searcher.broken is None
    [trial] = search.study.trials
    assert trial.user_attrs["deaths"] == ["killed"]
    assert lease_of(trial).owner is None


def test_a_trial_that_ends_while_the_front_cannot_be_written_is_shown_once_it_can(search: Search) -> None:
    in_the_way = search.folder.path / f".pareto.json.{os.getpid()}.tmp"
    in_the_way.mkdir()
    threading.Timer(0.3, in_the_way.rmdir).start()
    search.searcher.end("a", Outcome(state="complete", values=(0.5, 0.1), best_epoch=None))
    assert search.searcher.broken is None
    assert [trial["number"] for trial in json.loads(search.folder.pareto.read_text())["trials"]] == [0]
    [finished] = [event for event in search.events() if event["event"] == "finished"]
    assert finished["front"] == [0]


@pytest.mark.services
def test_a_trial_that_ends_while_postgresql_is_away_is_told_once_it_is_back(
    small_search: SmallSearch,
    postgres: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("PGPASSFILE", str(postgres.password_file))
    config = small_search(study="away", database=postgres.url)
    with locked_folder(config) as folder:
        search = Search(folder, config)
        postgres.control("stop", "--mode=immediate")
        back = threading.Timer(2, postgres.control, ["start"])
        back.start()
        search.searcher.end("a", Outcome(state="complete", values=(0.5, 0.1), best_epoch=None))
        back.join()
    assert search.searcher.broken is None
    assert [trial.state for trial in search.study.trials] == [TrialState.COMPLETE]
    [record] = caplog.records
    assert record.getMessage().startswith("the study cannot be written: ")
    assert postgres.password not in record.getMessage()


def test_the_reason_of_a_death_is_the_line_that_says_it(tmp_path: Path) -> None:
    """As Ray 2.60 words them."""
    file = tmp_path / "error.txt"
    file.write_text("Failure # 1\nThe actor died unexpectedly.\n\tpid: 7\nThe actor is dead because its node died.\n")
    assert _reason(file) == "The actor is dead because its node died."
    killed = "1 worker(s) were killed due to the node running low on memory."
    file.write_text(f"Failure # 1\n{killed}\nTop 10 memory users: PID\nRefer to the documentation.\n\n")
    assert _reason(file) == killed
