"""Multi-objective asynchronous successive halving: a pure rule that stops trials which fall behind, without Ray.

Rungs are epochs. A trial that reaches one is compared with all that reached it before, and continues if it is among
the best 1/eta of them; no trial waits for another (Li et al. 2020, "A System for Massively Parallel Hyperparameter
Tuning", in the form that stops instead of pausing). With several objectives the best are found by non-dominated
sorting, and within a front by how well they spread over it (Schmucker, Donini, Zafar, Salinas, Archambeau 2021,
"Multi-objective Asynchronous Successive Halving", arXiv 2106.12639).
"""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hcvae.config import TrainingConfig
from tune.config import EarlyStopping
from tune.objectives import Objectives, Point
from tune.study.pareto import fronts

Order = Callable[[NDArray[np.float64]], list[int]]
Reported = Mapping[int, Mapping[int, Point]]
"""Objectives by trial and epoch."""


def first_rung(settings: EarlyStopping, training: TrainingConfig) -> int:
    """Return `min_epochs`, or where that is null the first epoch of the last phase."""
    return settings.min_epochs or sum(training.phases.lengths(training.epochs)[:2]) + 1


def rungs_of(settings: EarlyStopping, training: TrainingConfig) -> tuple[int, ...]:
    """Return `first_rung` * eta^k for k = 0, 1, ..., below the last epoch, where nothing is left to stop."""
    rungs = []
    rung = first_rung(settings, training)
    while rung < training.epochs:
        rungs.append(rung)
        rung *= settings.eta
    return tuple(rungs)


class MOASHA:
    """Judges each trial once at each rung that it reaches.

    Objectives of an early epoch need not resemble the last ones: the three phases of a training have different weights,
    and the first one, without KL terms, predicts little about disentanglement. All trials share the schedule, so at a
    rung they are in the same epoch of the same phase, and comparable; values of different rungs are never compared. A
    search over the schedule itself therefore cannot stop trials early: see
    `tune.early_stopping.actor.check_early_stopping`.
    """

    def __init__(self, settings: EarlyStopping, training: TrainingConfig, objectives: Objectives) -> None:
        self.rungs = rungs_of(settings, training)
        self.eta = settings.eta
        self._objectives = objectives
        self._worst = tuple(objective.sign * math.inf for objective in objectives)
        self._order = ORDERS[settings.tie_break]
        self._points: dict[int, dict[int, Point]] = {rung: {} for rung in self.rungs}

    def report(self, trial: int, epoch: int, point: Point) -> bool:
        """Add the objectives of `trial` after `epoch`, counted from 1; return whether it continues.

        A rung that fewer than eta trials have reached stops none. A trial that reaches a rung a second time, after a
        restart, continues.
        """
        if epoch not in self._points or trial in self._points[epoch]:
            return True
        self.replay(trial, epoch, point)
        reached = self._points[epoch]
        kept = len(reached) // self.eta
        return kept == 0 or trial in best(reached, kept, self._order, self._objectives)

    def replay(self, trial: int, epoch: int, point: Point) -> None:
        """Add an earlier report: later trials are compared with it. A point that is not finite is the worst one."""
        if epoch not in self._points:
            return
        if not all(map(math.isfinite, point)):
            point = self._worst
        self._points[epoch][trial] = point

    def replay_all(self, reported: Reported) -> None:
        """Add earlier reports of many trials."""
        for trial, points in reported.items():
            for epoch, point in points.items():
                self.replay(trial, epoch, point)


def best(points: Mapping[int, Point], n: int, order: Order, objectives: Objectives) -> set[int]:
    """Return the `n` best trials: front by front (Deb et al. 2002), and by `order` in a front that does not fit."""
    chosen: set[int] = set()
    for front in fronts(points, objectives):
        left = n - len(chosen)
        if len(front) > left:
            ordered = order(_scaled([points[trial] for trial in front]))
            return chosen.union(front[index] for index in ordered[:left])
        chosen.update(front)
    return chosen


def epsilon_net(front: NDArray[np.float64]) -> list[int]:
    """Order a front from the best in the first objective, each time to the point farthest from all before: any first k
    cover it.

    Args:
        front: (n, number of objectives), the best in the first objective first.

    The epsilon-net of Clarkson 2006, "Nearest-Neighbor Searching and Metric Space Dimensions", as MO-ASHA uses it.
    """
    chosen = [0]
    distances = np.linalg.norm(front - front[0], axis=1)
    while len(chosen) < len(front):
        distances[chosen[-1]] = -1  # never again
        chosen.append(int(np.argmax(distances)))
        distances = np.minimum(distances, np.linalg.norm(front - front[chosen[-1]], axis=1))
    return chosen


def crowding(front: NDArray[np.float64]) -> list[int]:
    """Order a front by falling crowding distance (NSGA-II, Deb et al. 2002), its ends first.

    Args:
        front: (n, number of objectives), the best in the first objective first.
    """
    distances = np.zeros(len(front))
    for values in front.T:
        ranked = np.argsort(values, kind="stable")
        distances[ranked[1:-1]] += values[ranked[2:]] - values[ranked[:-2]]
        distances[ranked[[0, -1]]] = np.inf
    order: list[int] = np.argsort(-distances, kind="stable").tolist()
    return order


ORDERS: dict[str, Order] = {"epsilon_net": epsilon_net, "crowding": crowding}


def _scaled(front: Sequence[Point]) -> NDArray[np.float64]:
    """Return (n, number of objectives): each in units of the front's extent, as they have different scales."""
    points = np.array(front)
    if not np.isfinite(points).all():
        return np.zeros_like(points)  # all at the worst point
    extent = np.ptp(points, axis=0)
    scaled: NDArray[np.float64] = (points - points.min(axis=0)) / np.where(extent > 0, extent, 1)
    return scaled
