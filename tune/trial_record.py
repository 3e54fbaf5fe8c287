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
from hcvae.errors import UserError
from tune.identity import TrialIdentity
from tune.ownership import claim_of, outside_budget
from tune.pareto import OBJECTIVES, Point


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

    Raises:
        UserError: another program has replaced an attribute of the trial by something else.
    """
    complete = trial.state == TrialState.COMPLETE
    finite = [value if math.isfinite(value) else None for value in trial.values] if complete else [None, None]
    claim, attributes = claim_of(trial), trial.user_attrs
    try:
        return TrialSummary(
            number=trial.number,
            identity=claim.trial,
            state=trial.state.name.lower(),
            reconstruction_nmse=finite[0],
            disentanglement=finite[1],
            best_epoch=attributes.get("best_epoch"),
            seconds=attributes.get("seconds"),
            failure=attributes.get("failure"),
            figure_failure=attributes.get("figure_failure"),
            attempt=claim.attempt,
            troubles=tuple(finding["trouble"] for finding in attributes.get("diagnosis", ())),
            params=trial.params,
            stopped=attributes.get("stopped"),
            precision=attributes.get("precision"),
            outside_budget=outside_budget(trial, study),
            foreign_values=_foreign_values(trial) if complete else None,
        )
    except (ValidationError, KeyError, TypeError) as error:
        reason = error.errors()[0] if isinstance(error, ValidationError) else {"loc": ("diagnosis",), "msg": str(error)}
        raise UserError(
            f"trial {trial.number}: another program has changed its user attribute {reason['loc'][0]!r}: "
            f"{reason['msg']}; restore it with optuna's study API or in optuna-dashboard"
        ) from None


def _foreign_values(trial: FrozenTrial) -> str | None:
    claim = claim_of(trial)
    reported: Any = claim.values
    if claim.trial is None:  # an earlier version recorded them in the metrics of the best epoch only
        metrics = trial.user_attrs.get("metrics") or {}
        reported = tuple(metrics.get(name) for name in OBJECTIVES)
    if reported is not None and tuple(reported) == tuple(trial.values):
        return None
    return f"another program ended it with the values {', '.join(f'{value:g}' for value in trial.values)}"
