"""The data of a confirmation by folds: the same rows, with another validation part in each fold."""

from hcvae.data.dataset import Dataset
from hcvae.errors import UserError
from hcvae.training import preflight
from tune.config import SearchConfig
from tune.constraints import judged_by
from tune.placement.streaming import prepare
from tune.study.repetition import with_fold


def prepare_folds(config: SearchConfig, data: Dataset) -> tuple[Dataset, ...]:
    """Prepare the data of each fold; none where `search.confirm` is not by folds.

    Args:
        config: the search.
        data: its data.

    Raises:
        UserError: the data cannot be divided into so many folds, do not fit into memory, or an objective or a
            constraint cannot be measured in one of them.
    """
    confirm = config.search.confirm
    if confirm is None or confirm.by != "folds":
        return ()
    if data.stream is not None:
        raise UserError(
            "search.confirm.by: folds are for tables that fit into data.memory_budget_gb, as each fold is kept in "
            "memory; use seeds"
        )
    if config.data.split.folds is not None:
        raise UserError(
            f"search.confirm.by: folds divides the data by itself, but data.split.folds is {config.data.split.folds}; "
            "set that to null"
        )
    return tuple(_prepare_fold(config, fold, confirm.repeats) for fold in range(1, confirm.repeats + 1))


def _prepare_fold(config: SearchConfig, fold: int, folds: int) -> Dataset:
    training = with_fold(config.of_a_trial, fold, folds)
    where = f"search.confirm, fold {fold} of {folds}"
    try:
        data = prepare(training)
        measurable = preflight(training, data, config.search.workers)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    needed = judged_by(config.search.compared_by, config.search.constraints)
    missing = [name for name in needed if name not in measurable.metrics]
    if missing:
        reasons = "; ".join(measurable.not_measured.values())
        if reasons:
            reasons = f" ({reasons})"
        raise UserError(
            f"{where}: {', '.join(missing)} cannot be measured on its validation part{reasons}; "
            "use fewer folds (search.confirm.repeats), or seeds"
        )
    return data
