"""What a study records of its trials, and which of it this program vouches for.

Optuna's API, its command line and its dashboard may add trials to a study, end them and change them. What they did is
accepted as it stands in the study; a trial has a place on the Pareto front only where its own training reported its
values.
"""

import math
from typing import Any

from optuna.trial import FrozenTrial, TrialState
from pydantic import ValidationError

from hcvae.config import Section
from tune.pareto import OBJECTIVES, Point
from tune.study.leases import Lease, lease_of, outside_budget
from tune.study.trial_attributes import attributes_of
from tune.study.trial_identity import TrialIdentity

SHOWN = ("best_epoch", "seconds", "failure", "figure_failure", "stopped", "precision")
"""Attributes that a summary has as they are."""


class TrialSummary(Section):
    """One trial, as `pareto.json` and the tables show it."""

    number: int
    """Its number in the study."""
    identity: str | None = None
    """Its unique identifier, which its model bears too; null: it was never handed out, or by an earlier version."""
    state: str
    """waiting, running, complete, pruned or fail."""
    reconstruction_nmse: float | None
    """First objective, at the best epoch."""
    disentanglement: float | None
    """Second objective, at the best epoch."""
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
    """What the diagnosis of its training found, by name; evidence and remedies are in the study."""
    params: dict[str, Any]
    """Its parameters, by dotted path."""
    stopped: str | None = None
    """Why it was stopped before its end."""
    precision: str | None = None
    """In which it was trained."""
    outside_budget: str | None = None
    """Why it is no trial of this search: it was infeasible, or another study or program made it."""
    foreign_values: str | None = None
    """Why its values give it no place on the front: another program has set them."""
    replaced_attributes: tuple[str, ...] = ()
    """What of the above another program has replaced by something of another kind, so that it is not shown."""

    def facts(self) -> dict[str, Any]:
        """The trial, its objectives and parameters; what went wrong, if anything."""
        shown = {name: getattr(self, name) for name in ("number", "state", *OBJECTIVES)}
        reasons = {"failure": self.failure, "stopped": self.stopped, "troubles": ", ".join(self.troubles)}
        return shown | {name: reason for name, reason in reasons.items() if reason} | self.params

    @property
    def point(self) -> Point | None:
        """Its place in the plane of the objectives; None where its training has not reported one here."""
        if self.reconstruction_nmse is None or self.disentanglement is None:
            return None
        if self.outside_budget or self.foreign_values:
            return None
        return self.reconstruction_nmse, self.disentanglement

    def owns(self, found: TrialIdentity | None) -> bool:
        """Whether a model with the identity `found` is this trial's."""
        if found is None or self.point is None or (found.trial, found.values) != (self.identity, self.point):
            return False
        return found.trial is None or found.params == self.params


def summarize(trial: FrozenTrial, study: str | None) -> TrialSummary:
    """What the study with the identifier `study` records of `trial`.

    An attribute that another program has replaced by something of another kind is left out, and named.
    """
    complete, outside = trial.state == TrialState.COMPLETE, outside_budget(trial, study)
    finite = [value if math.isfinite(value) else None for value in trial.values] if complete else [None, None]
    claim, attributes = lease_of(trial), attributes_of(trial) if trial.state.is_finished() else {}
    content: dict[str, Any] = {name: attributes.get(name) for name in SHOWN}
    content["troubles"] = _troubles(attributes.get("diagnosis"))
    content |= {
        "number": trial.number,
        "identity": claim.trial,
        "state": trial.state.name.lower(),
        "reconstruction_nmse": finite[0],
        "disentanglement": finite[1],
        "attempt": claim.attempt,
        "params": trial.params,
        "outside_budget": outside,
        "foreign_values": _foreign_values(trial, claim) if complete and outside is None else None,
    }
    try:
        return TrialSummary.model_validate(content)
    except ValidationError as error:
        replaced = sorted({str(detail["loc"][0]) for detail in error.errors()})
        emptied = {name: () if name == "troubles" else None for name in replaced}
        return TrialSummary.model_validate(content | emptied | {"replaced_attributes": tuple(replaced)})


def _troubles(diagnosis: Any) -> Any:
    try:
        return tuple(finding["trouble"] for finding in diagnosis or ())
    except (KeyError, TypeError):
        return diagnosis


def _foreign_values(trial: FrozenTrial, claim: Lease) -> str | None:
    reported: Any = claim.values
    if claim.trial is None:  # an earlier version recorded them in the metrics of the best epoch only
        metrics = trial.user_attrs.get("metrics") or {}
        reported = tuple(metrics.get(name) for name in OBJECTIVES)
    if reported is not None and tuple(reported) == tuple(trial.values):
        return None
    return f"another program ended it with the values {', '.join(f'{value:g}' for value in trial.values)}"
