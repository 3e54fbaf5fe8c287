"""Searches replayed on recorded learning curves, under a simulated clock.

A recording holds, for each of many configurations drawn at random, both objectives after every epoch and the seconds
that the epoch took. A replay gives configurations to workers, lets their epochs take the recorded time, and asks
the rule of `tune.early_stopping.moasha` as a search does. A sampler suggests freely; the replay trains the nearest
recorded configuration that it has not used yet, and reports that one to the sampler.
"""

import heapq
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.trial import Trial, TrialState

from hcvae.config import Section
from tune.config import EarlyStopping, Parameter, SearchConfig
from tune.early_stopping.moasha import MOASHA
from tune.objectives import SPECIFIED, Point, directions_of
from tune.space.search_space import suggest
from tune.study.pareto import hypervolume, pareto_front
from tune.study.samplers import make_sampler

WORKERS = 2


class Curve(Section):
    """One recorded training."""

    index: int
    """Index of the sample."""
    params: dict[str, int | float]
    """The sampled parameters, by dotted path."""
    points: tuple[Point, ...]
    """Both objectives after each epoch."""
    seconds: tuple[float, ...]
    """Time of each epoch."""
    best_epoch: int
    """Epoch, from 1, whose objectives are the trial's."""
    base: str
    """The base configuration, see `benchmarks.early_stopping.fingerprint`."""

    @property
    def value(self) -> Point:
        """The objectives of the trial."""
        return self.points[self.best_epoch - 1]


@dataclass(frozen=True)
class Arm:
    """One way of searching."""

    name: str
    sampler: str
    stops: bool


ARMS = (
    Arm("random", "random", False),
    Arm("TPE", "tpe", False),
    Arm("random + MO-ASHA", "random", True),
    Arm("TPE + MO-ASHA", "tpe", True),
)


@dataclass
class Replay:
    """The result of one replay."""

    times: list[float]
    """Ends of complete trials in seconds of the simulated clock, rising."""
    hypervolumes: list[float]
    """After each of them."""
    complete: int = 0
    pruned: int = 0

    def at(self, seconds: float) -> float:
        """Return the hypervolume at a time."""
        done = int(np.searchsorted(self.times, seconds, side="right"))
        return self.hypervolumes[done - 1] if done else 0.0

    def reaches(self, area: float) -> float:
        """Return when the hypervolume first reached `area`; infinity if it never did."""
        return next(
            (time for time, reached in zip(self.times, self.hypervolumes, strict=True) if reached >= area), math.inf
        )


class Pool:
    """The recorded configurations that a replay has not used yet."""

    def __init__(self, curves: Sequence[Curve], space: Mapping[str, Parameter]) -> None:
        self._curves = list(curves)
        self._space = space
        self._places = np.array([self._place(curve.params) for curve in curves])
        self._free = np.full(len(curves), True)

    def __bool__(self) -> bool:
        return bool(self._free.any())

    def take_nearest(self, params: Mapping[str, float]) -> Curve:
        """Remove and return the unused configuration nearest to `params`, in units of the (log) ranges."""
        distances = np.linalg.norm(self._places - self._place(params), axis=1)
        nearest = int(np.argmin(np.where(self._free, distances, np.inf)))
        self._free[nearest] = False
        return self._curves[nearest]

    def _place(self, params: Mapping[str, float]) -> NDArray[np.float64]:
        return np.array([_share(self._space[path], params[path]) for path in self._space])


def replay(
    curves: Sequence[Curve], config: SearchConfig, early: EarlyStopping | None, horizon: float, seed: int
) -> Replay:
    """Search with `config.search.sampler` for `horizon` seconds, or until every configuration has been tried."""
    settings = config.search.model_copy(update={"seed": seed, "early_stopping": early})
    config = config.model_copy(update={"search": settings})
    rule = MOASHA(early, config.training, SPECIFIED) if early else None
    study = _study(config)
    pool = Pool(curves, settings.space)
    found = Replay([], [])
    front = dict[int, Point]()
    running: list[tuple[float, int, int, Trial, Curve]] = []  # end of the epoch, number, epoch, ...
    for _ in range(min(WORKERS, len(curves))):
        heapq.heappush(running, _start(study, pool, config, 0.0))
    while running and running[0][0] <= horizon:
        now, number, epoch, trial, curve = heapq.heappop(running)
        if epoch == len(curve.points):
            study.tell(trial, curve.value)
            front[number] = curve.value
            front = {member: front[member] for member in pareto_front(front, SPECIFIED)}
            found.times.append(now)
            found.hypervolumes.append(hypervolume(front, SPECIFIED))
            found.complete += 1
        elif rule is not None and not rule.report(number, epoch, curve.points[epoch - 1]):
            study.tell(trial, state=TrialState.PRUNED)
            found.pruned += 1
        else:
            heapq.heappush(running, (now + curve.seconds[epoch], number, epoch + 1, trial, curve))
            continue
        if pool:
            heapq.heappush(running, _start(study, pool, config, now))
    return found


def replays(
    curves: Sequence[Curve],
    config: SearchConfig,
    early: EarlyStopping,
    horizon: float,
    seeds: range,
    arms: Sequence[Arm] = ARMS,
) -> Iterator[tuple[Arm, list[Replay]]]:
    """Yield each of `arms` with its replays, one per seed."""
    for arm in arms:
        settings = config.search.model_copy(update={"sampler": arm.sampler})
        base = config.model_copy(update={"search": settings})
        yield arm, [replay(curves, base, early if arm.stops else None, horizon, seed) for seed in seeds]


def _study(config: SearchConfig) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(directions=directions_of(SPECIFIED), sampler=make_sampler(config, 0))


def _start(study: optuna.Study, pool: Pool, config: SearchConfig, now: float) -> tuple[float, int, int, Trial, Curve]:
    asked = study.ask()
    curve = pool.take_nearest({path: float(value) for path, value in suggest(asked, config).items()})
    study.tell(asked, state=TrialState.FAIL)  # samplers do not read failed trials
    study.enqueue_trial(curve.params)
    trial = study.ask()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a value outside its range would not be the recorded one
        suggest(trial, config)
    return now + curve.seconds[0], trial.number, 1, trial, curve


def _share(parameter: Parameter, value: float) -> float:
    low = float(parameter.low)  # type: ignore[union-attr] # the recorded space has ranges only
    high = float(parameter.high)  # type: ignore[union-attr]
    if parameter.log:  # type: ignore[union-attr]
        low = math.log(low)
        high = math.log(high)
        value = math.log(value)
    return (value - low) / (high - low)
