"""Conversion between physical units and the model's inputs and outputs: `normalization.json` of a bundle.

Shapes: N rows, T samples, S encoded static parameters, K groups.
"""

from collections.abc import Sequence
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field, model_validator

from hcvae.config import Section
from hcvae.data.labelled_peaks import PeakLimits, Wave
from hcvae.data.normalization import SignalNormalization
from hcvae.data.static import StaticEncoder, ValueRange

ConditionValue = float | str | None
"""Value of a static column."""


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
    """Typical value in training of each static column, by normalisation group."""
    labelled_waves: tuple[Wave, ...]
    """Waves whose peaks were labelled in training; predictions of the others are meaningless."""
    peak_limits: dict[Wave, PeakLimits] = Field({})
    """Limits of valid predicted peaks, by labelled wave; empty in bundles of an earlier hcvae."""
    seen: dict[str, dict[str, ValueRange]] = Field({})
    """Values of each static column in training, by normalisation group; empty in bundles of an earlier hcvae."""

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
        columns = {column.name: column for column in self.static.columns}
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
        is_complete = all(ranges.keys() == columns.keys() for ranges in self.seen.values())
        if self.seen and not (self.seen.keys() == groups.keys() and is_complete):
            raise ValueError("seen must be empty, or have the range of each static column in each of signal.groups")
        return self


def last_sample_ms(signal_length: int, sampling_rate_hz: float) -> float:
    """Return the time of the last sample; the first one is at the stimulus onset."""
    return (signal_length - 1) / sampling_rate_hz * 1e3


def seen_values(
    static: StaticEncoder, table: pa.Table, group: NDArray[np.int64], names: Sequence[str]
) -> dict[str, dict[str, ValueRange]]:
    """Return the values of each static column in each group; for the arguments see `typical_values`."""
    ranges: dict[str, dict[str, ValueRange]] = {}
    for name, part in _by_group(table, group, names).items():
        ranges[name] = {}
        for column in static.columns:
            ranges[name][column.name] = ValueRange.of(part[column.name])
    return ranges


def typical_values(
    static: StaticEncoder, table: pa.Table, group: NDArray[np.int64], names: Sequence[str]
) -> dict[str, dict[str, ConditionValue]]:
    """Return the median or most frequent value of each static column in each group; null if most rows are null.

    Args:
        static: The static columns.
        table: Training rows [N].
        group: Position of each row's group in `names` [N].
        names: The groups [K].
    """
    typical: dict[str, dict[str, ConditionValue]] = {}
    for name, part in _by_group(table, group, names).items():
        typical[name] = {}
        for column in static.columns:
            typical[name][column.name] = _typical(part[column.name], column.kind == "number")
    return typical


def _by_group(table: pa.Table, group: NDArray[np.int64], names: Sequence[str]) -> dict[str, pa.Table]:
    if len(names) == 1:
        return {names[0]: table}  # no copy
    tables = {}
    for position, name in enumerate(names):
        tables[name] = table.take(np.flatnonzero(group == position))
    return tables


def _typical(column: pa.ChunkedArray, is_number: bool) -> ConditionValue:
    if 2 * column.null_count > len(column):
        return None
    known = column.drop_null()
    if is_number:
        # "lower" gives a value that occurs in the training rows.
        return float(pc.quantile(known, 0.5, interpolation="lower")[0].as_py())
    counts = pc.value_counts(known).to_pylist()
    return str(max(counts, key=lambda entry: (entry["counts"], entry["values"]))["values"])
