import math

import optuna
import pytest
import ray
from optuna.trial import TrialState

from hcvae.errors import UserError
from tests.fixtures.studies import SmallSearch
from tune.early_stopping.actor import (
    Decisions,
    Listener,
    Stop,
    ask_of,
    check_early_stopping,
    reported_at_rungs,
    start_decisions,
)
from tune.objectives import SPECIFIED
from tune.study.lock import locked_folder
from tune.study.opening import open_study

EARLY = {"eta": 2, "min_epochs": 1}


def metrics(epoch: int, nmse: float = 0.5, score: float = 0.5, seconds: float = 1) -> dict[str, float]:
    return {
        "epoch": epoch,
        "reconstruction_nmse": nmse,
        "disentanglement": score,
        "seconds": seconds,
        "seconds_so_far": seconds * epoch,
    }


def test_nothing_is_stopped_without_a_reason(small_search: SmallSearch) -> None:
    decisions = Decisions(small_search(), {})
    assert decisions.decide(0, 1, metrics(1, math.nan, math.nan, 1e9)) is None


def test_a_trial_that_falls_behind_is_pruned_and_stays_so(small_search: SmallSearch) -> None:
    decisions = Decisions(small_search(training={"epochs": 8}, early_stopping=EARLY), {})
    assert decisions.decide(0, 1, metrics(1, 0.1)) is None
    stop = decisions.decide(1, 1, metrics(1, 0.2))
    assert stop is not None
    assert stop.state == "pruned"
    assert "best 1/2 of the trials that reached epoch 1" in stop.reason
    # Started again after its process died, it is told the same.
    assert decisions.decide(1, 1, metrics(2, 0.0)) == stop
    assert decisions.decide(0, 1, metrics(2, 0.9)) is None


def test_a_trial_has_its_seconds(small_search: SmallSearch) -> None:
    decisions = Decisions(small_search(trial_seconds=5), {})
    assert decisions.decide(0, 1, metrics(2, seconds=2)) is None
    stop = decisions.decide(0, 1, metrics(3, seconds=2))
    assert stop is not None
    assert stop.state == "pruned"
    assert "search.trial_seconds: 6 s" in stop.reason


def test_a_search_has_its_seconds(small_search: SmallSearch, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    decisions = Decisions(small_search(search_seconds=60), {})
    now = 159.0
    assert decisions.decide(0, 1, metrics(1)) is None
    now = 161.0
    stop = decisions.decide(0, 1, metrics(2))
    assert stop is not None
    assert stop.state == "suspended"


def test_a_listener_tells_asks_and_remembers() -> None:
    told: list[dict[str, float]] = []
    stop = Stop(state="pruned", reason="enough")
    listener = Listener(told.append, lambda found: stop if found["epoch"] == 2 else None)
    assert [listener(metrics(1)), listener(metrics(2))] == [True, False]
    assert listener.stop == stop
    assert told == listener.history == [metrics(1), metrics(2)]
    assert Listener(told.append)(metrics(1))


def test_the_books_of_a_study_hold_what_was_reported(small_search: SmallSearch) -> None:
    config = small_search()
    with locked_folder(config) as folder:
        study = open_study(folder, config, "data")
        trials = [study.ask() for _ in range(4)]
        history = [metrics(epoch, 1 / epoch) for epoch in (1, 2, 3, 4)]
        history[0]["reconstruction_nmse"] = None  # type: ignore[assignment] # as JSON has what is not finite
        for trial, epochs in zip(trials[:2], (4, 1), strict=True):
            trial.set_user_attr("history", history[:epochs])
        trials[2].set_user_attr("rungs", [metrics(1, 0.7, 0.2), metrics(3, 0.6, 0.3)])
        study.tell(trials[0], (0.2, 0.5))
        study.tell(trials[1], state=TrialState.PRUNED)
        found = reported_at_rungs(study, (1, 3), SPECIFIED)
    nan = pytest.approx(math.nan, nan_ok=True)
    assert found[0] == {1: (nan, 0.5), 3: (1 / 3, 0.5)}
    assert found[1] == {1: (nan, 0.5)}
    assert found[2] == {1: (0.7, 0.2), 3: (0.6, 0.3)}
    assert found[3] == {}


def test_decisions_made_anew_know_the_earlier_trials(small_search: SmallSearch) -> None:
    config = small_search(training={"epochs": 8}, early_stopping=EARLY)
    decisions = Decisions(config, {0: {1: (0.1, 0.9), 2: (0.1, 0.9)}, 1: {1: (0.3, 0.7)}})
    assert decisions.decide(2, 1, metrics(1, 0.2, 0.8)) is not None
    assert decisions.decide(1, 1, metrics(1, 0.3, 0.7)) is None  # has passed before
    assert decisions.decide(3, 1, metrics(1, 0.05, 0.95)) is None


@pytest.mark.usefixtures("cluster")
def test_trainings_ask_the_actor(small_search: SmallSearch) -> None:
    config = small_search(training={"epochs": 8}, early_stopping=EARLY)
    study = optuna.create_study(directions=["minimize", "maximize"])
    actor = start_decisions(config, study)
    try:
        answers = [ask(metrics(1, 0.1 * n)) for n in range(3) if (ask := ask_of(actor, n, 1))]
        ray.get(actor.end.remote(0, 1, "ended by hand"))
        stop = ask_of(actor, 0, 1)(metrics(2, 0.1))
        assert stop is not None
        assert (stop.state, stop.reason) == ("suspended", "ended by hand")
        assert ask_of(actor, 0, 2)(metrics(2, 0.1)) is None  # another attempt at it
    finally:
        ray.kill(actor)
    assert [answer is None for answer in answers] == [True, False, False]


@pytest.mark.parametrize(
    ("early", "training", "space", "message"),
    [
        ({"min_epochs": 5}, {"epochs": 5}, {}, r"min_epochs: must be below training\.epochs, 5, but got 5"),
        ({}, {"epochs": 9}, {"training.epochs": {"type": "int", "low": 5, "high": 9}}, r"training\.epochs is searched"),
        (
            {},
            {"epochs": 9},
            {"training.phases.warmup": {"type": "float", "low": 0.1, "high": 0.3}},
            r"training\.phases\.warmup is searched",
        ),
    ],
)
def test_trials_that_cannot_be_compared_are_refused(
    small_search: SmallSearch, early: object, training: dict[str, int], space: object, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        check_early_stopping(small_search(training=training, early_stopping=early, space=space))
