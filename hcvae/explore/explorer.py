"""The waveforms that the page of `hcvae explore` shows, computed from its setting, as a waveform table.

Shapes: T samples.
"""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from hcvae.bundle import Bundle
from hcvae.data.preprocessing import ConditionValue
from hcvae.data.table import PEAK_COLUMNS, WAVES, scalar_column
from hcvae.explore.directions import change_uv, leading_directions, prior_means
from hcvae.explore.settings import ALONE, Page, Reference
from hcvae.generation import complete_condition, decode, encode_recording
from hcvae.generation.recordings import read_row

CURRENT = "current"
"""The name of the waveform of the sliders."""
DIRECTIONS = 4
"""Sliders for each latent block, at most."""
CACHED_ROWS = 64
NO_PEAKS: dict[str, object] = {
    "peak_latency_ms": [math.nan] * len(WAVES),
    "peak_amplitude_uv": [math.nan] * len(WAVES),
    "peak_valid": [False] * len(WAVES),
}


class Explorer:
    """A bundle, the leading directions of its latents, and a table of recordings for comparison.

    Args:
        bundle: The model.
        data: Parquet waveform table of the recordings, if any.

    Raises:
        UserError: `data` is not a readable Parquet file, or has no rows.
    """

    def __init__(self, bundle: Bundle, data: str | None = None) -> None:
        self.bundle = bundle
        self.data = data
        self._row = lru_cache(CACHED_ROWS)(self._read)
        self.directions = lru_cache(self._leading_directions)
        self.rows = 0
        if data is not None:
            read_row(data, 0)
            self.rows = pq.read_metadata(data).num_rows

    @property
    def groups(self) -> list[str]:
        """The normalisation groups; a single one without a name if the model has none."""
        return list(self.bundle.preprocessing.typical)

    @property
    def direction_counts(self) -> dict[str, int]:
        """The number of directions of each latent block."""
        return {block: min(DIRECTIONS, count) for block, count in self.bundle.model.latent_dims.items()}

    def freeze(self, page: Page, name: str = CURRENT) -> Reference:
        """Return the setting as a reference: each latent is that of A, B or the prior's mean, shifted.

        Raises:
            UserError: a condition outside the training range.
        """
        condition = complete_condition(self.bundle, page.setting.condition)
        means = prior_means(self.bundle, condition)
        latents = {block: tuple(self._latent(page, block, mean)[0].tolist()) for block, mean in means.items()}
        return Reference(name=name, condition=condition, latents=latents)

    def recording(self, row: int) -> Reference:
        """Return a row of the table as a reference; outside the training range its latents are a guess.

        Raises:
            UserError: no such row, or a recording that the model cannot encode.
        """
        name = f"row {row}"
        recording = encode_recording(self.bundle, self._row(row), name, extrapolate=True)
        latents = {block: tuple(z[0].tolist()) for block, z in recording.latents.items()}
        return Reference(name=name, condition=dict(recording.condition), latents=latents, row=row)

    def describe(self, row: int) -> str:
        """Return the scalar columns of a row of the table as text, without nulls."""
        table = self._row(row)
        texts = []
        for name, column in zip(table.column_names, table.columns, strict=True):
            if pa.types.is_nested(column.type):
                continue
            value = scalar_column(column, name)[0].as_py()
            if isinstance(value, float):
                texts.append(f"{name} {value:g}")
            elif value is not None:
                texts.append(f"{name} {value}")
        return ", ".join(texts)

    def waveforms(self, page: Page) -> pa.Table:
        """Return the waveform of the sliders, called `CURRENT`, and those of the references that are shown.

        Returns:
            A waveform table as `hcvae generate` writes it, with a column `name` instead of `sample`. Recordings
            are as recorded, with the peaks of their table; all other waveforms have the predicted peaks.

        Raises:
            UserError: a condition outside the training range.
        """
        shown = [self.freeze(page)]
        for reference in page.references:
            if reference.name in page.shown:
                shown.append(reference)
        decoded = self._decoded(shown)
        rows: list[dict[str, object]] = []
        for expected, reference in zip(decoded.to_pylist(), shown, strict=True):
            row = NO_PEAKS | expected
            if reference.row is not None:
                row.update(NO_PEAKS | self._recorded(reference.row))
            rows.append(row)
        return pa.Table.from_pylist(rows, _with_peaks(decoded.schema))

    def changes_uv(self, page: Page) -> dict[str, list[float]]:
        """Return the root mean square change by one standard deviation along each direction."""
        condition = complete_condition(self.bundle, page.setting.condition)
        directions = self.directions(self._group(condition))
        changes = {}
        for block, vectors in directions.items():
            changes[block] = change_uv(self.bundle, block, condition, vectors).tolist()
        return changes

    def span_uv(self, page: Page) -> tuple[float, float]:
        """Return a range of the vertical axis that does not depend on the sliders: mean +- 2.5 SD of the recordings."""
        scale = self.bundle.preprocessing.signal.groups[self._group(page.setting.condition)]
        return scale.mean_uv - 2.5 * scale.std_uv, scale.mean_uv + 2.5 * scale.std_uv

    def _decoded(self, references: Sequence[Reference]) -> pa.Table:
        """Return the waveforms of the references, with a column `name`."""
        latents = {}
        for block in self.bundle.model.latent_dims:
            latents[block] = torch.tensor([reference.latents[block] for reference in references])
        conditions = []
        names = []
        for reference in references:
            conditions.append(reference.condition)
            names.append(reference.name)
        return decode(self.bundle, conditions, latents, {"name": np.array(names)})

    def _latent(self, page: Page, block: str, mean: Tensor) -> Tensor:
        """Return the latent [1, D] of a block at the page's setting."""
        name = page.setting.a
        if block == "local":
            name = page.setting.b
        start = mean
        if name != ALONE:
            start = torch.tensor([page.named(name).latents[block]])
        directions = self.directions(self._group(page.setting.condition))
        return start + torch.tensor([page.setting.shifts[block]]) @ directions[block]

    def _group(self, condition: Mapping[str, ConditionValue]) -> str:
        group_by = self.bundle.preprocessing.signal.group_by
        if group_by is None:
            return ""
        return str(condition[group_by])

    def _leading_directions(self, group: str) -> dict[str, Tensor]:
        """Return the directions of each latent block at the typical condition of a normalisation group."""
        typical = self.bundle.preprocessing.typical[group]
        directions = {}
        for block, count in self.direction_counts.items():
            directions[block] = leading_directions(self.bundle, block, typical, count)
        return directions

    def _recorded(self, row: int) -> dict[str, object]:
        """Return waveform and labelled peaks of a row of the table."""
        table = self._row(row)
        values: dict[str, object] = {}
        for name in ("signal", *PEAK_COLUMNS):
            if name in table.column_names and table[name][0].is_valid:
                values[name] = table[name][0].as_py()
        return values

    def _read(self, row: int) -> pa.Table:
        assert self.data is not None, "the page offers rows only where there is a table"
        return read_row(self.data, row).take([0])  # a copy: a slice would keep its whole row group


def _with_peaks(schema: pa.Schema) -> pa.Schema:
    """Add the columns of peaks to a schema, which models without a peak head lack."""
    for name in PEAK_COLUMNS:
        if name not in schema.names:
            kind = pa.bool_() if name == "peak_valid" else pa.float32()
            schema = schema.append(pa.field(name, pa.list_(kind, len(WAVES))))
    return schema
