"""The outcome of a training: from its result, or from the exception that it raised."""

import math
import traceback
from collections.abc import Mapping, Sequence

from hcvae.bundle import nonfinite_to_none
from hcvae.errors import StorageError
from hcvae.training import FitResult, TrainingDiverged
from tune.constraints import Constraints, judged_by, violations
from tune.early_stopping.actor import Stop
from tune.objectives import Objectives, point_of
from tune.study.outcome import Ending, Outcome

TRACEBACK_LINES = 20


def outcome_of(
    result: FitResult, objectives: Objectives, constraints: Constraints, stop: Stop | None = None
) -> Outcome:
    """Return the outcome of a training that reached its end, or `stop`.

    An objective, or a metric with a constraint, that is not finite fails it.
    """
    history = tuple(nonfinite_to_none(result.history))
    precision = result.precision
    if result.stopped and stop is not None:
        return Outcome(state=stop.state, history=history, precision=precision, stopped=stop.reason)
    best = result.best_epoch
    for name in judged_by(objectives, constraints):
        value = result.metrics.get(name, 0.0)
        if not math.isfinite(value):
            failure = f"{name} is {value} at the best epoch, {best}"
            return Outcome(state=Ending.FAILED, history=history, precision=precision, failure=failure)
    return Outcome(
        state=Ending.COMPLETE,
        values=point_of(objectives, result.metrics),
        violations=violations(constraints, result.metrics),
        best_epoch=best,
        history=history,
        precision=precision,
    )


def outcome_of_error(error: BaseException, history: Sequence[Mapping[str, float]], trace: str | None = None) -> Outcome:
    """Return the outcome of a training that raised `error` after the epochs of `history`.

    Storage that cannot be written suspends the trial instead of failing it.

    Args:
        error: what it raised.
        history: metrics of the epochs before.
        trace: the traceback, where `error` has lost its own.
    """
    epochs = tuple(nonfinite_to_none(history))
    if isinstance(error, StorageError):
        return Outcome(state=Ending.UNWRITTEN, history=epochs, stopped=str(error))
    trace = trace or "".join(traceback.format_exception(error))
    state = Ending.FAILED
    if isinstance(error, TrainingDiverged):
        state = Ending.DIVERGED
    return Outcome(
        state=state,
        history=epochs,
        failure=f"{type(error).__name__}: {error}",
        traceback="\n".join(trace.splitlines()[-TRACEBACK_LINES:]),
    )
