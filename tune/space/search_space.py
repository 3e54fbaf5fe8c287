"""The search space: suggested to a trial, applied to the base configuration.

The name of a parameter is the dotted path of the configuration field that it sets, such as `model.early_signal_ratio`.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pydantic.fields import FieldInfo

from hcvae.config import Config, Section
from tune.config import Choice, Conditional, FloatRange, IntRange, SearchConfig, Unconditional
from tune.space.conditional import Space, case_of, in_effect, name_of, unconditional
from tune.space.entries import ParameterValue, bounds, every_value
from tune.space.latents import GLOBAL, LOCAL, SEGMENTS, multiple_of, own_latents

if TYPE_CHECKING:
    # Trials' processes apply parameters; they need no Optuna.
    from optuna.trial import BaseTrial

MODEL_TYPE = "model.model_type"
"""It decides which other fields of a model may differ from their defaults."""
Values = dict[str, ParameterValue]
Corner = Callable[[Iterable[Any]], Any]
"""`min` or `max`."""


def suggest(trial: "BaseTrial", config: SearchConfig, *, fixed_bounds: bool = False) -> Values:
    """Suggest a value for each path that is in effect; a trial that has values already keeps them.

    The lower bound of `model.local_latent_dim` is raised to the global dimension, which is suggested before it. With
    `fixed_bounds` every trial has the same names and bounds in Optuna: the local dimension may then be infeasible where
    both are searched, and all cases of a conditional parameter are suggested, though one or none is in effect.
    """
    space = config.search.space
    values: Values = {}
    for path in sorted(space, key=lambda path: (path == LOCAL, isinstance(space[path], Conditional))):
        entry = space[path]
        if isinstance(entry, Conditional):
            values |= _suggest_case(trial, path, entry, case_of(values[entry.on]), every_case=fixed_bounds)
            continue
        if path == LOCAL and isinstance(entry, IntRange) and not (fixed_bounds and GLOBAL in space):
            entry = entry.model_copy(update={"low": _local_low(entry, own_latents(config) | values)})
        values[path] = _suggest(trial, path, entry)
    return {path: values[path] for path in space if path in values}


def whole_segments(config: SearchConfig, params: Mapping[str, ParameterValue]) -> Values:
    """Return `params` with a suggested local dimension raised to a multiple of the segments."""
    local = config.search.space.get(LOCAL)
    if not isinstance(local, IntRange) or LOCAL not in params:
        return dict(params)
    segments = int(params.get(SEGMENTS, config.model.local_segments))
    return dict(params) | {LOCAL: multiple_of(segments, int(params[LOCAL]), local.high)}


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


def corners(config: SearchConfig, corner: Corner) -> Iterator[Config]:
    """Yield the trainings with all parameters at their lower (`min`) or upper (`max`) ends, one for each way in which
    the conditions can turn out, and for each type of model.

    Raises:
        pydantic.ValidationError: one of them is not valid.
    """
    space = config.search.space
    deciding = _deciding(space)
    cases = [_cases_of(config, path) for path in deciding]
    for chosen in itertools.product(*cases):
        values: Values = {path: _end(entry, corner) for path, entry in unconditional(space).items()}
        values |= dict(zip(deciding, chosen, strict=True))
        for path, parameter in space.items():
            effective = in_effect(parameter, values)
            if isinstance(parameter, Conditional) and effective is not None:
                values[path] = _end(effective, corner)
        local = space.get(LOCAL)
        if isinstance(local, IntRange):
            values[LOCAL] = max(int(values[LOCAL]), _local_low(local, own_latents(config) | values))
        yield apply(config, whole_segments(config, values))


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


def _deciding(space: Space) -> list[str]:
    """Return the paths of the parameters that conditions depend on, and of the model's type if it is searched."""
    deciding = {entry.on for entry in space.values() if isinstance(entry, Conditional)}
    ordered = sorted(deciding)
    if isinstance(space.get(MODEL_TYPE), Choice) and MODEL_TYPE not in deciding:
        ordered.append(MODEL_TYPE)
    return ordered


def _cases_of(config: SearchConfig, path: str) -> list[ParameterValue]:
    """Return values of a parameter that others depend on: all for which they have a case, and its ends."""
    space = config.search.space
    entry = space[path]
    assert not isinstance(entry, Conditional), "`check_space` refuses conditions on conditional parameters"
    named: set[str] = set()
    for other in space.values():
        if isinstance(other, Conditional) and other.on == path:
            named |= other.cases.keys()
    ends = bounds(entry)
    return [value for value in every_value(entry) if value in ends or case_of(value) in named]


def _end(entry: Unconditional, corner: Corner) -> ParameterValue:
    values = bounds(entry)
    if not all(isinstance(value, int | float) for value in values):
        return values[0]
    chosen: ParameterValue = corner(values)
    return chosen


def _local_low(local: IntRange, latents: Mapping[str, ParameterValue]) -> int:
    return max(local.low, int(latents[GLOBAL]))


def _suggest_case(trial: "BaseTrial", path: str, entry: Conditional, case: str, *, every_case: bool) -> Values:
    """Suggest the case in effect, or every case; return the value in effect, if there is one."""
    values: Values = {}
    for other, inner in entry.cases.items():
        if every_case or other == case:
            value = _suggest(trial, name_of(path, entry.on, other), inner)
            if other == case:
                values[path] = value
    return values


def _suggest(trial: "BaseTrial", name: str, entry: Unconditional) -> ParameterValue:
    match entry:
        case FloatRange():
            return trial.suggest_float(name, entry.low, entry.high, log=entry.log)
        case IntRange():
            return trial.suggest_int(name, entry.low, entry.high, log=entry.log)
        case Choice():
            chosen: ParameterValue = trial.suggest_categorical(name, entry.choices)  # type: ignore[assignment]
            return chosen
