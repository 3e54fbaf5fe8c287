import math
from itertools import product

import numpy as np
import optuna
import pytest
from optuna.samplers.nsgaii._elite_population_selection_strategy import _calc_crowding_distance
from optuna.study._multi_objective import _fast_non_domination_rank

from hcvae.config import PhaseConfig, TrainingConfig
from tune.config import EarlyStopping
from tune.early_stopping.moasha import MOASHA, ORDERS, best, crowding, epsilon_net, rungs_of
from tune.objectives import SPECIFIED, Point
from tune.study.pareto import fronts


def rule(max_epochs: int = 30, **settings: object) -> MOASHA:
    return MOASHA(
        EarlyStopping.model_validate({"eta": 3, "min_epochs": 2, **settings}),
        TrainingConfig(epochs=max_epochs),
        SPECIFIED,
    )


def random_points(seed: int, n: int = 40) -> dict[int, Point]:
    draws = np.random.default_rng(seed).uniform((0, -0.5), (1.2, 1), (n, 2)).round(1)  # rounded: ties and doubles
    return {number: (float(nmse), float(score)) for number, (nmse, score) in enumerate(draws)}


def dominates(a: Point, b: Point) -> bool:
    return a != b and a[0] <= b[0] and a[1] >= b[1]


@pytest.mark.parametrize(
    ("settings", "epochs", "expected"),
    [((3, 2), 30, (2, 6, 18)), ((2, 1), 9, (1, 2, 4, 8)), ((2, 1), 8, (1, 2, 4)), ((3, 5), 5, ()), ((4, 3), 12, (3,))],
)
def test_rungs_are_powers_of_eta(settings: tuple[int, int], epochs: int, expected: tuple[int, ...]) -> None:
    eta, min_epochs = settings
    assert rungs_of(EarlyStopping(eta=eta, min_epochs=min_epochs), TrainingConfig(epochs=epochs)) == expected


@pytest.mark.parametrize(
    ("shares", "expected"), [((0.15, 0.35), (31,)), ((0.1, 0.1), (13, 39)), ((0, 0), (1, 3, 9, 27))]
)
def test_the_first_rung_begins_the_last_phase(shares: tuple[float, float], expected: tuple[int, ...]) -> None:
    phases = PhaseConfig(reconstruction=shares[0], warmup=shares[1])
    assert rungs_of(EarlyStopping(), TrainingConfig(epochs=60, phases=phases)) == expected


# Non-dominated sorting.


def test_fronts_by_hand() -> None:
    points = {0: (0.1, 0.1), 1: (0.2, 0.6), 2: (0.3, 0.5), 3: (0.2, 0.6), 4: (0.4, 0.4), 5: (0.5, 0.9)}
    assert fronts(points, SPECIFIED) == [[0, 1, 3, 5], [2], [4]]


@pytest.mark.parametrize("seed", range(5))
def test_fronts_are_those_of_optuna_and_of_the_definition(seed: int) -> None:
    points = random_points(seed)
    rank_of = {number: rank for rank, front in enumerate(fronts(points, SPECIFIED)) for number in front}
    losses = np.array([(nmse, -score) for nmse, score in points.values()])
    assert [rank_of[number] for number in points] == _fast_non_domination_rank(losses).tolist()
    for a, b in product(points, points):
        assert not (dominates(points[a], points[b]) and rank_of[a] >= rank_of[b])
    # Each point of a later front is dominated by one of the front before.
    for number, rank in rank_of.items():
        before = [other for other in points if rank_of[other] == rank - 1]
        assert rank == 0 or any(dominates(points[other], points[number]) for other in before)


# Orders within a front.


def test_epsilon_net_by_hand() -> None:
    # From the first to the farthest; then (0.5, 0.5), 0.71 from both; then 0.14 before 0.07.
    front = np.array([(0, 0), (0.05, 0.05), (0.4, 0.4), (0.5, 0.5), (1, 1)])
    assert epsilon_net(front) == [0, 4, 3, 2, 1]


@pytest.mark.parametrize("seed", range(3))
def test_each_point_of_an_epsilon_net_is_the_farthest_from_those_before(seed: int) -> None:
    front = np.random.default_rng(seed).uniform(size=(15, 2))
    order = epsilon_net(front)
    assert sorted(order) == list(range(15))
    for k in range(1, 15):
        before, rest = order[:k], order[k:]
        nearest = [min(math.dist(front[i], front[j]) for j in before) for i in rest]
        assert nearest[0] == pytest.approx(max(nearest))


@pytest.mark.parametrize("seed", range(3))
def test_crowding_is_that_of_optuna(seed: int) -> None:
    nmse = np.sort(np.random.default_rng(seed).uniform(size=12))
    front = np.stack([nmse, np.sqrt(nmse)], axis=1)
    front = (front - front.min(axis=0)) / np.ptp(front, axis=0)
    trials = [
        optuna.trial.FrozenTrial(
            number=i, trial_id=i, state=optuna.trial.TrialState.COMPLETE, value=None, values=[a, -b],
            datetime_start=None, datetime_complete=None, params={}, distributions={}, user_attrs={}, system_attrs={},
            intermediate_values={},
        )
        for i, (a, b) in enumerate(front)
    ]  # fmt: skip
    expected = _calc_crowding_distance(trials)
    order = crowding(front)
    assert set(order[:2]) == {0, 11}
    assert [expected[i] for i in order[2:]] == sorted((expected[i] for i in range(1, 11)), reverse=True)


@pytest.mark.parametrize("name", ORDERS)
def test_each_objective_counts_in_its_own_scale(name: str) -> None:
    front = {0: (0.0, 0.0), 1: (0.1, 0.2), 2: (0.45, 0.5), 3: (0.9, 0.8), 4: (1.0, 1.0)}
    tiny = {number: (nmse, 1e-4 * score) for number, (nmse, score) in front.items()}
    for n in range(6):
        assert best(tiny, n, ORDERS[name], SPECIFIED) == best(front, n, ORDERS[name], SPECIFIED)


@pytest.mark.parametrize("name", ORDERS)
@pytest.mark.parametrize("points", [{7: (0.2, 0.3)}, {3: (0.2, 0.3), 1: (0.2, 0.3)}, {2: (0.1, 0.1), 5: (0.2, 0.3)}])
def test_of_small_fronts_as_many_are_chosen_as_are_asked_for(name: str, points: dict[int, Point]) -> None:
    assert len(best(points, 1, ORDERS[name], SPECIFIED)) == 1
    assert best(points, len(points), ORDERS[name], SPECIFIED) == set(points)


# The rule.


def test_a_rung_that_few_have_reached_stops_none() -> None:
    asha = rule()
    assert asha.report(0, 2, (0.5, 0.5))
    assert asha.report(1, 2, (0.9, 0.1))  # dominated, but the second only
    assert not asha.report(2, 2, (0.95, 0.05))


def test_the_best_third_goes_on() -> None:
    asha = rule()
    for trial, nmse in enumerate((0.5, 0.4, 0.6, 0.7, 0.3, 0.55)):
        going_on = asha.report(trial, 2, (nmse, 1 - nmse))
        # Of 3 trials the best one goes on, of 6 the best two: 0.6 is third of 3, 0.7 last, 0.3 first, 0.55 fourth of 6.
        assert going_on == (trial in (0, 1, 4))
    # A trial that spoils the other objective is not dominated; the front of two fills the third of six.
    assert asha.report(6, 2, (0.9, 0.95))


def test_only_rungs_judge_and_each_judges_a_trial_once() -> None:
    asha = rule()
    for trial in range(4):
        assert asha.report(trial, 1, (0.5 + trial, 0.5))
    for trial in range(3):
        asha.report(trial, 2, (0.5 - 0.1 * trial, 0.5))
    for trial in range(3, 9):
        asha.report(trial, 2, (0.2 - 0.01 * trial, 0.5))
    # By now the first would not be among the best third; it passed when it came, and comes past again after a restart.
    assert asha.report(0, 2, (0.5, 0.5))
    assert not asha.report(9, 2, (0.5, 0.5))


@pytest.mark.parametrize("worst", [(math.nan, 0.9), (0.1, math.nan), (math.inf, 0.9), (0.1, math.inf)])
def test_what_is_not_finite_is_worst(worst: Point) -> None:
    asha = rule()
    assert asha.report(0, 2, worst)
    assert asha.report(1, 2, worst)
    assert asha.report(2, 2, (0.99, -0.99))
    assert not asha.report(3, 2, worst)
    # A rung of nothing else still ranks them.
    broken = rule()
    assert [broken.report(trial, 2, worst) for trial in range(4)] == [True, True, False, False]


@pytest.mark.parametrize("tie_break", ["epsilon_net", "crowding"])
@pytest.mark.parametrize("seed", range(3))
def test_the_rule_agrees_with_its_definition(tie_break: str, seed: int) -> None:
    """Of n trials, those whose front and all better ones fit into floor(n / 3) go on, those behind do not."""
    asha = rule(tie_break=tie_break)
    points = random_points(seed)
    for trial, point in points.items():
        going_on = asha.report(trial, 2, point)
        reached = {number: points[number] for number in range(trial + 1)}
        kept = len(reached) // 3
        losses = np.array([(nmse, -score) for nmse, score in reached.values()])
        ranks = _fast_non_domination_rank(losses)
        better = int((ranks < ranks[trial]).sum())
        of_its_front = int((ranks == ranks[trial]).sum())
        if kept == 0 or better + of_its_front <= kept:
            assert going_on
        elif better >= kept:
            assert not going_on


def test_a_rule_made_anew_from_what_was_reported_decides_as_the_old_one() -> None:
    points = random_points(1, 60)
    whole, first = rule(), rule()
    told = [(trial, epoch) for trial in range(40) for epoch in range(1, 1 + trial % 12)]
    verdicts = [(whole.report(t, e, points[t]), first.report(t, e, points[t])) for t, e in told]
    assert all(a == b for a, b in verdicts)
    resumed = rule()
    for trial, epoch in reversed(told):  # in any order
        resumed.replay(trial, epoch, points[trial])
    later = [(trial, epoch) for trial in range(30, 60) for epoch in (2, 6, 18)]
    expected = [whole.report(t, e, points[t]) for t, e in later]
    assert [resumed.report(t, e, points[t]) for t, e in later] == expected
    assert not all(expected)
