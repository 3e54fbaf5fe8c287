"""Confirmation: which configurations are trained again after the budget of a search, and how often.

A round of confirmation is chosen once, and enqueued in one transaction: a search that is killed finishes the round that
has begun, and of several processes the first one to hold the study's lock enqueues it. Rounds that begin later, after
more trials or with other settings, add only what is missing.
"""

import itertools
from collections.abc import Iterable, Mapping

import optuna

from tune.config import SearchSettings
from tune.objectives import Objectives, Point
from tune.study.confirmed_trials import by_key, confirmed_by
from tune.study.pareto import compromise, fronts, hypervolume
from tune.study.repetition import Repetition, planned
from tune.study.trial_summary import TrialSummary


def promising(points: Mapping[int, Point], count: int, objectives: Objectives) -> list[int]:
    """Return the numbers of the `count` most promising points: the compromise of the front, which `jobs.pull` would
    take, then those of the front that enlarge the hypervolume most, then those of the next front.

    One after the other, see Guerreiro et al. 2016, "Greedy Hypervolume Subset Selection in Low Dimensions".
    """
    chosen: dict[int, Point] = {}
    best = compromise(points, objectives)
    if best is not None:
        chosen[best.number] = points[best.number]
    for front in fronts(points, objectives):
        left = [number for number in front if number not in chosen]
        while left and len(chosen) < count:
            number = max(left, key=lambda number: hypervolume(chosen | {number: points[number]}, objectives))
            chosen[number] = points[number]
            left.remove(number)
    return list(chosen)


def next_round(summaries: Iterable[TrialSummary], settings: SearchSettings, study: str | None) -> list[Repetition]:
    """Return the repetitions that `search.confirm` wants and the study does not have, each first one before the second
    ones; none where nothing is missing.

    Args:
        summaries: the ended trials of the study.
        settings: the search.
        study: identifier of the study.
    """
    confirm = settings.confirm
    if confirm is None:
        return []
    summaries = list(summaries)
    trials = by_key(summaries)
    repetitions = [summary.repetition for summary in summaries if summary.repetition]
    present = _places(repetitions, trials)
    identities = {}
    points = {}
    for trial in trials.values():
        if trial.own_point:
            identities[trial.number] = trial.identity
            points[trial.number] = trial.own_point
    chosen = promising(points, confirm.members, settings.compared_by)
    wanted = itertools.product(range(1, confirm.repeats + 1), chosen)
    missing = [place for place in wanted if place not in present]
    last = max((repetition.round for repetition in repetitions), default=0)
    where = {"round": last + 1, "size": len(missing)}
    added = []
    for index, number in missing:
        added.append(planned(confirm, study, number=number, trial=identities[number], index=index, **where))
    return added


def _places(repetitions: Iterable[Repetition], trials: Mapping[str | int, TrialSummary]) -> set[tuple[int, int]]:
    """Return the index of each repetition, and the number of the trial that it confirms."""
    places = set()
    for repetition in repetitions:
        confirmed = confirmed_by(repetition, trials)
        if confirmed is not None:
            places.add((repetition.index, confirmed.number))
    return places


def enqueue(study: optuna.Study, repetitions: Iterable[Repetition], summaries: Iterable[TrialSummary]) -> None:
    """Enqueue a round. Use it under the study's lock, in a transaction."""
    trials = by_key(summaries)
    for repetition in repetitions:
        confirmed = confirmed_by(repetition, trials)
        assert confirmed is not None, "a round is made for trials of the study"
        study.add_trial(repetition.waiting(confirmed.params))
