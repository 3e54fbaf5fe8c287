"""Searches that stop trials, or themselves, before the end."""

import json
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

import hcvae
from tests.fixtures.studies import SmallSearch
from tune.config import SearchConfig
from tune.early_stopping.moasha import MOASHA
from tune.search import plan_search, run_search
from tune.study.trial_attributes import attributes_of

pytestmark = pytest.mark.usefixtures("cluster")
EARLY = {"eta": 2, "min_epochs": 1}
LONG = {"epochs": 8, "early_stopping_patience": None, "checkpoint_every_epochs": 100}


def trials_of(config: SearchConfig) -> list[FrozenTrial]:
    folder = Path(config.search.storage) / config.search.study
    return optuna.load_study(study_name="small", storage=f"sqlite:///{folder / 'study.db'}").trials


@pytest.mark.parametrize(("workers", "trials"), [(1, 5), pytest.param(2, 3, marks=pytest.mark.services)])
def test_trials_that_fall_behind_are_pruned(
    small_search: SmallSearch, capsys: pytest.CaptureFixture[str], workers: int, trials: int
) -> None:
    config = small_search(trials=trials, workers=workers, max_concurrent=1, early_stopping=EARLY, training=LONG)
    assert "stopped at epochs 1, 2, 4" in plan_search(config)
    result = run_search(config)
    found = trials_of(config)
    # What the rule says of the epochs that were reported, one trial after another.
    rule = MOASHA(config.search.early_stopping, config.training)
    for trial in found:
        history = attributes_of(trial)["epochs_reported"]
        verdicts = [
            rule.report(trial.number, e["epoch"], (e["reconstruction_nmse"], e["disentanglement"])) for e in history
        ]
        assert verdicts[:-1] == [True] * (len(history) - 1)
        assert (trial.state == TrialState.COMPLETE) == verdicts[-1] == (len(history) == 8)
        if not verdicts[-1]:
            last = history[-1]
            assert trial.values is None
            assert trial.user_attrs["values_at_stop"] == [last["reconstruction_nmse"], last["disentanglement"]]
            assert trial.user_attrs["epochs"] == last["epoch"]
            assert "search.early_stopping" in attributes_of(trial)["stopped"]
            parts = (result.folder.path / "trials" / str(trial.number)).glob("*/*")
            assert {part.name for part in parts} == {"trial.json"}
    states = [trial.state.name.lower() for trial in found]
    assert {"complete", "pruned"} == set(states)
    assert len(states) == trials
    for member in result.pareto:
        hcvae.load(result.bundle(member.number))
    printed = capsys.readouterr().out
    assert f"{states.count('pruned')} pruned" in printed
    assert "not among the best 1/2" in printed
    assert f"Ended by search.trials: {trials} trials have finished" in printed


def test_a_trial_has_its_seconds(small_search: SmallSearch, capsys: pytest.CaptureFixture[str]) -> None:
    result = run_search(small_search(trials=2, trial_seconds=1e-6, training=LONG))
    assert [trial.state for trial in result.trials] == ["pruned", "pruned"]
    assert all("search.trial_seconds" in str(trial.stopped) for trial in result.trials)
    assert result.pareto == ()
    assert "0 running, 2/2 finished, 2 pruned" in capsys.readouterr().out


def test_no_trial_starts_once_the_time_is_up(
    small_search: SmallSearch, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    up = iter([False] * 6)  # in time at the two looks, of three questions each, before Ray Tune starts
    monkeypatch.setattr("tune.study.budget.Budget.out_of_time", property(lambda budget: next(up, True)))
    config = small_search(trials=2, search_seconds=60)
    run_search(config, log_json=True)
    [event] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert event["event"] == "ended"
    assert "search.search_seconds" in event["reason"]
    assert trials_of(config) == []


@pytest.mark.services
def test_suspended_trials_go_on_from_their_checkpoints(
    small_search: SmallSearch, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = small_search(trials=1, search_seconds=0.1, training=LONG | {"epochs": 30})
    # The first suggestion comes in time, however busy the machine.
    monkeypatch.setattr("tune.study.budget.Budget.out_of_time", property(lambda budget: len(trials_of(config)) == 1))
    run_search(config)
    [suspended] = trials_of(config)
    assert suspended.state == TrialState.RUNNING
    assert "Ended by search.search_seconds" in capsys.readouterr().out
    monkeypatch.undo()
    run_search(small_search(trials=1, training=LONG | {"epochs": 30}))
    [trial] = trials_of(config)
    assert trial.state == TrialState.COMPLETE
    assert trial.params == suspended.params
    history = attributes_of(trial)["epochs_reported"]
    assert [epoch["epoch"] for epoch in history] == list(range(1, 31))


@pytest.mark.services
def test_a_front_that_stands_still_ends_the_search(
    small_search: SmallSearch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A trial of one epoch routes nothing: none is inside the reference point."""
    config = small_search(trials=9, max_concurrent=1, stall_trials=2, trial_seconds=1e-6)
    result = run_search(config)
    assert len(result.trials) == 2
    assert "Ended by search.stall_trials" in capsys.readouterr().out
    assert len(run_search(config).trials) == 2
    assert (
        len(
            run_search(
                config.model_copy(update={"search": config.search.model_copy(update={"stall_trials": 3})})
            ).trials
        )
        == 3
    )
