"""Metrics of your own, which every evaluation of a model measures beside ours, and a search can have as objectives."""

from collections.abc import Callable, Mapping
from typing import Any

from hcvae.errors import UserError
from hcvae.models import Model

Metric = Callable[[Model, Any], float]
"""Maps a model, in eval mode, and its rows, a `hcvae.training.evaluation.EvaluationPart`, to a number."""

_METRICS: dict[str, Metric] = {}


def register_metric(name: str, metric: Metric) -> None:
    """Measure `metric` in every evaluation from now on, under `name`; a later function replaces an earlier one.

    A search sends the registered functions to its trials, so they must be picklable by cloudpickle: any function of a
    script or an installed module is.

    Raises:
        UserError: `name` is not a Python identifier.
    """
    if not name.isidentifier():
        raise UserError(f"name: a metric's name must have letters, digits and '_' only, but got {name!r}")
    _METRICS[name] = metric


def all_registered() -> dict[str, Metric]:
    """Return the registered functions by name."""
    return dict(_METRICS)


def register_all(metrics: Mapping[str, Metric]) -> None:
    """Register the functions of another process."""
    _METRICS.update(metrics)


def registered_metrics(model: Model, rows: Any) -> dict[str, float]:
    """Return the values of the registered metrics of `model` on `rows`.

    Raises:
        UserError: a metric raises, or does not return a number.
    """
    values = {}
    for name, metric in _METRICS.items():
        try:
            values[name] = float(metric(model, rows))
        except Exception as error:
            raise UserError(f"metric {name!r} of your own: {type(error).__name__}: {error}") from error
    return values
