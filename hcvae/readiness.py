"""Whether disentanglement can be measured on prepared data, in plain words, and the options that make it measurable."""

import json
import math
from collections.abc import Iterator

import numpy as np

from hcvae.config import DataConfig
from hcvae.data.dataset import Dataset, Part
from hcvae.data.preprocessing import Preprocessing
from hcvae.data.table import open_parquet
from hcvae.errors import NotMeasurable
from hcvae.metrics.routing_data import RoutingData

ROW = "record_id"
"""Column that names each row: with it no two rows are averages of one response."""
MIN_ROWS = 9
"""Waveforms that one number as the condition needs: three for each of its intercept, linear and squared term."""


def routing_data(part: Part, preprocessing: Preprocessing) -> RoutingData:
    """What the swap-routing score reads from the waveforms of `part`: it does not change while a model is trained.

    Raises:
        NotMeasurable: the part is too small, too uniform or too noisy to score disentanglement.
    """
    paired = part.independent >= 0
    independent = np.where(paired[:, None], part.signals[part.independent], np.nan) if paired.any() else None
    return RoutingData.of(part.signals, part.static, independent, preprocessing.sampling_rate_hz)


def routing_or_none(part: Part, preprocessing: Preprocessing) -> RoutingData | None:
    """`routing_data`; None where disentanglement cannot be measured on `part`."""
    try:
        return routing_data(part, preprocessing)
    except NotMeasurable:
        return None


def unmeasured(data: Dataset) -> dict[str, str]:
    """Why disentanglement cannot be measured, by the part of the split; empty where it can."""
    reasons = {}
    for name, part in (("validation", data.validation), ("test", data.test)):
        try:
            routing_data(part, data.preprocessing)
        except NotMeasurable as error:
            reasons[name] = f"disentanglement cannot be measured on the {name} part: {error}"
    return reasons


def remedy(data: Dataset, has_row_names: bool) -> str:
    """What makes disentanglement measurable on the validation part: options that do, or what is missing.

    Args:
        data: on which it is not measurable.
        has_row_names: whether the tables have a column `record_id`.
    """
    names = [column.name for column in data.preprocessing.static.columns]
    for static in (names, *([name] for name in names if len(names) > 1)):
        for apart in (False, True):
            if (not apart or has_row_names) and _is_measurable(data, static, apart):
                return " ".join(_options(static if static != names else None, apart))
    rows, part = sum(map(len, (data.train, data.validation, data.test))), len(data.validation)
    missing = (
        f"more recordings (about {math.ceil(MIN_ROWS * rows / part)} waveforms in all, so that the validation part has "
        f"{MIN_ROWS} or more), or a larger data.split.validation"
    )
    if (data.validation.independent >= 0).any() and not has_row_names:
        missing += f", or a column {ROW} that names each row, for data.average_columns"
    return missing


def has_row_names(config: DataConfig) -> bool:
    """Whether the tables have a column `record_id`; the simulator's has."""
    schemas = []
    for path in config.tables:
        with open_parquet(path) as file:
            schemas.append(file.schema_arrow.names)
    return all(ROW in names for names in schemas)


def _is_measurable(data: Dataset, static: list[str], apart: bool) -> bool:
    """Whether it is on the columns `static`, against other averages or, `apart`, against the waveforms themselves."""
    part, offset, chosen = data.validation, 0, []
    for column in data.preprocessing.static.columns:
        chosen += [*range(offset, offset + len(column.names))] if column.name in static else []
        offset += len(column.names)
    changed = {**vars(part), "static": part.static[:, chosen]}
    if apart:
        changed["independent"] = np.full(len(part), -1)
    return routing_or_none(Part(**changed), data.preprocessing) is not None


def _options(static: list[str] | None, apart: bool) -> Iterator[str]:
    if static is not None:
        yield f"--data.static '{json.dumps(static)}'"
    if apart:
        yield f"--data.average_columns '{json.dumps([ROW])}'"
