"""The attributes that a study holds of each trial: names, types, and how to read those that other programs changed."""

from collections.abc import Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial
from pydantic import ConfigDict, ValidationError

from hcvae.bundle import nonfinite_to_none
from hcvae.config import Section
from tune.objectives import Objectives, names_of
from tune.study.outcome import Ending, Outcome
from tune.study.trial_attributes import attributes_of, set_attributes

Epochs = tuple[dict[str, Any], ...]
"""Metrics by name of each epoch, with its number as `epoch`; None where one was not finite."""


class RecordedFinding(Section):
    """One finding of the diagnosis of a training, see `hcvae.finding.Finding`."""

    trouble: str
    evidence: str = ""
    remedy: str = ""


class TrialRecord(Section):
    """What a study records of a trial besides its parameters, values, state and lease.

    A field is written under its own name; None removes the attribute, and a field that is not set leaves it as it is.
    """

    model_config = ConfigDict(extra="ignore")  # attributes of other programs

    failure: str | None = None
    """Why it failed."""
    stopped: str | None = None
    """Why it was stopped before its end."""
    values_at_stop: tuple[float | None, ...] | None = None
    """Objectives of the last epoch of a pruned trial."""
    deaths: tuple[str, ...] | None = None
    """Why each process that died while it ran the trial did so."""
    traceback: str | None = None
    """The end of the traceback of a failure."""
    best_epoch: int | None = None
    """Epoch of the values and of the bundle, from 1."""
    epochs: int | None = None
    """Epochs trained."""
    seconds: float | None = None
    """Time spent in its epochs."""
    epochs_reported: Epochs | None = None
    """Objectives of each epoch: at rungs while the trial runs, of all epochs when it has ended."""
    diagnosis: tuple[RecordedFinding, ...] | None = None
    """What looks wrong in its training; None where nothing was trained."""
    figure_failure: str | None = None
    """Why a figure is missing."""
    precision: str | None = None
    """The precision of its training."""
    precision_choice: dict[str, Any] | None = None
    """The same with the reason, see `hcvae.training.precision.PrecisionChoice`."""
    git_revision: str | None = None
    """Revision of the checkout that trained it."""
    history: Epochs | None = None
    """Metrics of all epochs, of a trial of an earlier version that has ended."""
    rungs: Epochs | None = None
    """Metrics at rungs, of a running trial of an earlier version."""
    metrics: dict[str, Any] | None = None
    """Metrics of the best epoch, of a trial of an earlier version."""

    @classmethod
    def of(cls, outcome: Outcome, objectives: Objectives, deaths: tuple[str, ...], **known: Any) -> "TrialRecord":
        """Return the record of an ended trial; `known` sets fields that the outcome does not have, or replaces them."""
        precision = outcome.precision
        content: dict[str, Any] = {
            "failure": outcome.failure,
            "stopped": outcome.stopped,
            "values_at_stop": _values_at_stop(outcome, objectives),
            "deaths": deaths or None,
            "traceback": outcome.traceback,
            "best_epoch": outcome.best_epoch,
            "epochs": len(outcome.history),
            "seconds": sum(epoch["seconds"] or 0 for epoch in outcome.history),
            "epochs_reported": objectives_by_epoch(outcome.history, objectives),
            "figure_failure": outcome.figure_failure,
            "precision": None,
            "precision_choice": None,
        }
        if precision is not None:
            content |= {"precision": precision.used, "precision_choice": precision.model_dump(mode="json")}
        return cls.model_validate(content | known)

    @classmethod
    def read(cls, trial: FrozenTrial) -> tuple["TrialRecord", frozenset[str]]:
        """Return the record of `trial`, without fields that another program has replaced by another kind of value, and
        the names of those fields."""
        content = attributes_of(trial)
        try:
            return cls.model_validate(content), frozenset()
        except ValidationError as error:
            replaced = frozenset(str(detail["loc"][0]) for detail in error.errors())
            for name in replaced:
                del content[name]
            return cls.model_validate(content), replaced

    @property
    def reported(self) -> Epochs:
        """The epochs whose objectives are recorded, in whichever field this or an earlier version recorded them."""
        return self.epochs_reported or self.history or self.rungs or ()

    def attributes(self) -> dict[str, Any]:
        """Return the fields that are set, by name, as JSON values."""
        return self.model_dump(mode="json", exclude_unset=True)

    def write(self, study: optuna.Study, trial: Trial) -> None:
        """Record the fields that are set in a running trial."""
        set_attributes(study, trial, self.attributes())


def objectives_by_epoch(
    history: Sequence[dict[str, float | None]] | Sequence[dict[str, float]], objectives: Objectives
) -> Epochs:
    """Return the number and the objectives of each epoch; None where one is not finite."""
    names = ("epoch", *names_of(objectives))
    reported = []
    for metrics in history:
        reported.append({name: metrics[name] for name in names})
    return tuple(nonfinite_to_none(reported))


def _values_at_stop(outcome: Outcome, objectives: Objectives) -> tuple[float | None, ...] | None:
    if outcome.state != Ending.PRUNED:
        return None
    last = outcome.history[-1]
    return tuple(last[name] for name in names_of(objectives))
