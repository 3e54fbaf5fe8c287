"""Summaries of trials for people, for `pareto.json` and for the Pareto front.

Optuna's API, its command line and its dashboard may add trials to a study, end them and change them. Their changes are
accepted as they stand in the study, but only values that a trial's own training reported have a place on the front.
"""

from collections.abc import Set
from typing import Any

from optuna.trial import FrozenTrial, TrialState
from pydantic import ConfigDict, Field

from hcvae.bundle.contents import finite_or_none
from hcvae.config import Section
from tune.constraints import why_infeasible
from tune.objectives import SPECIFIED, Objectives, Point, names_of, point_of
from tune.space.conditional import by_path
from tune.study.leases import Lease, lease_of, outside_budget
from tune.study.repetition import Repetition, repetition_of
from tune.study.trial_identity import TrialIdentity
from tune.study.trial_record import TrialRecord

SHOWN = ("best_epoch", "seconds", "failure", "figure_failure", "stopped", "precision")
"""Fields of the record that a summary has as they are."""


class Confirmed(Section):
    """The results of the repetitions of a trial; the values of the trial itself, by which it was chosen, are no part of
    them."""

    repetitions: tuple[int, ...]
    """Numbers of its complete repetitions."""
    failed: tuple[int, ...]
    """Numbers of those that ended without values."""
    mean: Point | None
    """Mean of each objective over the complete repetitions; null: there is none."""
    sd: Point | None
    """Sample standard deviation of each objective; null: fewer than two are complete."""
    lost: Point | None
    """By how much each mean is worse than the value of the trial itself, negative where it is better; null: they were
    trained with other epochs or another width, and cannot be compared."""
    model: int | None
    """The repetition nearest to the means, whose model stands for the configuration; null: none has a model."""
    infeasible: str | None = None
    """Which constraints the means of the violations exceed."""


class TrialSummary(Section):
    """One trial, as `pareto.json` and the tables show it. Beside these fields it has one for each objective, by its
    name: the value at the best epoch, or None."""

    model_config = ConfigDict(extra="allow")

    number: int
    """Its number in the study."""
    identity: str | None = None
    """Its unique identifier, which its model has too; null: it was never handed out, or by an earlier version."""
    state: str
    """waiting, running, complete, pruned or fail."""
    best_epoch: int | None
    """Epoch of the values and of the bundle."""
    seconds: float | None
    """Time spent in its epochs."""
    failure: str | None
    """Why it failed."""
    figure_failure: str | None
    """Why a figure of it is missing."""
    attempt: int = 0
    """The attempt that it ended in."""
    troubles: tuple[str, ...]
    """Names of the troubles that the diagnosis of its training found; the study has evidence and remedies."""
    params: dict[str, Any]
    """Its parameters, by dotted path."""
    stopped: str | None = None
    """Why it was stopped before its end."""
    precision: str | None = None
    """The precision of its training."""
    outside_budget: str | None = None
    """Why it does not count in this search: it was infeasible, or another study or program made it."""
    foreign_values: str | None = None
    """Why its values have no place on the front: another program has set them."""
    infeasible: str | None = None
    """Which constraints it violates, and so has no place on the front."""
    replaced_attributes: tuple[str, ...] = ()
    """Fields that are not shown, because another program has replaced them by another kind of value."""
    repetition: Repetition | None = None
    """Which trial it confirms; null: it is a trial of the search."""
    confirmed: Confirmed | None = None
    """The results of its repetitions, once all of their round have ended."""
    is_unconfirmed: bool = False
    """Whether other trials have been confirmed and it has not: then it has no place on the front."""
    violations: dict[str, float] = Field({}, exclude=True, repr=False)
    """How far it violates each constraint; 0 or less: not at all."""

    def facts(self) -> dict[str, Any]:
        """Return the trial, its objectives and parameters, and what went wrong."""
        facts: dict[str, Any] = {"number": self.number, "state": self.state} | self.objectives
        reasons = {
            "repetition": self.repetition,
            "failure": self.failure,
            "stopped": self.stopped,
            "troubles": ", ".join(self.troubles),
        }
        for name, reason in reasons.items():
            if reason:
                facts[name] = reason
        return facts | self.params

    @property
    def key(self) -> str | int:
        """Its unique identifier, or its number where it has none."""
        return self.identity or self.number

    @property
    def objectives(self) -> dict[str, float | None]:
        """The values of the objectives in their order, by name."""
        return dict(self.model_extra or {})

    @property
    def reported(self) -> Point | None:
        """The objectives that its own training has reported here, feasible or not; None where there are none."""
        values = [value for value in self.objectives.values() if value is not None]
        if self.outside_budget or self.foreign_values or len(values) < len(self.objectives):
            return None
        return tuple(values)

    @property
    def own_point(self) -> Point | None:
        """The objectives of its own training; None also where it is infeasible."""
        if self.infeasible:
            return None
        return self.reported

    @property
    def point(self) -> Point | None:
        """Its place in the space of the objectives: for a confirmed configuration the means over its repetitions,
        otherwise the values of its own training. None where it has no place there."""
        if self.repetition is not None or self.is_unconfirmed:
            return None
        if self.confirmed is None or self.confirmed.mean is None:
            return self.own_point
        if self.confirmed.infeasible:
            return None
        return self.confirmed.mean

    @property
    def why_absent(self) -> str | None:
        """Why it has no place on the front, though its own training is complete."""
        reason = self.foreign_values or self.outside_budget or self.infeasible
        if reason is None and self.confirmed is not None:
            reason = self.confirmed.infeasible
        if reason is None and self.is_unconfirmed:
            reason = "not confirmed"
            if self.confirmed is not None:
                reason += f": none of its {len(self.confirmed.failed)} repetitions is complete"
        return reason

    def owns(self, found: TrialIdentity | None) -> bool:
        """Return whether a model with the identity `found` is this trial's."""
        if found is None or self.own_point is None or (found.trial, found.values) != (self.identity, self.own_point):
            return False
        return found.trial is None or found.params == self.params


def summarize(trial: FrozenTrial, study: str | None, objectives: Objectives) -> TrialSummary:
    """Return what the study with the identifier `study` records of `trial`.

    An attribute that another program has replaced by another kind of value is left out, and named.
    """
    lease = lease_of(trial)
    outside = outside_budget(trial, study)
    record = TrialRecord()
    replaced: Set[str] = set()
    if trial.state.is_finished():
        record, replaced = TrialRecord.read(trial)
    return TrialSummary(
        number=trial.number,
        identity=lease.trial,
        state=trial.state.name.lower(),
        **_values(trial, objectives),
        **_judgement(trial, lease, record, outside),
        **record.model_dump(include=set(SHOWN)),
        attempt=lease.attempt,
        troubles=tuple(finding.trouble for finding in record.diagnosis or ()),
        params=by_path(trial.params),
        outside_budget=outside,
        repetition=repetition_of(trial, study),
        replaced_attributes=_replaced_fields(replaced),
    )


def _values(trial: FrozenTrial, objectives: Objectives) -> dict[str, float | None]:
    names = names_of(objectives)
    if trial.state != TrialState.COMPLETE:
        return dict.fromkeys(names)
    return dict(zip(names, map(finite_or_none, trial.values), strict=True))


def _judgement(trial: FrozenTrial, lease: Lease, record: TrialRecord, outside: str | None) -> dict[str, Any]:
    """Return the fields of a summary that only a complete trial has: whether its values count."""
    if trial.state != TrialState.COMPLETE:
        return {}
    judgement: dict[str, Any] = {"infeasible": why_infeasible(trial.constraints), "violations": trial.constraints}
    if outside is None:
        judgement["foreign_values"] = _foreign_values(trial, lease, record)
    return judgement


def _replaced_fields(replaced: Set[str]) -> tuple[str, ...]:
    """Return the fields of a summary that lack a value because those of the record in `replaced` were replaced."""
    fields = replaced & set(SHOWN)
    if "diagnosis" in replaced:
        fields |= {"troubles"}
    return tuple(sorted(fields))


def _foreign_values(trial: FrozenTrial, lease: Lease, record: TrialRecord) -> str | None:
    reported: Any = lease.values
    if lease.trial is None:  # an earlier version recorded them in the metrics of the best epoch only
        reported = point_of(SPECIFIED, record.metrics or {})
    if reported is not None and tuple(reported) == tuple(trial.values):
        return None
    values = ", ".join(f"{value:g}" for value in trial.values)
    return f"another program ended it with the values {values}"
