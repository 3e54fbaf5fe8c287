import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from hcvae.errors import UserError
from tests.fixtures.studies import SIX_PARAMETERS, SmallSearch
from tune.config import SearchConfig
from tune.objectives import SPECIFIED
from tune.report.results import SearchResult
from tune.space.latents import GLOBAL, LOCAL
from tune.study.folder import StudyFolder
from tune.study.initial_trials import (
    add_earlier_trials,
    check_first_trials,
    default_trials,
    earlier_trials,
    enqueue_first_trials,
)
from tune.study.leases import OUTSIDE_BUDGET
from tune.study.lock import locked_folder
from tune.study.opening import n_finished, open_study
from tune.study.pareto_archive import ParetoArchive
from tune.study.samplers import ask

RATIO, KL, LOCAL_KL = "model.early_signal_ratio", "training.loss_weights.global_kl", "training.loss_weights.local_kl"
SWAP = "training.loss_weights.swap"


def test_chosen_trials_come_first_and_once(small_search: SmallSearch) -> None:
    config = small_search(first_trials=[{RATIO: 0.2, GLOBAL: 20, LOCAL: 40}, {KL: 0.05}], start_from_defaults=True)
    check_first_trials(config)
    for start in range(2):
        with locked_folder(config) as folder:
            study = open_study(folder, config, "data")
            enqueue_first_trials(study, config)
            waiting = study.get_trials(states=(TrialState.WAITING,))
            assert len(waiting) == (0 if start else 5)
            drawn = [ask(study, config)[1] for _ in range(6)]
            for trial in study.get_trials(states=(TrialState.RUNNING,)):
                study.tell(trial.number, (0.5, 0.5))
        if start == 0:
            first = drawn
        else:
            assert not [params for params in drawn if params[RATIO] == 0.2 or params[KL] == 0.05]
    assert (first[0][RATIO], first[0][GLOBAL], first[0][LOCAL]) == (0.2, 20, 40)
    assert first[1][KL] == 0.05
    # The product's defaults, the specification's and its best practices; see docs/search.md.
    rest = {GLOBAL: 32, LOCAL: 32, RATIO: 0.3, SWAP: 2.0}
    assert first[2] == rest | {KL: 0.003, LOCAL_KL: 0.003}
    assert first[3] == rest | {KL: 0.01, LOCAL_KL: 0.01}
    assert first[4] == rest | {KL: 0.001, LOCAL_KL: 0.01}


@pytest.mark.parametrize(("budgets", "waiting"), [((2,), 2), ((2, 3), 3), ((8,), 3), ((8, 8), 3)])
def test_defaults_fill_no_more_than_the_budget(
    small_search: SmallSearch, budgets: tuple[int, ...], waiting: int
) -> None:
    for trials in budgets:
        config = small_search(trials=trials, start_from_defaults=True)
        with locked_folder(config) as folder:
            study = open_study(folder, config, "data")
            enqueue_first_trials(study, config)
    assert len(study.get_trials(states=(TrialState.WAITING,))) == waiting


def test_a_finished_study_gets_no_defaults(small_search: SmallSearch, tell_trained: Any) -> None:
    config = small_search(trials=2, start_from_defaults=True)
    with locked_folder(config) as folder:
        study = open_study(folder, config, "data")
        for _ in range(2):
            tell_trained(study, ask(study, config)[0], (0.5, 0.5))
        enqueue_first_trials(study, config)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 2


def test_defaults_outside_the_space_are_left_to_the_sampler(small_search: SmallSearch) -> None:
    def defaults(space: dict[str, Any]) -> list[dict[str, Any]]:
        return list(default_trials(small_search(space=space)))

    low_kl = {"type": "float", "low": 0.002, "high": 0.1}
    narrow = {GLOBAL: {"type": "int", "low": 40, "high": 64}, LOCAL: {"type": "int", "low": 32, "high": 64}, KL: low_kl}
    assert defaults(narrow) == [{KL: 0.003}, {KL: 0.01}]
    assert defaults({KL: {"type": "float", "low": 0.5, "high": 1}}) == []


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"model.early_signal_ration": 0.2}, r"did you mean 'model\.early_signal_ratio'"),
        ({"model.dropout": 0.2}, r"model\.dropout: not in search\.space"),
        ({RATIO: 0.9}, r"must be in \[0\.1, 0\.6\], but got 0\.9"),
        ({GLOBAL: 20.5, LOCAL: 64}, r"must be in \[16, 64\], but got 20\.5"),
        ({GLOBAL: True, LOCAL: 64}, r"must be in \[16, 64\], but got True"),
        ({LOCAL: 64}, "name both"),
        ({GLOBAL: 60}, "name both"),
        ({GLOBAL: 60, LOCAL: 40}, "must be at least .*, 60, but got 40"),
    ],
)
def test_trials_outside_the_space_are_refused(small_search: SmallSearch, params: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as refused:
        check_first_trials(small_search(first_trials=[{RATIO: 0.2}, params]))
    assert str(refused.value).startswith("search.first_trials[1]")


# Warm start.


@pytest.fixture(scope="module")
def earlier_study(tmp_path_factory: pytest.TempPathFactory, tell_trained: Callable[..., FrozenTrial]) -> Path:
    """14 trials: 10 complete, one pruned, one failed, one infeasible, one that still runs."""
    storage = tmp_path_factory.mktemp("earlier")
    training = {"epochs": 2}
    config = SearchConfig.model_validate(
        {"training": training, "search": {"study": "earlier", "storage": str(storage), "space": SIX_PARAMETERS}}
    )
    with locked_folder(config) as folder:
        study = open_study(folder, config, "data")
        for number in range(14):
            trial, params = ask(study, config)
            if number in (3, 4):
                trial.set_user_attr(OUTSIDE_BUDGET, "infeasible") if number == 4 else None
                tell_trained(study, trial, state=TrialState.PRUNED)
            elif number == 5:
                tell_trained(study, trial)
            elif number != 6:
                tell_trained(study, trial, (float(params[RATIO]), 0.5))
    return folder.path


Warm = tuple[SearchConfig, StudyFolder, optuna.Study]


@pytest.fixture(params=["tpe", "gp", "nsga2"])
def warm(request: pytest.FixtureRequest, small_search: SmallSearch, earlier_study: Path) -> Iterator[Warm]:
    """A study with the trials of an earlier one as its warm start, as the second run of a command finds it."""
    config = small_search(sampler=request.param, warm_start=str(earlier_study))
    earlier = earlier_trials(config, "data")
    with locked_folder(config) as folder:
        add_earlier_trials(open_study(folder, config, "data"), config, earlier)
    with locked_folder(config) as folder:
        study = open_study(folder, config, "data")
        add_earlier_trials(study, config, earlier)
        yield config, folder, study


def test_the_trials_of_a_warm_start_are_added_once(warm: Warm) -> None:
    config, _, study = warm
    earlier = earlier_trials(config, "data")
    assert len(earlier) == 11
    assert [trial.values for trial in study.trials] == [trial.values for trial in earlier]
    assert [trial.params for trial in study.trials] == [trial.params for trial in earlier]


def test_the_trials_of_a_warm_start_are_outside_the_budget_and_the_front(warm: Warm) -> None:
    _, folder, study = warm
    assert all("warm start: trial" in trial.user_attrs[OUTSIDE_BUDGET] for trial in study.trials)
    assert n_finished(study) == 0
    assert ParetoArchive.open(folder, study, SPECIFIED).members == ()


def test_a_warm_start_replaces_the_random_trials_of_a_sampler(warm: Warm) -> None:
    """All parameters are suggested together, from the results of the earlier trials."""
    config, _, study = warm
    space = study.sampler.infer_relative_search_space(study, study.trials[-1])
    assert space.keys() == config.search.space.keys() or config.search.sampler == "nsga2"


def test_the_result_of_a_warm_start_has_only_its_own_trials_on_the_front(
    warm: Warm, tell_trained: Callable[..., FrozenTrial]
) -> None:
    config, folder, study = warm
    trial, _ = ask(study, config)
    tell_trained(study, trial, (0.5, 0.1))
    result = SearchResult.open(folder.path)
    assert [member.number for member in result.pareto] == [trial.number]
    assert {summary.outside_budget is None for summary in result.trials} == {True, False}


@pytest.mark.parametrize(
    ("settings", "fingerprint", "message"),
    [
        ({}, "other", "fingerprint"),
        ({"training": {"epochs": 3}}, "data", r"training\.epochs: 2 there, 3 here"),
        (
            {"space": {RATIO: {"type": "choice", "choices": [0.2, 0.3]}}},
            "data",
            f"{RATIO} has another distribution",
        ),
    ],
)
def test_studies_that_cannot_be_compared_are_refused(
    small_search: SmallSearch, earlier_study: Path, settings: dict[str, Any], fingerprint: str, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        earlier_trials(small_search(warm_start=str(earlier_study), **settings), fingerprint)


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_study_with_other_objectives_is_refused(small_search: SmallSearch, tmp_path: Path) -> None:
    config = small_search(study="earlier")
    with locked_folder(config) as folder:
        study = open_study(folder, config, "data")
        study.set_metric_names(["reconstruction_nmse", "compactness"])
    with pytest.raises(UserError, match="compactness"):
        earlier_trials(small_search(warm_start=str(tmp_path / "earlier")), "data")


def test_a_study_is_no_start_of_itself(small_search: SmallSearch, tmp_path: Path) -> None:
    config = small_search(warm_start=str(tmp_path / "." / "small"))
    with locked_folder(config) as folder:
        open_study(folder, config, "data")
        with pytest.raises(UserError, match="is this study itself"):
            earlier_trials(config, "data")


def test_trials_of_an_earlier_study_that_was_moved_are_not_added_again(
    small_search: SmallSearch, earlier_study: Path, tmp_path: Path
) -> None:
    config, moved = (small_search(warm_start=str(place)) for place in (earlier_study, tmp_path / "moved" / "earlier"))
    shutil.copytree(earlier_study, tmp_path / "moved" / "earlier")
    with locked_folder(config) as folder:
        study = open_study(folder, config, "data")
        for each in (config, moved):
            add_earlier_trials(study, each, earlier_trials(each, "data"))
        assert len(study.trials) == 11
        assert all(trial.foreign_values is None for trial in SearchResult.open(folder.path).trials)


def test_a_folder_without_a_study_is_refused(small_search: SmallSearch, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no study here"):
        earlier_trials(small_search(warm_start=str(tmp_path)), "data")
    assert earlier_trials(small_search(), "data") == ()
