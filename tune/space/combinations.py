"""The combinations of a finite space: one of whole numbers, choices, and real numbers with equal bounds."""

import itertools
import math
import operator
from collections.abc import Iterator, Mapping, Sequence
from random import Random

from tune.config import Choice, Conditional, FloatRange, Parameter, SearchConfig
from tune.space.conditional import Space, in_effect, unconditional
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
    own = own_latents(config)
    feasible = []
    for chosen in _without_condition(space):
        possible = [_values(entry, path, chosen) for path, entry in space.items()]
        for found in itertools.product(*possible):
            params = {path: value for path, value in zip(space, found, strict=True) if value is not None}
            if is_feasible(own | params):
                feasible.append(found)
    return feasible


def _without_condition(space: Space) -> Iterator[dict[str, ParameterValue]]:
    """Yield the combinations of the parameters without a condition."""
    entries = unconditional(space)
    for values in itertools.product(*map(every_value, entries.values())):
        yield dict(zip(entries, values, strict=True))


def combination(config: SearchConfig, params: Mapping[str, ParameterValue]) -> Combination:
    """Return the values of `params` in the order of the space's paths; None for missing ones."""
    return tuple(map(params.get, config.search.space))


def closest(untried: Sequence[Combination], wanted: Combination, seed: str) -> Combination:
    """Return one of the combinations that share most values with `wanted`, chosen by `seed`."""
    by_shared: dict[int, list[Combination]] = {}
    for values in untried:
        shared = sum(map(operator.eq, values, wanted))
        by_shared.setdefault(shared, []).append(values)
    return Random(seed).choice(by_shared[max(by_shared)])


def _values(entry: Parameter, path: str, chosen: Mapping[str, ParameterValue]) -> Sequence[ParameterValue | None]:
    """Return the values of a parameter beside `chosen` values of those without a condition."""
    if path in chosen:
        return [chosen[path]]
    effective = in_effect(entry, chosen)
    if effective is None:
        return [None]
    return every_value(effective)


def _size(entry: Parameter) -> float:
    if isinstance(entry, Conditional):
        return max(map(_size, entry.cases.values()))
    if isinstance(entry, Choice):
        return len(entry.choices)
    if isinstance(entry, FloatRange) and entry.low < entry.high:
        return math.inf
    if isinstance(entry, FloatRange):
        return 1
    return min(entry.high - entry.low, MAX_COMBINATIONS) + 1
