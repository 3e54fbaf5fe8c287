"""The combinations of a finite space: one of whole numbers, choices, and real numbers with equal bounds."""

import itertools
import math
import operator
from collections.abc import Mapping, Sequence
from random import Random

from tune.config import Choice, Conditional, FloatRange, Parameter, SearchConfig
from tune.space.conditional import in_effect
from tune.space.entries import ParameterValue, every_value
from tune.space.latents import is_feasible, own_latents

MAX_COMBINATIONS = 10_000
"""A space of more combinations, counted without regard to conditions and latent dimensions, counts as infinite."""

Combination = tuple[ParameterValue | None, ...]
"""Values in the order of the space's paths; None for a path that is not in effect."""


def combinations(config: SearchConfig) -> list[Combination]:
    """Return all feasible combinations of a finite space; none where it is infinite."""
    space = config.search.space
    if math.prod(map(_size, space.values())) > MAX_COMBINATIONS:
        return []
    always = {path: every_value(entry) for path, entry in space.items() if not isinstance(entry, Conditional)}
    own = own_latents(config)
    feasible = []
    for values in itertools.product(*always.values()):
        chosen = dict(zip(always, values, strict=True))
        for found in itertools.product(*(_values(space[path], path, chosen) for path in space)):
            params = {path: value for path, value in zip(space, found, strict=True) if value is not None}
            if is_feasible(own | params):
                feasible.append(found)
    return feasible


def combination(config: SearchConfig, params: Mapping[str, ParameterValue]) -> Combination:
    """Return the values of `params` in the order of the space's paths; None for missing ones."""
    return tuple(params.get(path) for path in config.search.space)


def closest(untried: Sequence[Combination], wanted: Combination, seed: str) -> Combination:
    """Return one of the combinations that share most values with `wanted`, chosen by `seed`."""
    shared = [sum(map(operator.eq, values, wanted)) for values in untried]
    most = max(shared)
    candidates = [values for values, n in zip(untried, shared, strict=True) if n == most]
    return Random(seed).choice(candidates)


def _values(entry: Parameter, path: str, chosen: Mapping[str, ParameterValue]) -> Sequence[ParameterValue | None]:
    """Return the values of a parameter beside `chosen` values of those without a condition."""
    if path in chosen:
        return [chosen[path]]
    effective = in_effect(entry, chosen)
    return [None] if effective is None else every_value(effective)


def _size(entry: Parameter) -> float:
    if isinstance(entry, Conditional):
        return max(map(_size, entry.cases.values()))
    if isinstance(entry, Choice):
        return len(entry.choices)
    if isinstance(entry, FloatRange):
        return 1 if entry.low == entry.high else math.inf
    return min(entry.high - entry.low, MAX_COMBINATIONS) + 1
