"""Multi-objective asynchronous successive halving: which trials are worth more epochs. A pure rule, without Ray.

Rungs are epochs. A trial that reaches one is compared with all that reached it before, and goes on where it is among
the best 1/eta of them; nobody waits for anybody (Li et al. 2020, "A System for Massively Parallel Hyperparameter
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
from tune.pareto import Point, fronts

WORST: Point = (math.inf, -math.inf)
"""The place of a trial with an objective that is not finite."""

Order = Callable[[NDArray[np.float64]], list[int]]


def first_rung(settings: EarlyStopping, training: TrainingConfig) -> int:
    """`min_epochs`, or where that is null the first epoch of the last phase."""
    return settings.min_epochs or sum(training.phases.lengths(training.epochs)[:2]) + 1


def rungs_of(settings: EarlyStopping, training: TrainingConfig) -> tuple[int, ...]:
    """`first_rung` * eta^k for k = 0, 1, ..., below the last epoch, where nothing is left to stop."""
    rungs = []
    rung = first_rung(settings, training)
    while rung < training.epochs:
        rungs.append(rung)
        rung *= settings.eta
    return tuple(rungs)


class MOASHA:
    """Judges each trial once at each rung that it reaches.

    Objectives of an early epoch need not resemble the last ones: the three phases of a training have other weights, and
    without its KL terms the first one says little about disentanglement. All trials share the schedule, so at a rung
    they are in the same epoch of the same phase, and comparable with each other; values of different rungs are never
    compared. A search over the schedule itself therefore cannot stop early: see
    `tune.early_stopping.actor.check_early_stopping`.
    """

    def __init__(self, settings: EarlyStopping, training: TrainingConfig) -> None:
        self.rungs = rungs_of(settings, training)
        self.eta = settings.eta
        self._order = ORDERS[settings.tie_break]
        self._points: dict[int, dict[int, Point]] = {rung: {} for rung in self.rungs}

    def report(self, trial: int, epoch: int, point: Sequence[float]) -> bool:
        """Take in the objectives of `trial` after `epoch`, counted from 1; whether it is to go on.

        A rung that fewer than eta trials have reached stops none. A trial that comes past a rung a second time, after a
        restart, has passed it.
        """
        if epoch not in self._points or trial in self._points[epoch]:
            return True
        self.replay(trial, epoch, point)
        reached = self._points[epoch]
        kept = len(reached) // self.eta
        return kept == 0 or trial in best(reached, kept, self._order)

    def replay(self, trial: int, epoch: int, point: Sequence[float]) -> None:
        """Take in what was reported before: later trials are compared with it."""
        if epoch in self._points:
            nmse, disentanglement = point
            finite = math.isfinite(nmse) and math.isfinite(disentanglement)
            self._points[epoch][trial] = (nmse, disentanglement) if finite else WORST


def best(points: Mapping[int, Point], n: int, order: Order) -> set[int]:
    """The `n` best trials: front by front (Deb et al. 2002), and by `order` in the front that does not fit whole."""
    chosen: set[int] = set()
    for front in fronts(points):
        left = n - len(chosen)
        if len(front) > left:
            ordered = order(_scaled([points[trial] for trial in front]))
            return chosen.union(front[index] for index in ordered[:left])
        chosen.update(front)
    return chosen


def epsilon_net(front: NDArray[np.float64]) -> list[int]:
    """From the lowest NMSE, always to the point farthest from all before it: any first k cover the front.

    Args:
        front: (n, 2), by rising NMSE.

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
    """The ends first, then by falling crowding distance (NSGA-II, Deb et al. 2002): lonely points before crowded ones.

    Args:
        front: (n, 2), by rising NMSE.
    """
    distances = np.full(len(front), np.inf)
    distances[1:-1] = np.abs(front[2:] - front[:-2]).sum(axis=1)
    return [int(index) for index in np.argsort(-distances, kind="stable")]


ORDERS: dict[str, Order] = {"epsilon_net": epsilon_net, "crowding": crowding}


def _scaled(front: Sequence[Point]) -> NDArray[np.float64]:
    """(n, 2): each objective in units of the front's extent, as both have scales of their own."""
    points = np.array(front)
    if not np.isfinite(points).all():
        return np.zeros_like(points)  # the front of those at the worst place
    extent = np.ptp(points, axis=0)
    scaled: NDArray[np.float64] = (points - points.min(axis=0)) / np.where(extent > 0, extent, 1)
    return scaled
