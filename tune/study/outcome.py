"""How a training ended, as the trial's process reports it to the searching process."""

from enum import StrEnum

from pydantic import Field

from hcvae.config import Section
from hcvae.training.precision import PrecisionChoice
from tune.objectives import Point


class Ending(StrEnum):
    """The ways in which an attempt at a training ends."""

    COMPLETE = "complete"
    PRUNED = "pruned"
    """Stopped early; the trial has ended."""
    SUSPENDED = "suspended"
    """Stopped; the next start of the search continues it from its checkpoint."""
    UNWRITTEN = "unwritten"
    """Suspended, because its checkpoint or its model could not be written."""
    FAILED = "failed"
    DIVERGED = "diverged"
    """Failed, because a loss was not finite."""


class Outcome(Section):
    """The end of one attempt at a training."""

    state: Ending
    """How it ended."""
    values: Point | None = None
    """The objectives at the best epoch; None where it did not complete, or where the data of a training outside a study
    do not allow to measure them all."""
    violations: dict[str, float] = Field({})
    """How far each constraint of a complete trial is violated, by its metric; 0 or less: not at all."""
    best_epoch: int | None = None
    """Epoch of the values and of the bundle, from 1."""
    history: tuple[dict[str, float | None], ...] = ()
    """Metrics of every epoch; null where one was not finite."""
    precision: PrecisionChoice | None = None
    """The precision of the training, and the reason for it."""
    failure: str | None = None
    """Why it failed, in one line."""
    stopped: str | None = None
    """Why it was stopped before its end, in one line."""
    traceback: str | None = None
    """The end of the traceback of a failure."""
    figures: tuple[str, ...] = ()
    """Names of its figures' files in the attempt's folder of figures."""
    figure_failure: str | None = None
    """Why a figure is missing."""
