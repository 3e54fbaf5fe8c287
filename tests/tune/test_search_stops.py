"""Searches that stop trials, or themselves, before the end."""

import io
import json
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

import hcvae
from tests.fixtures.studies import SmallSearch, small_search_config
from tune.config import SearchConfig
from tune.early_stopping.moasha import MOASHA
from tune.objectives import SPECIFIED
from tune.report.results import SearchResult
from tune.search import plan_search, run_search
from tune.study.trial_attributes import attributes_of

pytestmark = pytest.mark.usefixtures("cluster")
EARLY = {"eta": 2, "min_epochs": 1}
LONG = {"epochs": 8, "early_stopping_patience": None, "checkpoint_every_epochs": 100}


def trials_of(config: SearchConfig) -> list[FrozenTrial]:
    folder = Path(config.search.storage) / config.search.study
    return optuna.load_study(study_name="small", storage=f"sqlite:///{folder / 'study.db'}").trials


@dataclass(frozen=True)
class Pruned:
    """A search with early stopping that has ended."""

    config: SearchConfig
    result: SearchResult
    out: str

    @property
    def trials(self) -> list[FrozenTrial]:
        return trials_of(self.config)


@pytest.fixture(scope="module", params=[(1, 5), pytest.param((2, 3), marks=pytest.mark.services)])
def pruned(request: pytest.FixtureRequest, cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Pruned:
    """A search whose trials run one after another, with rungs at epochs 1, 2 and 4."""
    workers, trials = request.param
    settings = {"trials": trials, "workers": workers, "max_concurrent": 1, "early_stopping": EARLY}
    config = small_search_config(tmp_path_factory.mktemp("pruned"), training=LONG, **settings)
    assert "stopped at epochs 1, 2, 4" in plan_search(config)
    with redirect_stdout(io.StringIO()) as out:
        result = run_search(config)
    return Pruned(config, result, out.getvalue())


def test_trials_stop_when_the_rule_decides_so(pruned: Pruned) -> None:
    """The rule is asked again for all reported epochs, one trial after another."""
    rule = MOASHA(pruned.config.search.early_stopping, pruned.config.training, SPECIFIED)
    for trial in pruned.trials:
        history = attributes_of(trial)["epochs_reported"]
        points = [(epoch["reconstruction_nmse"], epoch["disentanglement"]) for epoch in history]
        verdicts = [rule.report(trial.number, epoch, point) for epoch, point in enumerate(points, 1)]
        assert verdicts[:-1] == [True] * (len(history) - 1)
        assert (trial.state == TrialState.COMPLETE) == verdicts[-1] == (len(history) == 8)


def test_a_pruned_trial_records_where_it_stopped_and_keeps_no_files(pruned: Pruned) -> None:
    stopped = [trial for trial in pruned.trials if trial.state == TrialState.PRUNED]
    assert stopped
    for trial in stopped:
        last = attributes_of(trial)["epochs_reported"][-1]
        assert trial.values is None
        assert trial.user_attrs["values_at_stop"] == [last["reconstruction_nmse"], last["disentanglement"]]
        assert trial.user_attrs["epochs"] == last["epoch"]
        assert "search.early_stopping" in attributes_of(trial)["stopped"]
        parts = (pruned.result.folder.path / "trials" / str(trial.number)).glob("*/*")
        assert {part.name for part in parts} == {"trial.json"}


def test_some_trials_complete_and_the_front_can_be_loaded(pruned: Pruned) -> None:
    assert {trial.state for trial in pruned.trials} == {TrialState.COMPLETE, TrialState.PRUNED}
    assert len(pruned.trials) == pruned.config.search.trials
    for member in pruned.result.pareto:
        hcvae.load(pruned.result.bundle(member.number))


def test_pruned_trials_are_printed_with_the_reason(pruned: Pruned) -> None:
    trials = pruned.config.search.trials
    count = sum(trial.state == TrialState.PRUNED for trial in pruned.trials)
    assert f"{count} pruned" in pruned.out
    assert "not among the best 1/2" in pruned.out
    assert f"Ended by search.trials: {trials} trials finished" in pruned.out


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
