"""Checks of the search space against the configuration, before the search starts."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from hcvae.errors import UserError
from hcvae.suggest import did_you_mean
from hcvae.validation import plain
from tune.config import Choice, Conditional, FloatRange, IntRange, Parameter, SearchConfig, Unconditional
from tune.space.conditional import case_of
from tune.space.entries import ParameterValue, bounds, described, every_value
from tune.space.latents import GLOBAL, LOCAL, SEGMENTS, multiple_of, possible_segments
from tune.space.search_space import corners, searchable_fields

FIXED_BY_DATA = ("model.signal_length", "model.static_dim")


def check_space(config: SearchConfig) -> None:
    """Check that every point of `config.search.space` gives a valid configuration.

    Raises:
        UserError: an unknown path (with a suggestion), a field that is fixed by the data or by the bundle that the
            trainings start from, a bound or choice that the field refuses, equal choices, a condition that cannot be,
            or incompatible bounds (such as local latent dimensions below the global ones).
    """
    space = config.search.space
    for path, parameter in space.items():
        field = _field(path)
        if config.training.start_from is not None and path.startswith("model.") and path != "model.dropout":
            raise UserError(
                f"search.space.{path}: cannot be searched, as all trials start from the network in "
                f"{config.training.start_from} (training.start_from); search fields of training"
            )
        for where, entry in _entries(path, parameter):
            _check_choices_differ(where, entry, bounds(entry))
            taken = [_taken(where, field, value) for value in bounds(entry)]
            _check_choices_differ(where, entry, taken)
    for path, parameter in space.items():
        if isinstance(parameter, Conditional):
            _check_condition(config, path, parameter)
    _check_local_choices(config)
    _check_segments(config)
    for corner in (min, max):
        try:
            for _ in corners(config, corner):
                pass
        except ValidationError as error:
            raise UserError(f"search.space: its bounds do not go together: {_first(error)}") from None


def _entries(path: str, parameter: Parameter) -> Iterator[tuple[str, Unconditional]]:
    """Yield each entry of a parameter with its place in the configuration."""
    if isinstance(parameter, Conditional):
        for case, entry in parameter.cases.items():
            yield f"search.space.{path}.cases.{case}", entry
    else:
        yield f"search.space.{path}", parameter


def _field(path: str) -> FieldInfo:
    fields = dict(searchable_fields())
    if path not in fields:
        raise UserError(f"search.space.{path}: the configuration has no such field{did_you_mean(path, list(fields))}")
    if path.split(".")[0] not in ("model", "training") or path in FIXED_BY_DATA:
        raise UserError(
            f"search.space.{path}: cannot be searched, as all trials share one prepared data set; "
            "search fields of model and training"
        )
    return fields[path]


def _taken(where: str, field: FieldInfo, value: ParameterValue) -> Any:
    """Return a value as the field converts it."""
    accepted: Any = Annotated[field.annotation, field]
    try:
        # Strict: a real-valued range must not end up in a field of whole numbers.
        return TypeAdapter(accepted).validate_python(value, strict=True)
    except ValidationError as error:
        raise UserError(f"{where}: {_first(error)}, but got {value!r}") from None


def _check_choices_differ(where: str, entry: Unconditional, taken: Sequence[Any]) -> None:
    if not isinstance(entry, Choice):
        return
    for (one, its), (other, others) in itertools.combinations(zip(entry.choices, taken, strict=True), 2):
        if its == others:
            raise UserError(f"{where}: choices must differ, but {one!r} and {other!r} are equal; name each value once")


def _check_condition(config: SearchConfig, path: str, parameter: Conditional) -> None:
    where = f"search.space.{path}"
    space = config.search.space
    if path in (GLOBAL, LOCAL):
        raise UserError(f"{where}: must have one entry, without cases: the two latent dimensions limit each other")
    on = space.get(parameter.on)
    if on is None:
        fields = dict(searchable_fields())
        if parameter.on not in fields:
            raise UserError(f"{where}.on: there is no field {parameter.on}{did_you_mean(parameter.on, list(fields))}")
        raise UserError(
            f"{where}.on: {parameter.on} is not in search.space, so it is the same in every trial; add it there, or "
            "write the entry of its case alone"
        )
    if isinstance(on, Conditional):
        raise UserError(f"{where}.on: {parameter.on} depends on {on.on} itself; name a parameter without cases")
    if parameter.on == LOCAL:
        raise UserError(f"{where}.on: {LOCAL} is adapted to {GLOBAL} and {SEGMENTS}; name another parameter")
    if isinstance(on, FloatRange):
        raise UserError(
            f"{where}.on: {parameter.on} is a range of real numbers; name a choice or a range of whole numbers"
        )
    possible = list(map(case_of, every_value(on)))
    for case in parameter.cases:
        if case not in possible:
            raise UserError(
                f"{where}.cases.{case}: {parameter.on}, in {described(on)}, cannot be {case}"
                f"{did_you_mean(case, possible)}"
            )


def _check_local_choices(config: SearchConfig) -> None:
    local = config.search.space.get(LOCAL)
    if not isinstance(local, Choice):
        return
    highest = _highest_global(config)
    if min(map(int, local.choices)) < highest:
        raise UserError(
            f"search.space.{LOCAL}: every choice must be at least the highest {GLOBAL}, {highest}, "
            f"but got {list(local.choices)}; an int range is raised to it by itself"
        )


def _check_segments(config: SearchConfig) -> None:
    """Check that there is a local dimension for every number of segments."""
    local = config.search.space.get(LOCAL)
    for segments in possible_segments(config, {}):
        if isinstance(local, IntRange):
            lowest = max(local.low, _highest_global(config))
            if not lowest <= multiple_of(segments, lowest, local.high) <= local.high:
                raise _no_multiple(segments, local.high)
            continue
        dimensions: Sequence[ParameterValue] = [config.model.local_latent_dim]
        if local is not None:
            dimensions = every_value(local)  # type: ignore[arg-type]
        for dimension in map(int, dimensions):
            if dimension % segments:
                raise _no_multiple(segments, dimension)


def _no_multiple(segments: int, dimension: int) -> UserError:
    right = multiple_of(segments, dimension, 2 * dimension + segments)
    return UserError(
        f"search.space.{SEGMENTS}: with {segments} segments {LOCAL} must be a multiple of {segments}, but got "
        f"{dimension}; {right} would be right"
    )


def _highest_global(config: SearchConfig) -> int:
    searched = config.search.space.get(GLOBAL)
    if searched is None:
        return config.model.global_latent_dim
    return max(map(int, bounds(searched)))  # type: ignore[arg-type]


def _first(error: ValidationError) -> str:
    return plain(error.errors()[0])
