"""Budgets that end a search besides its number of trials: its time, and a front that has stopped growing."""

import time

import optuna

from tune.config import SearchSettings
from tune.objectives import Point
from tune.study.leases import study_id
from tune.study.opening import ended_at, finished_trials
from tune.study.pareto import hypervolume, pareto_front
from tune.study.trial_summary import summarize


class Budget:
    """The budgets of one start of a search, besides the number of trials.

    The time counts from the making of this object, so each start has all of it. The standstill counts over the whole
    study.
    """

    def __init__(self, settings: SearchSettings, study: optuna.Study) -> None:
        self._settings = settings
        self._objectives = settings.compared_by
        self._started = time.monotonic()
        self._front: dict[int, Point] = {}
        self._standstill = 0
        identity = study_id(study)
        for trial in sorted(finished_trials(study), key=ended_at):
            self.count(trial.number, summarize(trial, identity, self._objectives).point)

    def count(self, number: int, point: Point | None) -> None:
        """Count a trial that has finished; `point` is None where it did not complete."""
        before = hypervolume(self._front, self._objectives)
        if point is not None:
            points = {**self._front, number: point}
            self._front = {member: points[member] for member in pareto_front(points, self._objectives)}
        if hypervolume(self._front, self._objectives) > before:
            self._standstill = 0
        else:
            self._standstill += 1

    @property
    def spent(self) -> str | None:
        """The budget that is spent, and how to continue; None while trials may be handed out."""
        stall = self._settings.stall_trials
        if self.out_of_time:
            seconds = self._settings.search_seconds
            return f"search.search_seconds: {seconds:g} s are over; the same command continues for as long again"
        if stall is not None and self._standstill >= stall:
            return (
                f"search.stall_trials: the hypervolume has not grown for {self._standstill} finished trials; "
                "to continue, set a larger stall_trials, or null"
            )
        return None

    @property
    def out_of_time(self) -> bool:
        """Whether `search.search_seconds` are over."""
        seconds = self._settings.search_seconds
        return seconds is not None and time.monotonic() - self._started > seconds
