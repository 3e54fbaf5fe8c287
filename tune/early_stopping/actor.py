"""The actor that decides whether a running trial continues: every training asks it after each epoch.

A training stops by itself: its loop asks, receives a stop, and returns. Tune's own schedulers kill trials, which leaks
the workers of Ray Train; Tune stays first in, first out.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import optuna
import ray

from hcvae.config import Section
from hcvae.errors import UserError
from hcvae.training.precision import PrecisionChoice
from tune.config import SearchConfig
from tune.early_stopping.moasha import MOASHA, Reported, first_rung, rungs_of
from tune.objectives import Objectives, Point, names_of
from tune.study.outcome import Ending
from tune.study.repetition import is_repetition
from tune.study.trial_record import TrialRecord

logger = logging.getLogger("hcvae")
Metrics = dict[str, float]
SCHEDULE = ("training.epochs", "training.phases.reconstruction", "training.phases.warmup")
"""Fields that decide in which phase an epoch lies."""


class Stop(Section):
    """Why a trial stops, and its state then."""

    state: Ending
    """`PRUNED` or `SUSPENDED`."""
    reason: str
    """The reason, in one line."""


Ask = Callable[[Metrics], Stop | None]
"""Called after each epoch of a trial; None: continue."""


class Decisions:
    """The rule of early stopping and the clocks. Made before the first trial starts; earlier reports are replayed."""

    def __init__(self, config: SearchConfig, reported: Reported) -> None:
        self._settings = config.search
        self._started = time.monotonic()
        self._stopped: dict[tuple[int, int], Stop] = {}
        early = config.search.early_stopping
        self._names = names_of(config.search.compared_by)
        self._rule: MOASHA | None = None
        if early is not None:
            self._rule = MOASHA(early, config.training, config.search.compared_by)
            self._rule.replay_all(reported)

    def decide(self, trial: int, attempt: int, metrics: Metrics, *, is_limited: bool = True) -> Stop | None:
        """Add the metrics of an epoch; return None where this attempt at `trial` continues. A stop is final.

        A repetition is not `is_limited`: neither the rule nor a budget stops it, and no trial is compared with it.
        """
        stop = self._stopped.get((trial, attempt))
        if is_limited:
            stop = stop or self._by_rule(trial, metrics) or self._by_time(metrics)
        if stop:
            self._stopped[trial, attempt] = stop
        return stop

    def end(self, trial: int, attempt: int, reason: str) -> None:
        """Stop an attempt after its epoch: its trial has been ended or adopted elsewhere."""
        self._stopped[trial, attempt] = Stop(state=Ending.SUSPENDED, reason=reason)

    def _by_rule(self, trial: int, metrics: Metrics) -> Stop | None:
        epoch = int(metrics["epoch"])
        point = tuple(metrics.get(name, math.nan) for name in self._names)
        if self._rule is None or self._rule.report(trial, epoch, point):
            return None
        best = f"the best 1/{self._rule.eta} of the trials that reached epoch {epoch}"
        return Stop(state=Ending.PRUNED, reason=f"search.early_stopping: not among {best}")

    def _by_time(self, metrics: Metrics) -> Stop | None:
        settings = self._settings
        seconds = metrics["seconds_so_far"]
        if settings.trial_seconds is not None and seconds > settings.trial_seconds:
            reason = f"search.trial_seconds: {seconds:.0f} s of training, more than {settings.trial_seconds:g}"
            return Stop(state=Ending.PRUNED, reason=reason)
        if settings.search_seconds is not None and time.monotonic() - self._started > settings.search_seconds:
            return Stop(
                state=Ending.SUSPENDED, reason=f"search.search_seconds: the {settings.search_seconds:g} s are over"
            )
        return None


class Listener:
    """The callback of a training: passes each epoch on, asks whether to continue, keeps the history and the answer."""

    def __init__(
        self,
        on_epoch: Callable[[Metrics], object],
        ask: Ask | None = None,
        on_precision: Callable[[PrecisionChoice], object] | None = None,
    ) -> None:
        self.history: list[Metrics] = []
        self.stop: Stop | None = None
        self.on_precision = on_precision
        """Called with the precision before the first epoch."""
        self._on_epoch = on_epoch
        self._ask = ask

    def __call__(self, metrics: Metrics) -> bool:
        """Return whether to continue, as `hcvae.training.fit` expects."""
        self.history.append(metrics)
        self._on_epoch(metrics)
        if self._ask is not None:
            self.stop = self._ask(metrics)
        return self.stop is None


def start_decisions(config: SearchConfig, study: optuna.Study) -> Any:
    """Start the actor, without CPUs of its own.

    After its process died, Ray starts it again with the reports from before the search, and its clocks start again.
    """
    reported = reported_at_rungs(study, rungs(config), config.search.compared_by)
    actor = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(Decisions)
    return actor.remote(config, reported)


def ask_of(decisions: Any, trial: int, attempt: int, *, is_limited: bool = True) -> Ask:
    """Return the function by which an attempt at a trial asks the actor, see `Decisions.decide`; it can be sent to
    workers of Ray Train."""

    def ask(metrics: Metrics) -> Stop | None:
        stop: Stop | None = ray.get(decisions.decide.remote(trial, attempt, metrics, is_limited=is_limited))
        return stop

    return ask


def rungs(config: SearchConfig) -> tuple[int, ...]:
    """Return the epochs at which trials are compared."""
    early = config.search.early_stopping
    if early is None:
        return ()
    return rungs_of(early, config.training)


def reported_at_rungs(
    study: optuna.Study, rungs: tuple[int, ...], objectives: Objectives
) -> dict[int, dict[int, Point]]:
    """Return the objectives of each trial of a study at `rungs`, without repetitions.

    After an interruption the latest decision on a trial may be unrecorded: it is then made at the trial's next rung.
    Reports that another program has replaced by another kind of value are left out.
    """
    found: dict[int, dict[int, Point]] = {}
    for trial in study.get_trials(deepcopy=False):
        if is_repetition(trial):
            continue
        record, replaced = TrialRecord.read(trial)
        try:
            found[trial.number] = dict(_points(record.reported, rungs, names_of(objectives)))
        except (KeyError, TypeError, ValueError):
            replaced = frozenset({"epochs_reported"})
        if replaced & {"epochs_reported", "history", "rungs"}:
            logger.warning("trial %d: another program has replaced its reports at rungs", trial.number)
    return found


def check_early_stopping(config: SearchConfig) -> None:
    """Check that trials can be compared at some epoch.

    Raises:
        UserError: no rung lies before the last epoch, or trials would differ in the schedule of their training.
    """
    early = config.search.early_stopping
    if early is None:
        return
    if not rungs(config):
        raise UserError(
            f"search.early_stopping.min_epochs: must be below training.epochs, {config.training.epochs}, "
            f"but got {first_rung(early, config.training)}"
        )
    searched = [path for path in SCHEDULE if path in config.search.space]
    if searched:
        raise UserError(
            f"search.early_stopping: compares trials in the same epoch of one schedule, but {', '.join(searched)} "
            "is searched; take it out of search.space, or search without early stopping"
        )


def _points(epochs: Any, rungs: tuple[int, ...], names: tuple[str, ...]) -> Iterator[tuple[int, Point]]:
    for metrics in epochs:
        if metrics["epoch"] in rungs:
            point = tuple(_nan_if_none(metrics[name]) for name in names)
            yield int(metrics["epoch"]), point


def _nan_if_none(value: float | None) -> float:
    return math.nan if value is None else value
