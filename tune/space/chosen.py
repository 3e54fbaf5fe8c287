"""Checks of parameters that a person has chosen, in the configuration or with `enqueue_trial`, against the space."""

from collections.abc import Mapping
from typing import Any

from hcvae.errors import UserError
from hcvae.suggest import did_you_mean
from tune.config import Conditional, SearchConfig, Unconditional
from tune.space.conditional import by_path, case_of, parts_of
from tune.space.entries import described, holds, kind
from tune.space.latents import GLOBAL, LOCAL, SEGMENTS, multiple_of, possible_segments


def check_chosen(params: Mapping[str, Any], config: SearchConfig, where: str) -> None:
    """Check that `params`, by path or by Optuna's names, lie in the space of `config`. Paths may be missing.

    Raises:
        UserError: a path that is not searched, a value outside its range, a value that depends on a parameter that is
            missing, or incompatible latent dimensions.
    """
    for name, value in params.items():
        path, on, case = parts_of(name)
        entry = _entry(name, params, config, where)
        if on and case != case_of(params[on]):
            continue  # a trial of fixed bounds has values of all cases
        if not holds(entry, value):
            raise UserError(f"{where}.{path}: must be in {described(entry)}, but got {value!r}{kind(entry)}")
    _check_latents(by_path(params), config, where)


def _entry(name: str, params: Mapping[str, Any], config: SearchConfig, where: str) -> Unconditional:
    """Return the entry for a name; for a path, that of the case in effect."""
    space = config.search.space
    path, on, case = parts_of(name)
    parameter = space.get(path)
    if parameter is None or (on and not (isinstance(parameter, Conditional) and parameter.on == on)):
        raise UserError(f"{where}.{name}: not in search.space{did_you_mean(path, list(space))}")
    if not isinstance(parameter, Conditional):
        return parameter
    if parameter.on not in params:
        raise UserError(f"{where}: names {path}, whose values depend on {parameter.on}; name both")
    case = case or case_of(params[parameter.on])
    if case not in parameter.cases:
        raise UserError(f"{where}.{name}: is not searched where {parameter.on} is {case}; leave it out")
    return parameter.cases[case]


def _check_latents(params: Mapping[str, Any], config: SearchConfig, where: str) -> None:
    space = config.search.space
    if {GLOBAL, LOCAL} <= space.keys() and (LOCAL in params) != (GLOBAL in params):
        raise UserError(f"{where}: names one of {GLOBAL} and {LOCAL}, and the other may not suit it; name both")
    if LOCAL not in params:
        return
    local = int(params[LOCAL])
    highest = int(params.get(GLOBAL, config.model.global_latent_dim))
    if local < highest:
        raise UserError(f"{where}.{LOCAL}: must be at least {GLOBAL}, {highest}, but got {local}")
    for segments in possible_segments(config, params):
        if local % segments:
            advice = f"{multiple_of(segments, local, local + segments)} would be right"
            if SEGMENTS in space and SEGMENTS not in params:
                advice += f", or name {SEGMENTS} too"
            raise UserError(
                f"{where}.{LOCAL}: must be a multiple of {SEGMENTS}, which may be {segments}, but got {local}; {advice}"
            )
