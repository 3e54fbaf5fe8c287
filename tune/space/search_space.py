"""The search space: checked against the configuration, suggested to a trial, applied to the base configuration.

The name of a parameter is the dotted path of the configuration field that it sets, such as `model.early_signal_ratio`.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from hcvae.config import Config, Section
from hcvae.errors import UserError
from hcvae.suggest import did_you_mean
from hcvae.validation import plain
from tune.config import Choice, FloatRange, IntRange, Parameter, SearchConfig

if TYPE_CHECKING:
    # Trials' processes apply parameters; they need no Optuna.
    from optuna.trial import BaseTrial

GLOBAL = "model.global_latent_dim"
LOCAL = "model.local_latent_dim"
FIXED_BY_DATA = ("model.signal_length", "model.static_dim")

ParameterValue = bool | int | float | str


def check_space(config: SearchConfig) -> None:
    """Check that every point of `config.search.space` gives a valid configuration.

    Raises:
        UserError: an unknown path (with a suggestion), a field that is fixed by the data or by the bundle that the
            trainings start from, a bound or choice that the field refuses, equal choices, or incompatible bounds (local
            latent dimensions below the global ones).
    """
    for path, parameter in config.search.space.items():
        field = _field(path)
        if config.training.start_from is not None and path.startswith("model.") and path != "model.dropout":
            raise UserError(
                f"search.space.{path}: cannot be searched, as all trials start from the network in "
                f"{config.training.start_from} (training.start_from); search fields of training"
            )
        _check_choices_differ(path, parameter, _values(parameter))
        _check_choices_differ(path, parameter, [_taken(path, field, value) for value in _values(parameter)])
    _check_local_choices(config)
    for corner in (min, max):
        draw = {path: _corner(parameter, corner) for path, parameter in config.search.space.items()}
        local = config.search.space.get(LOCAL)
        if corner is min and isinstance(local, IntRange):
            draw[LOCAL] = _local_low(local, draw.get(GLOBAL, config.model.global_latent_dim))
        try:
            apply(config, draw)
        except ValidationError as error:
            raise UserError(f"search.space: its bounds do not go together: {_first(error)}") from None


def suggest(trial: "BaseTrial", config: SearchConfig, *, fixed_bounds: bool = False) -> dict[str, ParameterValue]:
    """Suggest a value for each path of the space; a trial that has values already keeps them.

    The lower bound of `model.local_latent_dim` is raised to the global dimension, which is suggested before it, unless
    `fixed_bounds`: the values may then be infeasible.
    """
    space = config.search.space
    values: dict[str, ParameterValue] = {}
    for path in sorted(space, key=lambda path: path == LOCAL):
        parameter = space[path]
        if path == LOCAL and isinstance(parameter, IntRange) and not fixed_bounds:
            low = _local_low(parameter, values.get(GLOBAL, config.model.global_latent_dim))
            parameter = parameter.model_copy(update={"low": low})
        values[path] = _suggest(trial, path, parameter)
    return {path: values[path] for path in space}


def apply(config: Config, params: Mapping[str, ParameterValue]) -> Config:
    """Return the training of one trial: `config` without its search section, `params` set by their dotted paths.

    Raises:
        pydantic.ValidationError: a value is not valid, alone or with the others.
    """
    tree = config.model_dump(include=set(Config.model_fields))
    for path, value in params.items():
        *sections, name = path.split(".")
        node = tree
        for section in sections:
            node = node[section]
        node[name] = value
    return Config.model_validate(tree)


def largest(config: SearchConfig) -> Config:
    """Return the training with every parameter of the space at its upper end: the one that needs the most memory."""
    return apply(config, {path: _corner(parameter, max) for path, parameter in config.search.space.items()})


def value_of(config: Config, path: str) -> ParameterValue:
    """Return the value at a dotted path of the configuration."""
    node: Any = config
    for name in path.split("."):
        node = getattr(node, name)
    value: ParameterValue = node
    return value


def searchable_fields(section: type[Section] = Config, prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield every leaf of the configuration below `section`, with its dotted path."""
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from searchable_fields(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


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


def _values(parameter: Parameter) -> tuple[ParameterValue, ...]:
    if isinstance(parameter, Choice):
        return parameter.choices
    return (parameter.low, parameter.high)


def _taken(path: str, field: FieldInfo, value: ParameterValue) -> Any:
    """Return a value as the field converts it."""
    accepted: Any = Annotated[field.annotation, field]
    try:
        # Strict: a real-valued range must not end up in a field of whole numbers.
        return TypeAdapter(accepted).validate_python(value, strict=True)
    except ValidationError as error:
        raise UserError(f"search.space.{path}: {_first(error)}, but got {value!r}") from None


def _check_choices_differ(path: str, parameter: Parameter, taken: Sequence[Any]) -> None:
    if not isinstance(parameter, Choice):
        return
    for (one, its), (other, others) in itertools.combinations(zip(parameter.choices, taken, strict=True), 2):
        if its == others:
            raise UserError(
                f"search.space.{path}: choices must differ, but {one!r} and {other!r} are equal; name each value once"
            )


def _check_local_choices(config: SearchConfig) -> None:
    local = config.search.space.get(LOCAL)
    if not isinstance(local, Choice):
        return
    searched = config.search.space.get(GLOBAL)
    highest: Any = config.model.global_latent_dim
    if searched:
        highest = max(_values(searched), key=float)
    if min(local.choices, key=float) < highest:
        raise UserError(
            f"search.space.{LOCAL}: every choice must be at least the highest {GLOBAL}, {highest}, "
            f"but got {list(local.choices)}; an int range is raised to it by itself"
        )


def _corner(parameter: Parameter, corner: Any) -> ParameterValue:
    values = _values(parameter)
    if not all(isinstance(value, int | float) for value in values):
        return values[0]
    chosen: ParameterValue = corner(values)
    return chosen


def _local_low(local: IntRange, global_dim: Any) -> int:
    return max(local.low, int(global_dim))


def _suggest(trial: "BaseTrial", path: str, parameter: Parameter) -> ParameterValue:
    match parameter:
        case FloatRange():
            return trial.suggest_float(path, parameter.low, parameter.high, log=parameter.log)
        case IntRange():
            return trial.suggest_int(path, parameter.low, parameter.high, log=parameter.log)
        case Choice():
            chosen: ParameterValue = trial.suggest_categorical(path, parameter.choices)  # type: ignore[assignment]
            return chosen


def _first(error: ValidationError) -> str:
    return plain(error.errors()[0])
