"""Trials judged by the mean of their repetitions.

Of many trials the best ones are also the luckiest ones, so their values are better than those of further trainings of
the same configuration (the winner's curse). A configuration is therefore judged by its repetitions alone, whose seeds
played no part in the choice: the mean of their values has no bias from it.
"""

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from tune.constraints import why_infeasible
from tune.objectives import Objectives, Point
from tune.study.pareto import losses_of
from tune.study.repetition import Repetition
from tune.study.trial_summary import Confirmed, TrialSummary

ENDED = ("complete", "pruned", "fail")
"""States of summaries of trials that have ended."""


def with_confirmations(summaries: Iterable[TrialSummary], objectives: Objectives) -> tuple[TrialSummary, ...]:
    """Return `summaries`, confirmed trials with the results of their repetitions.

    Repetitions count once all of their round have ended. From then on, trials that are not confirmed have no place on
    the front; unless no repetition is complete, which confirms nothing.
    """
    summaries = tuple(summaries)
    repetitions = _by_confirmed_trial(summaries)
    confirmed = {}
    for summary in summaries:
        if summary.number in repetitions:
            confirmed[summary.number] = _confirmed(summary, repetitions[summary.number], objectives)
    with_means = {number for number, each in confirmed.items() if each.mean is not None}
    judged = []
    for summary in summaries:
        is_trial = summary.own_point is not None and summary.repetition is None
        is_unconfirmed = is_trial and bool(with_means) and summary.number not in with_means
        update = {"confirmed": confirmed.get(summary.number), "is_unconfirmed": is_unconfirmed}
        judged.append(summary.model_copy(update=update))
    return tuple(judged)


def ended_in_round(summaries: Iterable[TrialSummary], number: int) -> int:
    """Return how many repetitions of a round of confirmation have ended."""
    return _n_by_round(_ended(summaries))[number]


def confirmed_by(repetition: Repetition, summaries: Mapping[str | int, TrialSummary]) -> TrialSummary | None:
    """Return the trial that `repetition` confirms, of those `by_key`; None where the study no longer holds it."""
    return summaries.get(repetition.confirms)


def by_key(summaries: Iterable[TrialSummary]) -> dict[str | int, TrialSummary]:
    """Return the trials of the search by `TrialSummary.key`."""
    found: dict[str | int, TrialSummary] = {}
    for summary in summaries:
        if summary.repetition is None:
            found.setdefault(summary.key, summary)
    return found


def mean_loss(confirmed: Sequence[Confirmed]) -> Point | None:
    """Return by how much the means are worse than the single values on average, for each objective; None where none
    can be compared."""
    lost = [each.lost for each in confirmed if each.lost is not None]
    if not lost:
        return None
    return _means(lost)


def _by_confirmed_trial(summaries: Sequence[TrialSummary]) -> dict[int, list[TrialSummary]]:
    """Return the repetitions of complete rounds, by number of the trial that they confirm."""
    trials = by_key(summaries)
    ended = _ended(summaries)
    n_by_round = _n_by_round(ended)
    found: dict[int, list[TrialSummary]] = {}
    for repetition, summary in ended:
        trial = confirmed_by(repetition, trials)
        if trial is not None and n_by_round[repetition.round] >= repetition.size:
            found.setdefault(trial.number, []).append(summary)
    return found


def _ended(summaries: Iterable[TrialSummary]) -> list[tuple[Repetition, TrialSummary]]:
    """Return the repetitions that have ended; of copies that another program has made, one that is complete."""
    found: dict[tuple[object, ...], tuple[Repetition, TrialSummary]] = {}
    for summary in summaries:
        repetition = summary.repetition
        if repetition is not None and summary.state in ENDED:
            place = (repetition.confirms, repetition.index)
            if place not in found or found[place][1].reported is None:
                found[place] = repetition, summary
    return list(found.values())


def _n_by_round(ended: Iterable[tuple[Repetition, TrialSummary]]) -> Counter[int]:
    return Counter(repetition.round for repetition, _ in ended)


def _confirmed(trial: TrialSummary, repetitions: Sequence[TrialSummary], objectives: Objectives) -> Confirmed:
    complete = _reported(repetitions)
    failed = [repetition.number for repetition in repetitions if repetition.number not in complete]
    mean = sd = lost = model = infeasible = None
    if complete:
        mean = _means(complete.values())
        lost = _lost(trial, repetitions, mean, objectives)
        model = _nearest(mean, repetitions, objectives)
        infeasible = why_infeasible(_mean_violations(repetitions))
    if len(complete) > 1:
        sd = tuple(map(statistics.stdev, zip(*complete.values(), strict=True)))
    return Confirmed(
        repetitions=tuple(complete),
        failed=tuple(failed),
        mean=mean,
        sd=sd,
        lost=lost,
        model=model,
        infeasible=infeasible,
    )


def _reported(repetitions: Iterable[TrialSummary]) -> dict[int, Point]:
    """Return the values of the complete repetitions by number."""
    return {repetition.number: repetition.reported for repetition in repetitions if repetition.reported}


def _means(points: Iterable[Point]) -> Point:
    return tuple(map(statistics.fmean, zip(*points, strict=True)))


def _lost(
    trial: TrialSummary, repetitions: Sequence[TrialSummary], mean: Point, objectives: Objectives
) -> Point | None:
    """Return by how much `mean` is worse than the values of `trial`; None where they cannot be compared."""
    is_comparable = all(each.repetition is not None and each.repetition.is_comparable for each in repetitions)
    if trial.reported is None or not is_comparable:
        return None
    lost = []
    for objective, value, single in zip(objectives, mean, trial.reported, strict=True):
        lost.append(objective.sign * (value - single))
    return tuple(lost)


def _mean_violations(repetitions: Sequence[TrialSummary]) -> dict[str, float]:
    """Return the mean violation of each constraint over the complete repetitions."""
    found: dict[str, list[float]] = {}
    for repetition in repetitions:
        if repetition.reported:
            for name, violation in repetition.violations.items():
                found.setdefault(name, []).append(violation)
    return {name: statistics.fmean(values) for name, values in found.items()}


def _nearest(mean: Point, repetitions: Sequence[TrialSummary], objectives: Objectives) -> int | None:
    """Return the repetition with a model nearest to the means, each objective on the scale to its ideal."""
    goal = losses_of(mean, objectives)
    distances = {}
    for repetition in repetitions:
        if repetition.own_point:
            distances[repetition.number] = math.dist(goal, losses_of(repetition.own_point, objectives))
    return min(distances, key=lambda number: distances[number], default=None)
