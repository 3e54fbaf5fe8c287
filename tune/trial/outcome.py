"""What a trial tells the searcher: each epoch's metrics, and in the end its outcome."""

import json
import math
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import ray.tune

from hcvae.bundle import nonfinite_to_none
from hcvae.config import Section
from hcvae.errors import StorageError
from hcvae.training import FitResult, TrainingDiverged
from hcvae.training.precision import PrecisionChoice
from tune.early_stopping.actor import Stop
from tune.pareto import OBJECTIVES, Point

TRACEBACK_LINES = 20


class Outcome(Section):
    """The last word of a trial."""

    state: Literal["complete", "failed", "pruned", "suspended"]
    values: Point | None = None
    """reconstruction_nmse and disentanglement of the best epoch; None where it failed, or where the data of a training
    that is no trial do not allow to measure both."""
    best_epoch: int | None = None
    """Epoch of the values and of the bundle, from 1."""
    history: tuple[dict[str, float | None], ...] = ()
    """Metrics of every epoch; null where one was not finite."""
    precision: PrecisionChoice | None = None
    """In which it was trained."""
    failure: str | None = None
    """Why it failed, in one line."""
    stopped: str | None = None
    """Why it was stopped before its end, in one line."""
    unwritten: bool = False
    """Whether it is suspended because its checkpoint or its model cannot be written."""
    diverged: bool = False
    """Whether it failed because its training diverged."""
    traceback: str | None = None
    """Where it failed: the end of the traceback."""
    figures: tuple[str, ...] = ()
    """Names of its figures' files in the attempt's folder of figures."""
    figure_failure: str | None = None
    """Why a figure is missing."""

    @classmethod
    def of(cls, result: FitResult, stop: Stop | None = None) -> "Outcome":
        """The outcome of a training that came to its end, or to `stop`; an objective that is not finite fails it."""
        history, precision = tuple(nonfinite_to_none(result.history)), result.precision
        if result.stopped and stop is not None:
            return cls(state=stop.state, history=history, precision=precision, stopped=stop.reason)
        measured = {name: result.metrics[name] for name in OBJECTIVES if name in result.metrics}
        for name, value in measured.items():
            if not math.isfinite(value):
                reason = f"{name} is {value} at the best epoch, {result.best_epoch}"
                return cls(state="failed", history=history, precision=precision, failure=reason)
        point = (measured[OBJECTIVES[0]], measured[OBJECTIVES[1]]) if len(measured) == len(OBJECTIVES) else None
        best = result.best_epoch
        return cls(state="complete", values=point, best_epoch=best, history=history, precision=precision)

    @classmethod
    def of_error(
        cls, error: BaseException, history: Sequence[Mapping[str, float]], trace: str | None = None
    ) -> "Outcome":
        """The outcome of a training that raised after the epochs of `history`; `trace` where `error` lost its own.

        Storage that cannot be written is not the trial's failure.
        """
        if isinstance(error, StorageError):
            return cls(state="suspended", history=tuple(nonfinite_to_none(history)), stopped=str(error), unwritten=True)
        trace = trace or "".join(traceback.format_exception(error))
        tail = "\n".join(trace.splitlines()[-TRACEBACK_LINES:])
        failure = f"{type(error).__name__}: {error}"
        diverged = isinstance(error, TrainingDiverged)
        return cls(
            state="failed",
            history=tuple(nonfinite_to_none(history)),
            failure=failure,
            traceback=tail,
            diverged=diverged,
        )


@dataclass(frozen=True)
class Message:
    """What a running trial tells the searcher: its precision, then each epoch's metrics, then its outcome."""

    epoch: dict[str, float] | None = None
    outcome: Outcome | None = None
    precision: PrecisionChoice | None = None

    def send(self) -> None:
        """Report through Ray Tune, as text: Tune flattens nested results and adds its own keys."""
        outcome, precision = (one and one.model_dump(mode="json") for one in (self.outcome, self.precision))
        content = {"epoch": self.epoch, "outcome": outcome, "precision": precision}
        ray.tune.report({"message": json.dumps(content)})

    @classmethod
    def read(cls, result: Mapping[str, Any]) -> "Message":
        """The message in one of Tune's results."""
        content = json.loads(result["message"])
        outcome = Outcome.model_validate(content["outcome"]) if content["outcome"] else None
        precision = content.get("precision")
        return cls(content["epoch"], outcome, precision and PrecisionChoice.model_validate(precision))
