"""Conversion between physical units and the model's inputs and outputs: `normalization.json` of a bundle.

Shapes: N rows, T samples, S encoded static parameters, K groups.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field, model_validator

from hcvae.config import Section
from hcvae.data.labelled_peaks import PeakLimits, Wave
from hcvae.data.normalization import SignalNormalization
from hcvae.data.split import row_codes
from hcvae.data.static import StaticColumn, StaticEncoder, ValueRange

ConditionValue = float | str | None
"""Value of a static column."""
MAX_COUNTED_VALUES = 25
"""Numbers with more different values, such as ages, are continuous: how often one of them occurs means little."""
MAX_STORED_VALUES = 10_000
"""Limit of the values of all stored combinations."""


class Combination(Section):
    """Values of the static columns that occurred together in training rows."""

    count: int = Field(ge=1)
    """Number of these rows."""
    values: dict[str, ConditionValue]
    """Value of each static column."""


class Preprocessing(Section):
    """Maps waveforms and conditions to the model's inputs and back."""

    signal_length: int = Field(ge=1)
    """T, samples per waveform."""
    sampling_rate_hz: float = Field(gt=0)
    """Samples per second."""
    signal: SignalNormalization
    """Scaling of the waveforms."""
    static: StaticEncoder
    """Encoding of the static parameters."""
    typical: dict[str, dict[str, ConditionValue]]
    """The most frequent combination of values in training, by normalisation group; in bundles of an earlier hcvae the
    typical value of each static column by itself."""
    labelled_waves: tuple[Wave, ...]
    """Waves whose peaks were labelled in training; predictions of the others are meaningless."""
    peak_limits: dict[Wave, PeakLimits] = Field({})
    """Limits of valid predicted peaks, by labelled wave; empty in bundles of an earlier hcvae."""
    seen: dict[str, dict[str, ValueRange]] = Field({})
    """Values of each static column in training, by normalisation group; empty in bundles of an earlier hcvae."""
    combinations: dict[str, tuple[Combination, ...]] = Field({})
    """The most frequent combinations of values in training, by normalisation group, in falling order; empty in bundles
    of an earlier hcvae."""
    uncounted: tuple[str, ...] = ()
    """Columns with too many different numbers to count their combinations."""

    @property
    def window_ms(self) -> float:
        """Time of the last sample; the first one is at 0."""
        return last_sample_ms(self.signal_length, self.sampling_rate_hz)

    def ranges(self, group: str) -> dict[str, ValueRange]:
        """Return the values of each static column in the training rows of `group`, or of all groups if unknown."""
        return self.seen.get(group) or {column.name: column.seen for column in self.static.columns}

    def in_uv(self, normalised: NDArray[np.float32], static: NDArray[np.float32]) -> NDArray[np.float32]:
        """Convert waveforms [N, T] to uV, with the scale of the group in the encoded condition [N, S]."""
        if self.signal.group_by is None:
            return self.signal.denormalize(normalised, np.zeros(len(static), np.int64))
        columns = [self.static.names.index(f"{self.signal.group_by}={name}") for name in self.signal.groups]
        return self.signal.denormalize(normalised, static[:, columns].argmax(axis=1))

    @model_validator(mode="after")
    def _groups_and_typical_values_can_be_encoded(self) -> Self:
        columns = self.static.by_name
        group_by = self.signal.group_by
        groups = self.signal.groups
        if group_by is not None and (group_by not in columns or {*groups} - {*columns[group_by].categories}):
            raise ValueError(f"signal.groups must be categories of the static column group_by, {group_by!r}")
        for group in {*groups, *self.typical}:
            values = self.typical.get(group, {})
            for name in {*columns, *values}:
                if name not in values or name not in columns or not columns[name].has(values[name]):
                    raise ValueError(
                        f"typical must have a value of each static column in each of signal.groups, but got "
                        f"{values.get(name, 'nothing')!r} for column {name!r} in group {group!r}"
                    )
        for group, found in self.combinations.items():
            if not found:
                raise ValueError(f"combinations must not be empty, but got none in group {group!r}")
            for combination in found:
                if not _can_encode(columns, combination.values):
                    raise ValueError(
                        f"combinations must have a value of each static column, but got {combination.values!r} in "
                        f"group {group!r}"
                    )
        if self.combinations and self.combinations.keys() != groups.keys():
            raise ValueError("combinations must be empty, or have each of signal.groups")
        is_complete = all(ranges.keys() == columns.keys() for ranges in self.seen.values())
        if self.seen and not (self.seen.keys() == groups.keys() and is_complete):
            raise ValueError("seen must be empty, or have the range of each static column in each of signal.groups")
        return self


def _can_encode(columns: Mapping[str, StaticColumn], values: Mapping[str, ConditionValue]) -> bool:
    return values.keys() == columns.keys() and all(columns[name].has(value) for name, value in values.items())


def last_sample_ms(signal_length: int, sampling_rate_hz: float) -> float:
    """Return the time of the last sample; the first one is at the stimulus onset."""
    return (signal_length - 1) / sampling_rate_hz * 1e3


def seen_values(
    static: StaticEncoder, table: pa.Table, group: NDArray[np.int64], names: Sequence[str]
) -> dict[str, dict[str, ValueRange]]:
    """Return the values of each static column in each group; for the arguments see `frequent_combinations`."""
    ranges: dict[str, dict[str, ValueRange]] = {}
    for name, part in _by_group(table, group, names).items():
        ranges[name] = {}
        for column in static.columns:
            ranges[name][column.name] = ValueRange.of(part[column.name])
    return ranges


def frequent_combinations(
    static: StaticEncoder, table: pa.Table, group: NDArray[np.int64], names: Sequence[str]
) -> tuple[dict[str, tuple[Combination, ...]], tuple[str, ...]]:
    """Return the combinations of values in the training rows of each group, and the columns that are not counted.

    The most frequent combination is first; of equally frequent ones that nearest to the medians. Continuous numbers
    are not counted, nor, where there are too many combinations to store, those with the most different values: of the
    rows that agree in the other columns, the one nearest to the medians is given.

    Args:
        static: The static columns.
        table: Training rows [N].
        group: Position of each row's group in `names` [N].
        names: The groups [K].
    """
    limit = max(1, MAX_STORED_VALUES // (len(static.columns) + 1) // len(names))
    codes, uncounted = _counted_codes(static, table, limit)
    distance = _distance_from_medians(static, table)
    found: dict[str, tuple[Combination, ...]] = {}
    for position, name in enumerate(names):
        rows = np.flatnonzero(group == position)
        nearest_first = rows[np.lexsort((distance[rows], codes[rows]))]
        _, first, counts = np.unique(codes[nearest_first], return_index=True, return_counts=True)
        chosen = nearest_first[first]
        order = np.lexsort((distance[chosen], -counts))[:limit]
        values = table.select(list(static.by_name)).take(chosen[order])
        found[name] = tuple(_combinations(values, counts[order]))
    return found, uncounted


def _combinations(table: pa.Table, counts: NDArray[np.int64]) -> Iterator[Combination]:
    """Yield the rows of a table of static columns as combinations, each with its number of training rows."""
    for values, count in zip(table.to_pylist(), counts.tolist(), strict=True):
        yield Combination(count=count, values=values)


def _counted_codes(static: StaticEncoder, rows: pa.Table, limit: int) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Return a number for each row [N], the same for rows that count as one combination, and the uncounted columns."""
    names = list(static.by_name)
    counted = rows.select(names)
    numbers = [column.name for column in static.columns if column.kind == "number"]
    different = {name: len(pc.unique(rows[name])) for name in numbers}
    numbers.sort(key=lambda name: different[name])
    uncounted: list[str] = []
    codes = row_codes(counted, names)
    while numbers and (different[numbers[-1]] > MAX_COUNTED_VALUES or codes.max() >= limit):
        name = numbers.pop()
        uncounted.append(name)
        counted = counted.set_column(names.index(name), name, pc.is_null(rows[name]).cast(pa.int8()))
        codes = row_codes(counted, names)
    return codes, tuple(uncounted)


def _distance_from_medians(static: StaticEncoder, rows: pa.Table) -> NDArray[np.float64]:
    """Return the mean distance of each row's numbers from their medians, in standard deviations [N]."""
    distance = np.zeros(rows.num_rows)
    for column in static.columns:
        if column.kind == "number" and column.minimum < column.maximum:
            numbers = rows[column.name].to_numpy()  # NaN where null
            if not np.isnan(numbers).all():
                distance += np.nan_to_num(np.abs(numbers - np.nanmedian(numbers)) / column.std)
    return distance


def _by_group(table: pa.Table, group: NDArray[np.int64], names: Sequence[str]) -> dict[str, pa.Table]:
    if len(names) == 1:
        return {names[0]: table}  # no copy
    tables = {}
    for position, name in enumerate(names):
        tables[name] = table.take(np.flatnonzero(group == position))
    return tables
