"""The front of a search as a table for a terminal, and the places of its trials in words."""

from collections.abc import Iterable

from optuna.trial import FrozenTrial

from hcvae.terminal import TerminalTable
from tune.objectives import Objective, Objectives, Point, shown
from tune.space.entries import short
from tune.study.pareto import compromise, hypervolume
from tune.study.trial_summary import TrialSummary


def pareto_table(members: tuple[TrialSummary, ...], objectives: Objectives) -> TerminalTable:
    """Return a table of the objectives and parameters of each member of a front; `*` marks the compromise."""
    points = points_of(members)
    best = compromise(points, objectives)
    names = parameter_names(members)
    notes = []
    if best:
        notes.append(f"* {best}")
    if any(member.confirmed for member in members):
        notes.append("means ± standard deviations of the repetitions of each trial")
    title = f"Pareto front, hypervolume {hypervolume(points, objectives):.4f}"
    headers = ["trial", *map(_with_arrow, objectives)]
    for name in names:
        headers.append(name.rpartition(".")[2])
    table = TerminalTable(title, tuple(headers), caption="; ".join(notes))
    for member in members:
        label = str(member.number)
        if best and member.number == best.number:
            label += " *"
        values = [short(member.params.get(name, "-"), 3) for name in names]
        table.rows.append((label, *with_sd(member), *values))
    return table


def _with_arrow(objective: Objective) -> str:
    """Return the name of an objective, and whether lower or higher values are better, for a header."""
    if objective.direction == "minimize":
        return f"{objective.name} v"
    return f"{objective.name} ^"


def with_sd(summary: TrialSummary) -> list[str]:
    """Return the place of a trial for people, a text for each objective: of a confirmed one mean and standard
    deviation, also where the means violate a constraint, so that it has no place."""
    point = summary.point
    sd = None
    if summary.confirmed is not None and summary.confirmed.mean is not None:
        point = summary.confirmed.mean
        sd = summary.confirmed.sd
    values = list(map(shown, point or ()))
    if sd is None:
        return values
    return list(map(" ± ".join, zip(values, map(shown, sd), strict=True)))


def points_of(trials: Iterable[TrialSummary]) -> dict[int, Point]:
    """Return the places of `trials` in the space of the objectives, by number; trials without a place are left out."""
    return {trial.number: trial.point for trial in trials if trial.point}


def parameter_names(trials: Iterable[TrialSummary | FrozenTrial]) -> list[str]:
    """Return the names of the parameters of `trials`, in the order in which they first appear."""
    names: dict[str, None] = {}
    for trial in trials:
        names |= dict.fromkeys(trial.params)
    return list(names)
