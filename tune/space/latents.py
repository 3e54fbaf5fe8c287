"""The latent dimensions of a trial: z_local has at least those of z_global, and a multiple of its time segments."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tune.config import Conditional, SearchConfig, Unconditional
from tune.space.conditional import case_of
from tune.space.entries import ParameterValue, every_value

GLOBAL = "model.global_latent_dim"
LOCAL = "model.local_latent_dim"
SEGMENTS = "model.local_segments"


def own_latents(config: SearchConfig) -> dict[str, ParameterValue]:
    """Return the configuration's own values of the three paths, which hold where a trial has no other."""
    model = config.model
    return {GLOBAL: model.global_latent_dim, LOCAL: model.local_latent_dim, SEGMENTS: model.local_segments}


def multiple_of(segments: int, dimensions: int, high: int) -> int:
    """Return the multiple of `segments` that follows `dimensions`, or the last one up to `high` where there is none."""
    above = math.ceil(dimensions / segments) * segments
    if above <= high:
        return above
    return high // segments * segments


def possible_segments(config: SearchConfig, chosen: Mapping[str, Any]) -> Sequence[int]:
    """Return the numbers of segments that a trial with the `chosen` values may have."""
    own = config.model.local_segments
    entry = config.search.space.get(SEGMENTS)
    if SEGMENTS in chosen:
        return [int(chosen[SEGMENTS])]
    if entry is None:
        return [own]
    if not isinstance(entry, Conditional):
        return list(map(int, every_value(entry)))
    possible = set()
    for case in _possible_cases(entry, chosen):
        if case is None:
            possible.add(own)
        else:
            possible.update(map(int, every_value(case)))
    return sorted(possible)


def _possible_cases(entry: Conditional, chosen: Mapping[str, Any]) -> Sequence[Unconditional | None]:
    """Return the cases that may be in effect; None stands for the configuration's own value, without a case."""
    if entry.on in chosen:
        return [entry.cases.get(case_of(chosen[entry.on]))]
    return [*entry.cases.values(), None]


def is_feasible(latents: Mapping[str, Any]) -> bool:
    """Return whether the dimensions of z_local suit those of z_global and the segments; all three are given."""
    local = int(latents[LOCAL])
    return local >= int(latents[GLOBAL]) and local % int(latents[SEGMENTS]) == 0
