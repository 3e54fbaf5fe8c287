"""Checks of parameters that a person has chosen, in the configuration or with `enqueue_trial`, against the space."""

from collections.abc import Mapping

from hcvae.errors import UserError
from hcvae.suggest import did_you_mean
from tune.config import Choice, FloatRange, Parameter, SearchConfig
from tune.space.search_space import GLOBAL, LOCAL


def check_chosen(params: Mapping[str, object], config: SearchConfig, where: str) -> None:
    """Check that `params`, by path, lie in the space of `config`. Paths may be missing.

    Raises:
        UserError: a path that is not searched, a value outside its range, or incompatible latent dimensions.
    """
    space = config.search.space
    for path, value in params.items():
        if path not in space:
            raise UserError(f"{where}.{path}: not in search.space{did_you_mean(path, list(space))}")
        if not holds(space[path], value):
            raise UserError(
                f"{where}.{path}: must be in {_described(space[path])}, but got {value!r}{_kind(space[path])}"
            )
    if {GLOBAL, LOCAL} <= space.keys() and (LOCAL in params) != (GLOBAL in params):
        raise UserError(f"{where}: names one of {GLOBAL} and {LOCAL}, and the other may not suit it; name both")
    latents: Mapping[str, object] = {GLOBAL: config.model.global_latent_dim} | dict(params)
    if LOCAL in params and int(str(params[LOCAL])) < int(str(latents[GLOBAL])):
        raise UserError(f"{where}.{LOCAL}: must be at least {GLOBAL}, {latents[GLOBAL]}, but got {params[LOCAL]}")


def holds(parameter: Parameter, value: object) -> bool:
    """Return whether the parameter allows `value`, and has its type."""
    if isinstance(parameter, Choice):
        return any(value == choice and type(value) is type(choice) for choice in parameter.choices)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if isinstance(value, float) and not isinstance(parameter, FloatRange):
        return False
    return parameter.low <= value <= parameter.high


def _described(parameter: Parameter) -> str:
    if isinstance(parameter, Choice):
        return str(list(parameter.choices))
    return f"[{parameter.low}, {parameter.high}]"


def _kind(parameter: Parameter) -> str:
    if isinstance(parameter, FloatRange):
        return ""
    if isinstance(parameter, Choice):
        return "; its type must be that of a choice"
    return "; it must be a whole number"
