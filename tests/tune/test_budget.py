from collections.abc import Callable

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from tests.fixtures.studies import SmallSearch
from tune.study.budget import Budget
from tune.study.leases import OUTSIDE_BUDGET

GROWING = ((0.5, 0.5), (0.4, 0.4), (0.6, 0.6))


@pytest.fixture
def study() -> optuna.Study:
    return optuna.create_study(directions=["minimize", "maximize"])


def test_without_budgets_only_the_trials_count(small_search: SmallSearch, study: optuna.Study) -> None:
    budget = Budget(small_search().search, study)
    for number in range(1000):
        budget.count(number, None)
    assert budget.spent is None


def test_a_front_that_stands_still_ends_the_search(small_search: SmallSearch, study: optuna.Study) -> None:
    budget = Budget(small_search(stall_trials=3).search, study)
    for number, point in enumerate(GROWING):
        budget.count(number, point)
    for number, point in enumerate((None, (0.5, 0.5), (0.45, 0.2)), start=3):
        assert budget.spent is None
        budget.count(number, point)
    assert "stall_trials: the hypervolume has not grown for 3 finished trials" in str(budget.spent)
    budget.count(6, (0.3, 0.3))  # a trial that still ran
    assert budget.spent is None


def test_points_beyond_the_reference_are_no_growth(small_search: SmallSearch, study: optuna.Study) -> None:
    budget = Budget(small_search(stall_trials=2).search, study)
    budget.count(0, (1.5, 0.9))
    budget.count(1, (0.01, -0.2))
    assert budget.spent is not None


def test_the_standstill_counts_over_all_starts_in_the_order_of_the_ends(
    small_search: SmallSearch, study: optuna.Study, tell_trained: Callable[..., FrozenTrial]
) -> None:
    trials = [study.ask() for _ in range(6)]
    trials[5].set_user_attr(OUTSIDE_BUDGET, "infeasible")
    for number in (3, 4, 2, 1):  # 3 and 4 grow the front, then 2 fails and 1 is dominated
        values = {3: (0.5, 0.5), 4: (0.4, 0.4), 1: (0.9, 0.1)}.get(number)
        tell_trained(study, trials[number], values)
    tell_trained(study, trials[5], state=TrialState.PRUNED)
    assert Budget(small_search(stall_trials=2).search, study).spent is not None
    assert Budget(small_search(stall_trials=3).search, study).spent is None


def test_time_is_up_once_and_fresh_again_at_the_next_start(
    small_search: SmallSearch, study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    settings = small_search(search_seconds=60).search
    budget = Budget(settings, study)
    now = 59.0
    assert not budget.out_of_time
    now = 61.0
    assert "search.search_seconds" in str(budget.spent)
    assert Budget(settings, study).spent is None
