"""The default search space, without parameters that the model or the data cannot use."""

import itertools

from hcvae.errors import UserError
from tune.config import BEST_PRACTICE_SPACE, Parameter, SearchConfig
from tune.space.conditional import entries_of
from tune.space.entries import bounds
from tune.space.latents import SEGMENTS

TARGET = "training.target"
OTHER = "other_average"


Space = dict[str, Parameter]


def with_space(
    config: SearchConfig, recorded: Space | None, *, other_averages: bool
) -> tuple[SearchConfig, dict[str, str]]:
    """Return `config` with its space, and why parameters of the default space are left out, by path.

    Without a space of its own, a search uses that of its study, or else the default one.

    Args:
        config: a search.
        recorded: the space of its study; None: there is no study yet.
        other_averages: whether the training part has several averages of a response.

    Raises:
        UserError: it names the target `other_average`, and there is one average of each response.
    """
    if config.search.space != BEST_PRACTICE_SPACE:
        _check_target(config.search.space, other_averages=other_averages)
        return config, {}
    if recorded is not None:
        return config.with_settings(space=recorded), {}
    reasons = {}
    if config.model.model_type == "standard":
        reasons[SEGMENTS] = "a standard model has no time segments"
    if not other_averages:
        reasons[TARGET] = "the training part has one average of each response (see data.average_columns)"
    space = {path: entry for path, entry in BEST_PRACTICE_SPACE.items() if path not in reasons}
    return config.with_settings(space=space), reasons


def _check_target(space: Space, *, other_averages: bool) -> None:
    entry = space.get(TARGET)
    if entry is None or other_averages:
        return
    if OTHER in itertools.chain.from_iterable(map(bounds, entries_of(entry))):
        raise UserError(
            f"search.space.{TARGET}: {OTHER!r} needs several averages of a response, but the training part has one of "
            "each; take it out of the space, or name the columns in which averages of one response agree with "
            "--data.average_columns"
        )
