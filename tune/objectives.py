"""The objectives of a search: metrics of the validation part at the best epoch, each with its direction and scale."""

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal, Self

from pydantic import Field, ModelWrapValidatorHandler, SerializerFunctionWrapHandler, model_serializer, model_validator

from hcvae.config import Section
from hcvae.errors import UserError
from hcvae.suggest import did_you_mean

Direction = Literal["minimize", "maximize"]
Point = tuple[float, ...]
"""A value for each objective, in their order."""


class Objective(Section):
    """One objective. A name alone stands for the objective of that name in `KNOWN`."""

    name: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    """Name of a metric that a training records, or of one from `hcvae.metrics.registered`."""
    direction: Direction
    """Whether lower or higher values are better."""
    reference: float = Field(allow_inf_nan=False)
    """The worst value that counts: coordinate of the reference point of the hypervolume."""
    ideal: float = Field(allow_inf_nan=False)
    """The best possible value, or a goal; sets the scale of the objective together with `reference`."""

    @property
    def label(self) -> str:
        """The name and the direction, for an axis."""
        better = {"minimize": "lower", "maximize": "higher"}[self.direction]
        return f"{self.name} ({better} is better)"

    @property
    def sign(self) -> int:
        """The factor that makes lower values better."""
        if self.direction == "minimize":
            return 1
        return -1

    def loss(self, value: float) -> float:
        """Return `value` on the scale from the ideal, 0, to the reference, 1."""
        return (value - self.ideal) / (self.reference - self.ideal)

    @model_validator(mode="after")
    def _ideal_is_better_than_reference(self) -> Self:
        if self.sign * (self.reference - self.ideal) <= 0:
            raise ValueError(
                f"ideal must be better than reference for direction {self.direction!r}, but got "
                f"(ideal={self.ideal}, reference={self.reference})"
            )
        return self

    @model_validator(mode="wrap")
    @classmethod
    def _accept_a_name(cls, given: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(given, str):
            return validate(given)
        if given not in KNOWN:
            raise ValueError(
                f"{given!r} has no direction and scale of its own{did_you_mean(given, list(KNOWN))}; give them, as in "
                f'{{"name": "{given}", "direction": "minimize", "reference": 1, "ideal": 0}}, or name one of '
                f"{', '.join(KNOWN)}"
            )
        return KNOWN[given]  # type: ignore[return-value]

    @model_serializer(mode="wrap")
    def _name_of_a_known_one(self, serialize: SerializerFunctionWrapHandler) -> Any:
        if KNOWN.get(self.name) == self:
            return self.name
        return serialize(self)


ERRORS = (
    "denoised_nmse",
    "reconstruction_nmse",
    "cross_average_nmse",
    "impossible_peaks",
    "peak_latency_error_ms_I",
    "peak_latency_error_ms_III",
    "peak_latency_error_ms_V",
)
SCORES = ("disentanglement", "selectivity_coarse", "selectivity_fine", "film_effect", "r2", "correlation")


def _minimised_metric(name: str) -> Objective:
    return Objective(name=name, direction="minimize", reference=1, ideal=0)


def _maximised_metric(name: str) -> Objective:
    return Objective(name=name, direction="maximize", reference=0, ideal=1)


_KNOWN = (
    *map(_minimised_metric, ERRORS),
    *map(_maximised_metric, SCORES),
    Objective(name="parameters", direction="minimize", reference=2e7, ideal=0),
    Objective(name="seconds_so_far", direction="minimize", reference=3600, ideal=0),
)
KNOWN: dict[str, Objective] = {objective.name: objective for objective in _KNOWN}
"""Objectives that a name stands for. Their values never change, as studies record the names."""

Objectives = tuple[Objective, ...]
SPECIFIED: Objectives = (KNOWN["reconstruction_nmse"], KNOWN["disentanglement"])
"""The objectives of the specification, and of all studies of earlier versions."""


def names_of(objectives: Objectives) -> tuple[str, ...]:
    """Return the names in order."""
    return tuple(objective.name for objective in objectives)


def directions_of(objectives: Objectives) -> list[Direction]:
    """Return the directions in order, as Optuna takes them."""
    return [objective.direction for objective in objectives]


def point_of(objectives: Objectives, metrics: Mapping[str, float | None]) -> Point | None:
    """Return the values of the objectives; None where one is missing or not finite."""
    values = []
    for objective in objectives:
        value = metrics.get(objective.name)
        if value is None or not math.isfinite(value):
            return None
        values.append(value)
    return tuple(values)


def shown(value: float) -> str:
    """Return a value for people: 4 decimals, or as a whole number from 1,000 on."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4f}"


def best_values(points: Iterable[Point], objectives: Objectives) -> dict[str, float]:
    """Return the best value of each objective among `points`, by its name; there is at least one point."""
    best = {}
    for objective, values in zip(objectives, zip(*points, strict=True), strict=True):
        best[objective.name] = min(values, key=objective.loss)
    return best


def chosen_objectives(named: Objectives | None, recorded: Objectives | None, measured: Collection[str]) -> Objectives:
    """Return the objectives of a search.

    Args:
        named: those of its configuration; None: it names none.
        recorded: those of the study that it continues; None: there is no study.
        measured: the metrics that can be measured on its data.
    """
    if named is not None or recorded is not None:
        return named or recorded or ()
    error = KNOWN["reconstruction_nmse"]
    if "denoised_nmse" in measured:
        error = KNOWN["denoised_nmse"]
    return error, KNOWN["disentanglement"]


def find_objective(objectives: Objectives, name: str) -> int:
    """Return the position of the objective `name`.

    Raises:
        UserError: there is none.
    """
    names = names_of(objectives)
    if name not in names:
        raise UserError(f"objective: must be one of {', '.join(names)}, but got {name!r}")
    return names.index(name)
