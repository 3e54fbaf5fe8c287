"""Confirmation: which configurations are trained again after the budget of a search, and how often.

A round of confirmation is chosen once, and enqueued in one transaction: a search that is killed finishes the round that
has begun, and of several processes the first one to hold the study's lock enqueues it. Rounds that begin later, after
more trials or with other settings, add only what is missing.
"""

from collections.abc import Iterable, Mapping

import optuna

from tune.config import SearchSettings
from tune.objectives import Objectives, Point
from tune.study.configurations import by_key, confirmed_by
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
    candidates = {trial.number: trial for trial in trials.values() if trial.own_point}
    points = {number: trial.own_point for number, trial in candidates.items() if trial.own_point}
    chosen = promising(points, confirm.members, settings.compared_by)
    present = set()
    last = 0
    for repetition in (summary.repetition for summary in summaries if summary.repetition):
        last = max(last, repetition.round)
        confirmed = confirmed_by(repetition, trials)
        present.add((confirmed.number if confirmed else None, repetition.index))
    missing = []
    for index in range(1, confirm.repeats + 1):
        missing += [(number, index) for number in chosen if (number, index) not in present]
    where = {"round": last + 1, "size": len(missing)}
    return [
        planned(confirm, study, number=number, trial=candidates[number].identity, index=index, **where)
        for number, index in missing
    ]


def enqueue(study: optuna.Study, repetitions: Iterable[Repetition], summaries: Iterable[TrialSummary]) -> None:
    """Enqueue a round. Use it under the study's lock, in a transaction."""
    trials = by_key(summaries)
    for repetition in repetitions:
        confirmed = confirmed_by(repetition, trials)
        assert confirmed is not None, "a round is made for trials of the study"
        study.add_trial(repetition.waiting(confirmed.params))
