"""Bounds on metrics: a trial that violates one is complete, but has no place on the front."""

import math
from collections.abc import Mapping
from typing import Self

from pydantic import Field, model_validator

from hcvae.config import Section
from tune.objectives import Objectives, names_of


class Constraint(Section):
    """Bounds on one metric of the validation part at the best epoch, both included."""

    name: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """Name of a metric that a training records, or of one from `hcvae.metrics.registered`."""
    minimum: float | None = None
    """Lowest feasible value; null: none."""
    maximum: float | None = None
    """Highest feasible value; null: none."""

    def __str__(self) -> str:
        if self.minimum is None:
            return f"{self.name} <= {self.maximum:g}"
        if self.maximum is None:
            return f"{self.name} >= {self.minimum:g}"
        return f"{self.minimum:g} <= {self.name} <= {self.maximum:g}"

    def violation(self, value: float) -> float:
        """Return how far `value` is beyond a bound; 0 or less if it is feasible."""
        beyond = -math.inf
        if self.minimum is not None:
            beyond = self.minimum - value
        if self.maximum is not None:
            beyond = max(beyond, value - self.maximum)
        return beyond

    @model_validator(mode="after")
    def _bounds_are_ordered(self) -> Self:
        if self.minimum is None and self.maximum is None:
            raise ValueError("minimum or maximum must be given")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"minimum <= maximum must hold, but got (minimum={self.minimum}, maximum={self.maximum})")
        return self


Constraints = tuple[Constraint, ...]


def judged_by(objectives: Objectives, constraints: Constraints) -> tuple[str, ...]:
    """Return the names of the metrics that decide about a trial: its objectives, then those with constraints."""
    bounded = [constraint.name for constraint in constraints]
    return (*names_of(objectives), *bounded)


def violations(constraints: Constraints, metrics: Mapping[str, float]) -> dict[str, float]:
    """Return the violation of each constraint, by the name of its metric."""
    return {each.name: each.violation(metrics[each.name]) for each in constraints}


def why_infeasible(found: Mapping[str, float]) -> str | None:
    """Return which of the violations `found` are above 0, in one line; None where the trial is feasible."""
    violated = [f"{name} by {value:,.10g}" for name, value in found.items() if value > 0]
    if not violated:
        return None
    return f"infeasible: beyond search.constraints: {', '.join(violated)}"
