"""Whether disentanglement can be measured on prepared data, why not, and the options that make it measurable."""

import json
import math
from collections.abc import Iterator
from itertools import product

import numpy as np

from hcvae.config import DataConfig
from hcvae.data.dataset import Dataset, Part
from hcvae.data.preprocessing import Preprocessing
from hcvae.data.table import open_parquet
from hcvae.errors import NotMeasurable
from hcvae.metrics.routing_data import RoutingData

ROW = "record_id"
"""Column that names each row: averaged by it, no two rows are averages of one response."""
MIN_ROWS = 9
"""Waveforms needed for a condition of one number: three for each of its intercept, linear and squared term."""


def routing_data(part: Part, preprocessing: Preprocessing) -> RoutingData:
    """Return what the swap-routing score needs from the waveforms of `part`, which no epoch changes.

    Raises:
        NotMeasurable: the part is too small, too uniform or too noisy to score disentanglement.
    """
    independent = None
    if part.has_independent_averages:
        independent = part.independent_averages(part.signals)
    return RoutingData.of(part.signals, part.static, independent, preprocessing.sampling_rate_hz)


def routing_or_none(part: Part, preprocessing: Preprocessing) -> RoutingData | None:
    """Return `routing_data`, or None where disentanglement cannot be measured on `part`."""
    try:
        return routing_data(part, preprocessing)
    except NotMeasurable:
        return None


def routing_or_reason(data: Dataset) -> tuple[dict[str, RoutingData], dict[str, str]]:
    """Return the routing data of the validation and the test part, and why a part has none, both by part."""
    found = {}
    reasons = {}
    for name, part in (("validation", data.validation), ("test", data.test)):
        try:
            found[name] = routing_data(part, data.preprocessing)
        except NotMeasurable as error:
            reasons[name] = f"disentanglement cannot be measured on the {name} part: {error}"
    return found, reasons


def unmeasured(data: Dataset) -> dict[str, str]:
    """Return why disentanglement cannot be measured, by the part of the split; empty where it can."""
    _, reasons = routing_or_reason(data)
    return reasons


def remedy(data: Dataset, has_row_names: bool) -> str:
    """Return options that make disentanglement measurable on the validation part, or else what is missing.

    Args:
        data: prepared data on which it is not measurable.
        has_row_names: whether the tables have a column `record_id`.
    """
    names = [column.name for column in data.preprocessing.static.columns]
    subsets = [names]
    if len(names) > 1:
        subsets += [[name] for name in names]
    averages = [False]
    if has_row_names:
        averages.append(True)
    for static, apart in product(subsets, averages):
        if _is_measurable(data, static, apart):
            return " ".join(_options(names, static, apart))
    return _missing(data, has_row_names)


def has_row_names(config: DataConfig) -> bool:
    """Return whether the tables have a column `record_id`; the simulator's has."""
    for path in config.tables:
        with open_parquet(path) as file:
            if ROW not in file.schema_arrow.names:
                return False
    return True


def _missing(data: Dataset, has_row_names: bool) -> str:
    rows = len(data.train) + len(data.validation) + len(data.test)
    needed = math.ceil(MIN_ROWS * rows / len(data.validation))
    missing = (
        f"more recordings (about {needed} waveforms in all, so that the validation part has {MIN_ROWS} or more), "
        "or a larger part (--data.split.validation 0.3)"
    )
    if data.validation.has_independent_averages and not has_row_names:
        missing += f""", or a column {ROW} that names each row, for --data.average_columns '["{ROW}"]'"""
    return missing


def _is_measurable(data: Dataset, static: list[str], apart: bool) -> bool:
    """Return whether the columns `static` suffice, with independent averages or, if `apart`, without them."""
    part = data.validation
    chosen: list[int] = []
    offset = 0
    for column in data.preprocessing.static.columns:
        width = len(column.names)
        if column.name in static:
            chosen += range(offset, offset + width)
        offset += width
    changed = {**vars(part), "static": part.static[:, chosen]}
    if apart:
        changed["independent"] = np.full(len(part), -1)
    return routing_or_none(Part(**changed), data.preprocessing) is not None


def _options(names: list[str], static: list[str], apart: bool) -> Iterator[str]:
    """Yield the options that reduce the columns `names` to `static`, and that keep averages apart if `apart`."""
    if static != names:
        yield f"--data.static '{json.dumps(static)}'"
    if apart:
        yield f"--data.average_columns '{json.dumps([ROW])}'"
