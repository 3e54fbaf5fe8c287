"""Transactions, seen from another connection; and what a trial costs the database, counted."""

import json
from collections import Counter

import optuna
import pytest
import sqlalchemy.event
from optuna.exceptions import StorageInternalError
from optuna.trial import Trial, TrialState

from tests.fixtures.postgres import PostgresServer
from tests.fixtures.studies import OpenedStudy, SmallSearch
from tune.objectives import SPECIFIED
from tune.report.progress import Progress
from tune.search.searcher import StudySearcher
from tune.study.budget import Budget
from tune.study.database import Database, retry
from tune.study.ledger import TrialLedger
from tune.study.lock import locked_folder
from tune.study.opening import open_study
from tune.study.outcome import Outcome
from tune.study.pareto_archive import ParetoArchive
from tune.study.transaction import transaction


def test_others_see_all_of_it_at_its_end(opened: OpenedStudy) -> None:
    folder, study = opened
    other = folder.load()
    with transaction(study):
        trial = study.ask()
        trial.suggest_float("x", 0, 1)
        trial.set_user_attr("seen", True)
        assert other.trials == []
        study.tell(trial, (0.5, 0.1))
    [seen] = other.trials
    assert (seen.params, seen.user_attrs, seen.values) == (trial.params, {"seen": True}, [0.5, 0.1])
    study.ask()  # each by itself again
    assert len(other.trials) == 2


def test_an_exception_leaves_nothing_and_the_study_goes_on(opened: OpenedStudy) -> None:
    folder, study = opened
    running = study.ask()

    def fail() -> None:
        with transaction(study):
            running.set_user_attr("lost", True)
            study.tell(study.ask(), (0.5, 0.1))
            assert len(study.trials) == 2
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    for seen in (study, folder.load()):
        assert [(trial.state, trial.user_attrs) for trial in seen.trials] == [(TrialState.RUNNING, {})]
    assert study.ask().number == 1


def test_a_part_that_optuna_leaves_out_in_silence_fails_all(opened: OpenedStudy) -> None:
    _, study = opened
    trial = study.ask()
    distribution = optuna.distributions.FloatDistribution(0, 1)

    def write() -> None:
        with transaction(study):
            trial.set_user_attr("lost", True)
            for _ in range(2):  # the second breaks a rule of the table: Optuna takes it for another process's doing
                study._storage.set_trial_param(trial._trial_id, "x", 0.5, distribution)

    with pytest.raises(StorageInternalError):
        write()
    [seen] = study.trials
    assert (seen.params, seen.user_attrs) == ({}, {})


@pytest.mark.services
def test_a_server_that_restarts_within_it_leaves_one_trial(
    small_search: SmallSearch, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSFILE", str(postgres.password_file))
    config = small_search(study="transaction", database=postgres.url)
    with locked_folder(config) as folder:
        study = open_study(folder, config, "data")
        restarts = iter([True, False])

        def hand_out() -> Trial:
            with transaction(study):
                trial = study.ask()
                trial.suggest_float("x", 0, 1)
                if next(restarts):
                    postgres.control("restart", "--mode=immediate")
                trial.set_user_attr("kept", True)
            return trial

        assert retry(hand_out).number == 0
        [seen] = folder.load().trials
        assert (seen.number, list(seen.params), seen.user_attrs) == (0, ["x"], {"kept": True})


def test_a_late_trial_costs_the_database_no_more_than_an_early_one(small_search: SmallSearch) -> None:
    """One commit to hand it out, one to end it; and as many statements as for the trials before."""
    config = small_search(trials=30, sampler="random")
    with locked_folder(config) as folder:
        study = open_study(folder, config, "data")
        front = ParetoArchive.open(folder, study, SPECIFIED)
        progress = Progress(config, front, Counter())
        database = Database.of(config.search, folder.path)
        ledger = TrialLedger(study, database, config, front, Budget(config.search, study), progress)
        searcher = StudySearcher(ledger, config, progress)
        costs = [_cost(searcher, study, str(number)) for number in range(30)]
    assert {commits for commits, _ in costs} == {2}
    assert costs[29] == costs[5]


def _cost(searcher: StudySearcher, study: optuna.Study, name: str) -> tuple[int, int]:
    """Commits and statements of one trial."""
    storage = study._storage
    assert isinstance(storage, optuna.storages._CachedStorage)
    engine = storage._backend.engine
    counted = Counter[str]()

    def committed(_: object) -> None:
        counted["commits"] += counted["written"] > 0
        counted["written"] = 0

    def executed(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        counted["statements"] += 1
        counted["written"] += not statement.startswith("SELECT")

    listeners = (("commit", committed), ("before_cursor_execute", executed))
    for event, listener in listeners:
        sqlalchemy.event.listen(engine, event, listener)
    try:
        suggestion = searcher.suggest(name)
        assert isinstance(suggestion, dict)
        (suggestion["attempt"].place.path / "bundle").mkdir(parents=True)
        outcome = Outcome(state="failed", failure="not tried")
        searcher.on_trial_complete(name, {"message": json.dumps({"epoch": None, "outcome": outcome.model_dump()})})
        assert searcher.broken is None
    finally:
        for event, listener in listeners:
            sqlalchemy.event.remove(engine, event, listener)
    return counted["commits"], counted["statements"]
