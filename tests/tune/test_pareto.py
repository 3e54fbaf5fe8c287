import numpy as np
import optuna
import pytest
from optuna._hypervolume.wfg import compute_hypervolume

from tune.objectives import SPECIFIED
from tune.study.pareto import Compromise, compromise, hypervolume, pareto_front

# A front by eye: 0, 1, 2 are on it; 3 is dominated by 1, and 4 by 2 (same disentanglement, higher NMSE).
POINTS = {0: (0.1, 0.1), 1: (0.2, 0.6), 2: (0.5, 0.7), 3: (0.3, 0.5), 4: (0.6, 0.7)}


def random_points(seed: int, n: int = 60) -> dict[int, tuple[float, float]]:
    draws = np.random.default_rng(seed).uniform((0, -0.5), (1.2, 1), (n, 2))
    return {number: (float(nmse), float(score)) for number, (nmse, score) in enumerate(draws)}


def test_front_by_eye() -> None:
    assert pareto_front(POINTS, SPECIFIED) == [0, 1, 2]


def test_equal_points_are_both_on_the_front() -> None:
    assert pareto_front({3: (0.2, 0.5), 1: (0.2, 0.5), 2: (0.2, 0.4)}, SPECIFIED) == [1, 3]


@pytest.mark.parametrize("seed", range(5))
def test_front_is_that_of_optuna(seed: int) -> None:
    points = random_points(seed)
    study = optuna.create_study(directions=["minimize", "maximize"])
    for point in points.values():
        study.add_trial(optuna.trial.create_trial(values=point))
    assert sorted(pareto_front(points, SPECIFIED)) == sorted(trial.number for trial in study.best_trials)


def test_hypervolume_by_hand() -> None:
    # Steps of height 0.1, 0.5, 0.1 and widths 0.9, 0.8, 0.5.
    assert hypervolume(POINTS, SPECIFIED) == pytest.approx(0.09 + 0.40 + 0.05)


def test_nothing_beyond_the_reference_point_counts() -> None:
    assert hypervolume({0: (1.5, 0.9), 1: (0.1, -0.2)}, SPECIFIED) == 0
    assert hypervolume({}, SPECIFIED) == 0


@pytest.mark.parametrize("seed", range(5))
def test_hypervolume_is_that_of_optuna(seed: int) -> None:
    points = {number: point for number, point in random_points(seed).items() if point[0] < 1 and point[1] > 0}
    losses = np.array([(nmse, -score) for nmse, score in points.values()])
    assert hypervolume(points, SPECIFIED) == pytest.approx(compute_hypervolume(losses, np.array([1.0, 0.0])))


def test_knee_is_farthest_from_the_chord() -> None:
    # Normalised: (0, 0), (0.25, 5/6), (1, 1); the middle one is 7/12 above the diagonal.
    assert compromise(POINTS, SPECIFIED) == Compromise(1, "knee")
    # Two between the ends, normalised (0.25, 0.5) and (0.5, 0.9): the second lies farther off.
    points = {0: (0.0, 0.0), 1: (0.25, 0.5), 2: (0.5, 0.9), 3: (1.0, 1.0)}
    assert compromise(points, SPECIFIED) == Compromise(2, "knee")


@pytest.mark.parametrize(
    ("points", "nearest"),
    [
        # Distances to (0, 1): 0.545 from the lowest error, 0.184 from the better routed one.
        ({2: (0.164, 0.48), 1: (0.181, 0.965)}, 1),
        ({2: (0.164, 0.965), 1: (0.95, 0.99)}, 2),
        # 9 is dominated: it makes no third point of the front. Neither does an equal point.
        ({5: (0.4, 0.9), 7: (0.1, 0.1), 9: (0.5, 0.2)}, 5),
        ({3: (0.1, 0.1), 5: (0.4, 0.9), 6: (0.4, 0.9)}, 5),
        ({5: (0.4, 0.9)}, 5),
        # Of three points the one between the ends lies on the wrong side of their chord, at (0.59, 0.38), or on it.
        ({2: (0.1318, 0.3145), 5: (0.1589, 0.5598), 1: (0.1776, 0.9684)}, 1),
        ({0: (0.25, 0.25), 1: (0.5, 0.5), 2: (0.75, 0.75)}, 1),
        ({4: (3.0, -0.9), 5: (1.2, -0.95)}, 5),
    ],
)
def test_a_front_without_a_knee_has_a_compromise_near_the_ideal(
    points: dict[int, tuple[float, float]], nearest: int
) -> None:
    assert compromise(points, SPECIFIED) == Compromise(nearest, "compromise")


def test_no_point_has_no_compromise() -> None:
    assert compromise({}, SPECIFIED) is None
