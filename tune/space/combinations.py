"""The combinations of a finite space: one of whole numbers, choices, and real numbers with equal bounds."""

import itertools
import math
import operator
from collections.abc import Mapping, Sequence
from random import Random

from tune.config import Choice, FloatRange, Parameter, SearchConfig
from tune.space.search_space import GLOBAL, LOCAL, ParameterValue

MAX_COMBINATIONS = 10_000
"""A space of more combinations, before those with local < global are left out, counts as infinite."""

Combination = tuple[ParameterValue, ...]
"""Values in the order of the space's paths."""


def combinations(config: SearchConfig) -> list[Combination]:
    """Return all feasible combinations of a finite space; none where it is infinite."""
    space = config.search.space
    if math.prod(map(_size, space.values())) > MAX_COMBINATIONS:
        return []
    fixed = {GLOBAL: config.model.global_latent_dim, LOCAL: config.model.local_latent_dim}
    feasible = []
    for values in itertools.product(*map(_values, space.values())):
        if _is_feasible(fixed | dict(zip(space, values, strict=True))):
            feasible.append(values)
    return feasible


def combination(config: SearchConfig, params: Mapping[str, ParameterValue]) -> tuple[ParameterValue | None, ...]:
    """Return the values of `params` in the order of the space's paths; None for missing ones."""
    return tuple(params.get(path) for path in config.search.space)


def closest(untried: Sequence[Combination], wanted: Sequence[ParameterValue | None], seed: str) -> Combination:
    """Return one of the combinations that share most values with `wanted`, chosen by `seed`."""
    shared = [sum(map(operator.eq, values, wanted)) for values in untried]
    most = max(shared)
    candidates = [values for values, n in zip(untried, shared, strict=True) if n == most]
    return Random(seed).choice(candidates)


def _is_feasible(latents: Mapping[str, ParameterValue]) -> bool:
    return int(latents[LOCAL]) >= int(latents[GLOBAL])


def _size(parameter: Parameter) -> float:
    if isinstance(parameter, Choice):
        return len(parameter.choices)
    if isinstance(parameter, FloatRange):
        return 1 if parameter.low == parameter.high else math.inf
    return min(parameter.high - parameter.low, MAX_COMBINATIONS) + 1


def _values(parameter: Parameter) -> Sequence[ParameterValue]:
    if isinstance(parameter, Choice):
        return parameter.choices
    if isinstance(parameter, FloatRange):
        return [parameter.low]
    return range(parameter.low, parameter.high + 1)
