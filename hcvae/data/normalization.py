"""Scaling of the waveforms, fitted on the training part, optionally in groups.

A group has one mean and one standard deviation over all its rows and samples. Statistics of each waveform would remove
offset and scale, which z_global must control.

Shapes: N rows, T samples, K groups.
"""

from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field, model_validator

from hcvae.config import Section
from hcvae.errors import UserError

MAX_VALUE = 1e30
"""Largest scale, and the inverse of the smallest: scaling is in float32, whose largest number is 3e38."""


class GroupScale(Section):
    """Mean and standard deviation over all samples of a group's training rows."""

    mean_uv: float = Field(ge=-MAX_VALUE, le=MAX_VALUE)
    """Mean in uV."""
    std_uv: float = Field(ge=1 / MAX_VALUE, le=MAX_VALUE)
    """Standard deviation in uV."""


class SignalNormalization(Section):
    """Maps waveforms in uV to mean 0 and standard deviation 1 over the training part, and back."""

    group_by: str | None
    """Column with the group; null: one group."""
    groups: dict[str, GroupScale]
    """Scale of each group, sorted by name; the only group is called "" if `group_by` is null."""

    @model_validator(mode="after")
    def _one_group_has_no_name(self) -> Self:
        if not self.groups or (self.group_by is None) != (list(self.groups) == [""]):
            raise ValueError(
                "groups must have names if group_by names a column, else there must be one group named '', "
                f"but got (group_by={self.group_by!r}, groups={list(self.groups)})"
            )
        return self

    @classmethod
    def fit(cls, signals: NDArray[np.float32], table: pa.Table, group_by: str | None) -> Self:
        """Fit the scales to the training part: `signals` [N, T] in uV and its `table` [N].

        Raises:
            UserError: `group_by` is not a column of text, or a group's waveforms are constant.
        """
        names = group_names(table, group_by)
        return cls.of_moments(moments(signals, table, group_by, names), group_by, names)

    @classmethod
    def of_moments(cls, sums: NDArray[np.float64], group_by: str | None, names: list[str]) -> Self:
        """Fit the scales of the groups `names` [K] to the sum of `moments` over the training part, [3, K].

        Raises:
            UserError: a group's waveforms are constant, or their scale exceeds the range of float32.
        """
        rows, means, squares = sums
        mean = means / rows
        std = np.sqrt(np.maximum(squares / rows - mean**2, 0))
        groups: dict[str, GroupScale] = {}
        for name, m, s in zip(names, mean, std, strict=True):
            if s <= 1e-7 * abs(m):
                of_group = f" of {group_by}={name}" if name else ""
                raise UserError(
                    f"normalization: the training waveforms{of_group} must vary, but all samples are {m:g} uV"
                )
            if not (max(abs(m), s) <= MAX_VALUE and s >= 1 / MAX_VALUE):
                raise UserError(
                    f"normalization: the training waveforms must have a scale from {1 / MAX_VALUE:g} to {MAX_VALUE:g} "
                    f"uV, but got a mean of {m:g} and a standard deviation of {s:g}; leave out damaged rows"
                )
            groups[name] = GroupScale(mean_uv=m, std_uv=s)
        return cls(group_by=group_by, groups=groups)

    def index(self, table: pa.Table) -> NDArray[np.int64]:
        """Return the group [N] of each row, as its position in `groups`.

        Raises:
            UserError: a row has no group, or one that the training part does not have.
        """
        return _index(table, self.group_by, list(self.groups))

    def normalize(self, signals: NDArray[np.float32], index: NDArray[np.int64]) -> NDArray[np.float32]:
        """Normalise waveforms [N, T] in uV of the groups `index` [N]."""
        mean, std = self._scales(index)
        return (signals - mean) / std

    def denormalize(self, signals: NDArray[np.float32], index: NDArray[np.int64]) -> NDArray[np.float32]:
        """Convert normalised waveforms [N, T] of the groups `index` [N] to uV."""
        mean, std = self._scales(index)
        return signals * std + mean

    def _scales(self, index: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        scales = np.array([(scale.mean_uv, scale.std_uv) for scale in self.groups.values()], np.float32)  # [K, 2]
        return scales[index, :1], scales[index, 1:]


def group_names(table: pa.Table, group_by: str | None) -> list[str]:
    """Return the sorted groups [K] of the training part's `table`; one named "" if `group_by` is null.

    Raises:
        UserError: `group_by` is not a column of text.
    """
    if group_by is None:
        return [""]
    if not pa.types.is_string(table[group_by].type):
        raise UserError(f"normalization.group_by: column {group_by!r} must hold text, but got {table[group_by].type}")
    return sorted(pc.unique(table[group_by]).drop_null().to_pylist())


def moments(
    signals: NDArray[np.float32], table: pa.Table, group_by: str | None, names: list[str]
) -> NDArray[np.float64]:
    """Return for each group the number of rows and the sums of the rows' means and mean squares [3, K].

    Results for different rows add up. They are computed in float64 without a float64 copy of the waveforms [N, T].
    """
    index = _index(table, group_by, names)
    n_samples = signals.shape[1]
    squares = np.einsum("nt,nt->n", signals, signals, dtype=np.float64) / n_samples
    weights = (np.ones(len(signals)), signals.mean(axis=1, dtype=np.float64), squares)
    return np.stack([np.bincount(index, each, len(names)) for each in weights])


def _index(table: pa.Table, group_by: str | None, names: list[str]) -> NDArray[np.int64]:
    if group_by is None:
        return np.zeros(table.num_rows, np.int64)
    index = pc.index_in(table[group_by], pa.array(names, pa.string()))
    if index.null_count:
        value = table[group_by].filter(pc.is_null(index))[0].as_py()
        raise UserError(
            f"normalization.group_by: column {group_by!r} must be one of the training part's {names}, but got {value!r}"
        )
    return np.asarray(index, np.int64)
