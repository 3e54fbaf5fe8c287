import math
import re
import warnings
from collections.abc import Iterator
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.samplers import GPSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import Trial, TrialState, create_trial

from hcvae.config import LossWeights
from hcvae.errors import UserError
from tests.fixtures.studies import SmallSearch
from tune.config import SearchConfig
from tune.space.combinations import combinations
from tune.space.latents import GLOBAL, LOCAL
from tune.study.leases import OUTSIDE_BUDGET, Leases
from tune.study.lock import locked_folder
from tune.study.opening import n_finished, open_study
from tune.study.samplers import (
    CONSTRAINT,
    MAX_INFEASIBLE,
    Auto,
    ask,
    has_fixed_bounds,
    is_exhausted,
    make_sampler,
    suggest_parameters,
)
from tune.study.transaction import transaction
from tune.study.trial_attributes import attributes_of

SPACE = {
    GLOBAL: {"type": "int", "low": 1, "high": 64},
    LOCAL: {"type": "int", "low": 1, "high": 64},
    "model.dropout": {"type": "float", "low": 0, "high": 0.5},
}
NO_LATENTS = {"model.dropout": SPACE["model.dropout"]}
MANY = {f"training.loss_weights.{name}": {"type": "float", "low": 0, "high": 1} for name in LossWeights.model_fields}
LATENTS = {GLOBAL: {"type": "int", "low": 14, "high": 17}, LOCAL: {"type": "int", "low": 8, "high": 17}}
NINE = {
    "training.batch_size": {"type": "choice", "choices": [32, 64, 128]},
    "training.learning_rate": {"type": "choice", "choices": [1e-3, 1e-2, 1e-1]},
}
CHOICE = {**NO_LATENTS, "training.precision": {"type": "choice", "choices": ["fp32", "bf16"]}}


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    """A search prints no warnings of Optuna's between its own lines."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("error", FutureWarning)
        yield


def study_of(config: SearchConfig) -> optuna.Study:
    return optuna.create_study(directions=["minimize", "maximize"], sampler=make_sampler(config, 0))


def complete(study: optuna.Study, config: SearchConfig, n: int) -> list[dict[str, Any]]:
    found, leases = [], Leases(study)
    for _ in range(n):
        trial, params = ask(study, config)
        found.append(params)
        leases.acquire(trial, 0, adopted=False)
        study.tell(trial, (float(params[GLOBAL]) / 64, float(params["model.dropout"])))
    return found


@pytest.mark.parametrize(
    ("name", "kind"), [("tpe", TPESampler), ("gp", GPSampler), ("nsga2", NSGAIISampler), ("random", RandomSampler)]
)
def test_samplers_by_name(small_search: SmallSearch, name: str, kind: type) -> None:
    assert type(make_sampler(small_search(sampler=name), 0)) is kind


@pytest.mark.parametrize("name", ["tpe", "gp", "nsga2", "random", "auto"])
def test_every_sampler_hands_out_valid_models_only(small_search: SmallSearch, name: str) -> None:
    config = small_search(sampler=name, space=SPACE)
    study = study_of(config)
    assert all(params[LOCAL] >= params[GLOBAL] for params in complete(study, config, 12))
    assert n_finished(study) == 12
    outside = [trial for trial in study.trials if OUTSIDE_BUDGET in trial.user_attrs]
    # Half of all independent draws from these bounds are infeasible.
    assert bool(outside) == (name in ("gp", "nsga2", "auto"))
    for trial in outside:
        assert trial.state == TrialState.PRUNED
        assert trial.constraints[CONSTRAINT] == trial.params[GLOBAL] - trial.params[LOCAL] > 0
        assert f"{LOCAL} {trial.params[LOCAL]} is below" in trial.user_attrs[OUTSIDE_BUDGET]
    # Where bounds must be the same in every trial, they are: no parameter is left to chance.
    assert not outside or len({str(trial.distributions[LOCAL]) for trial in study.trials}) == 1


class Infeasible(NSGAIISampler):
    """Draws one infeasible pair, always."""

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        return {GLOBAL: 64, LOCAL: 2}.get(param_name) or super().sample_independent(
            study, trial, param_name, param_distribution
        )


def test_infeasible_draws_end(small_search: SmallSearch) -> None:
    config = small_search(sampler="nsga2", space=SPACE)
    study = study_of(config)
    study.sampler = Infeasible()
    _, params = ask(study, config)
    assert params[GLOBAL] == params[LOCAL] == 64
    assert len(study.trials) == MAX_INFEASIBLE + 1


def test_an_infeasible_trial_that_was_interrupted_is_not_trained(small_search: SmallSearch) -> None:
    config = small_search(sampler="gp", space=SPACE)
    with locked_folder(config) as folder:
        study = open_study(folder, config, "data")
        bounds: dict[str, BaseDistribution] = {name: IntDistribution(1, 64) for name in (GLOBAL, LOCAL)}
        for latents in ({GLOBAL: 64, LOCAL: 2}, {GLOBAL: 2, LOCAL: 64}):
            study.add_trial(create_trial(state=TrialState.RUNNING, params=latents, distributions=bounds))
        first, second = (Trial(study, frozen._trial_id) for frozen in study.get_trials())
        assert suggest_parameters(study, first, config, adopted=True) is None
        params = suggest_parameters(study, second, config, adopted=True)
        assert params is not None
        assert params[LOCAL] == 64
        assert n_finished(study) == 0


@pytest.mark.parametrize(
    ("enqueued", "reason"),
    [
        ({GLOBAL: "high", LOCAL: 64}, rf"{GLOBAL}: must be in \[1, 64\], but got 'high'"),
        ({GLOBAL: 1, LOCAL: 1.5}, rf"{LOCAL}: must be in \[1, 64\], but got 1.5"),
        ({GLOBAL: 1, LOCAL: 65}, rf"{LOCAL}: must be in \[1, 64\], but got 65"),
        ({GLOBAL: True, LOCAL: 64}, f"{GLOBAL}: must be in .*, but got True"),
        ({GLOBAL: None, LOCAL: 64}, f"{GLOBAL}: must be in .*, but got None"),
        ({GLOBAL: 64, LOCAL: 2}, f"{LOCAL}: must be at least {GLOBAL}, 64, but got 2"),
        ({LOCAL: 2}, "name both"),
        ({"model.dropout": math.inf}, r"model\.dropout: must be in"),
        ({"model.dropout": [0.1]}, r"model\.dropout: must be in"),
        ({"model.drop_out": 0.1}, r"model\.drop_out: not in search\.space; did you mean 'model\.dropout'"),
        ({"training.epochs": 3}, r"training\.epochs: not in search\.space"),
    ],
)
@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_enqueued_parameters_that_cannot_be_fail_once_and_the_search_goes_on(
    small_search: SmallSearch, sampler: str, enqueued: dict[str, Any], reason: str
) -> None:
    config = small_search(sampler=sampler, space=SPACE)
    with locked_folder(config) as folder:
        study = open_study(folder, config, "data")
        study.enqueue_trial(enqueued)
        trial, params = ask(study, config)
        assert (trial.number, params.keys()) == (1, SPACE.keys())
        [failed] = [trial for trial in study.trials if trial.state == TrialState.FAIL]
        assert re.search(reason, attributes_of(failed)["failure"])
        assert n_finished(study) == 1


def test_parameters_of_a_waiting_trial_are_checked_too(small_search: SmallSearch) -> None:
    config = small_search(space=SPACE)
    study = study_of(config)
    wide = {"model.dropout": FloatDistribution(0, 1)}
    study.add_trial(create_trial(state=TrialState.WAITING, params={"model.dropout": 0.9}, distributions=wide))
    trial, _ = ask(study, config)
    assert trial.number == 1
    assert "model.dropout: must be in [0.0, 0.5], but got 0.9" in attributes_of(study.trials[0])["failure"]


def test_a_parameter_of_another_kind_is_refused_by_name(small_search: SmallSearch) -> None:
    config = small_search(space=SPACE)
    other = {"model.dropout": FloatDistribution(0.01, 0.5, log=True)}
    with locked_folder(config) as folder:
        study = open_study(folder, config, "data")
        study.add_trial(create_trial(params={"model.dropout": 0.1}, distributions=other, values=[0.5, 0.5]))
        with pytest.raises(UserError, match="another program has added a trial with another kind of a parameter"):
            ask(study, config)


def test_a_combination_that_another_program_asks_for_is_not_tried(small_search: SmallSearch) -> None:
    config = small_search(space=NINE)
    study = study_of(config)
    foreign = study.ask()
    foreign.suggest_categorical("training.batch_size", [32, 64, 128])
    foreign.suggest_categorical("training.learning_rate", [1e-3, 1e-2, 1e-1])
    assert len(set(exhaust(study, config))) == len(combinations(config))


def test_enqueued_parameters_are_used(small_search: SmallSearch) -> None:
    config = small_search(space=SPACE)
    study = study_of(config)
    study.enqueue_trial({GLOBAL: 3, LOCAL: 5})
    _, params = ask(study, config)
    assert (params[GLOBAL], params[LOCAL]) == (3, 5)


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({}, Auto),
        ({"space": NO_LATENTS}, Auto),
        ({"space": CHOICE}, TPESampler),
        ({"early_stopping": {}}, TPESampler),
        ({"space": MANY}, TPESampler),
    ],
)
def test_auto_takes_the_gp_where_it_suits(small_search: SmallSearch, settings: dict[str, Any], kind: type) -> None:
    assert type(make_sampler(small_search(sampler="auto", **settings), 0)) is kind


def test_auto_changes_to_tpe(small_search: SmallSearch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tune.study.samplers.GP_TRIALS", 4)
    config = small_search(sampler="auto", space=SPACE)
    study = study_of(config)
    assert isinstance(study.sampler, Auto)
    complete(study, config, 4)
    trials = len(study.trials)
    assert isinstance(study.sampler.of(study), TPESampler)
    assert not has_fixed_bounds(study)
    complete(study, config, 12)
    assert len(study.trials) == trials + 12


def test_seeds_follow_from_the_number_of_trials(small_search: SmallSearch) -> None:
    config = small_search(sampler="random", seed=4)
    draws = []
    for n_trials in (0, 0, 1):
        study = optuna.create_study(sampler=make_sampler(config, n_trials))
        draws.append(study.ask().suggest_float("x", 0, 1))
    assert draws[0] == draws[1] != draws[2]


def test_pruned_trials_do_not_break_a_sampler(small_search: SmallSearch) -> None:
    for name in ("tpe", "nsga2", "gp"):
        config = small_search(sampler=name, space=SPACE)
        study = study_of(config)
        for number in range(14):
            trial, _ = ask(study, config)
            if number % 3:
                study.tell(trial, state=TrialState.PRUNED)
            else:
                study.tell(trial, (0.5, 0.5))
        study.add_trial(create_trial(state=TrialState.FAIL))
        _, params = ask(study, config)
        assert params.keys() == SPACE.keys()


def exhaust(study: optuna.Study, config: SearchConfig) -> list[tuple[Any, ...]]:
    """The combinations handed out until none is left, two at once; every third trial fails."""
    found = []
    running: list[Trial] = []
    while not is_exhausted(study, config):
        assert len(found) < 20
        trial, params = ask(study, config)
        Leases(study).acquire(trial, 0, adopted=False)
        assert trial.params == params
        found.append(tuple(params.values()))
        running.append(trial)
        if len(running) == 2:
            ended = running.pop(0)
            if ended.number % 3:
                study.tell(ended, (1 / len(found), 0.5))
            else:
                study.tell(ended, state=TrialState.FAIL)
    return found


@pytest.mark.parametrize(("space", "n"), [(LATENTS, 10), (NINE, 9)])
@pytest.mark.parametrize("name", ["tpe", "gp", "nsga2", "random", "auto"])
def test_no_sampler_draws_a_combination_of_a_finite_space_twice(
    small_search: SmallSearch, name: str, space: dict[str, Any], n: int
) -> None:
    config = small_search(sampler=name, space=space)
    found = exhaust(study_of(config), config)
    assert len(found) == len(set(found)) == n
    with locked_folder(config) as folder:
        study = open_study(folder, config, "data")
        with transaction(study):
            assert exhaust(study, config) == found  # the same seed, the same trials
        assert [tuple(trial.params[path] for path in space) for trial in study.trials] == found


def test_what_is_enqueued_in_a_finite_space_may_repeat(small_search: SmallSearch) -> None:
    config = small_search(space=NINE)
    study = study_of(config)
    exhaust(study, config)
    study.enqueue_trial({"training.batch_size": 64, "training.learning_rate": 1e-2})
    assert not is_exhausted(study, config)
    trial, params = ask(study, config)
    Leases(study).acquire(trial, 0, adopted=False)
    assert params == {"training.batch_size": 64, "training.learning_rate": 1e-2}
    assert is_exhausted(study, config)


def test_what_is_enqueued_in_part_is_completed_without_repetition(small_search: SmallSearch) -> None:
    config = small_search(space=NINE)
    study = study_of(config)
    for _ in range(4):
        study.enqueue_trial({"training.batch_size": 64})
    rates = []
    for _ in range(4):
        trial, params = ask(study, config)
        Leases(study).acquire(trial, 0, adopted=False)
        rates.append(params)
    assert all(params["training.batch_size"] == 64 for params in rates)
    assert {params["training.learning_rate"] for params in rates[:3]} == {1e-3, 1e-2, 1e-1}


def test_trials_of_a_warm_start_are_trained_here_once(small_search: SmallSearch) -> None:
    config = small_search(space=NINE)
    study = study_of(config)
    earlier = study_of(config)
    exhaust(earlier, config)
    for trial in earlier.get_trials(states=(TrialState.COMPLETE,)):
        trial.user_attrs[OUTSIDE_BUDGET] = "warm start"
        study.add_trial(trial)
    assert len(exhaust(study, config)) == 9
