"""The figures of an evaluation: the model's output for some of the evaluated rows.

Shapes: R rows shown.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hcvae import plots
from hcvae.bundle import Bundle
from hcvae.counting import counted
from hcvae.data.table import LEVEL
from hcvae.errors import UserError
from hcvae.evaluation.rows import EvaluationRows
from hcvae.model_figures import ModelFigures

SHOWN = 4
"""Rows of the swap grid."""
FAMILIES = 4
PER_FAMILY = 12
STEPS = 9
"""Waveforms of an interpolation."""
RECONSTRUCTED = 8


@dataclass(frozen=True)
class Illustrator:
    """Plots the figures of one bundle on the evaluated rows."""

    bundle: Bundle
    rows: EvaluationRows
    seed: int = 0

    def figures(self) -> Iterator[tuple[str, Figure]]:
        """Yield each figure with its name."""
        yield "reconstructions", self._model.reconstructions(self._some(RECONSTRUCTED))
        yield "swap_grid", self._model.swap_grid(self._shown)
        yield "fixed_global", self.families("global", "local")
        yield "fixed_local", self.families("local", "global")
        yield "interpolation", self.interpolation()
        if LEVEL in self.bundle.config.data.static:
            yield "level_series", self.level_series()
        yield "latent_use", self._model.latent_use()

    def families(self, fixed: str, varied: str) -> Figure:
        """Plot one block of each of some rows with the other block of many rows, under the former's condition."""
        some = self._some(FAMILIES)
        rows = np.repeat(some, PER_FAMILY)
        others = np.random.default_rng(self.seed + 1).integers(len(self.rows.part), size=len(rows))
        latents = self._model.latents(rows) | {varied: self._model.latents(others)[varied]}
        waveforms, _ = self._model.decode(latents, self._model.static[rows])
        shaped = waveforms.reshape(-1, PER_FAMILY, waveforms.shape[1])
        titles = self._model.conditions(some)
        scales = self.rows.part.group[some].tolist()
        return plots.latent_families(shaped, self._model.times_ms, f"z_{fixed}", f"z_{varied}", titles, scales)

    def interpolation(self) -> Figure:
        """Plot an interpolation of all latents from the first shown row to the last, under the former's condition."""
        ends = self._model.latents(self._shown[[0, -1]])
        share = torch.linspace(0, 1, STEPS)[:, None]
        latents = {}
        for block, values in ends.items():
            latents[block] = (1 - share) * values[:1] + share * values[1:]
        waveforms, latency_ms = self._model.decode(latents, self._model.static[self._shown[:1]].repeat(STEPS, 1))
        return plots.interpolation(waveforms, self._model.times_ms, latency_ms)

    def level_series(self) -> Figure:
        """Plot the latents and the condition of the first shown row at every level of its normalisation group.

        Raises:
            UserError: no row has a level.
        """
        group = self.rows.part.group
        known = self.rows.recorded.numbers(LEVEL)[group == group[self._shown[0]]]
        levels_db = np.unique(known[np.isfinite(known)])
        if not len(levels_db):
            raise UserError(f"column {LEVEL!r} must hold a number, but got none in {counted(len(known), 'row')}")
        row = np.repeat(self._shown[:1], len(levels_db))
        table = self.rows.recorded.table.take(row)
        table = table.set_column(table.schema.get_field_index(LEVEL), LEVEL, pa.array(levels_db))
        static = torch.from_numpy(self.bundle.preprocessing.static.encode(table))
        waveforms, latency_ms = self._model.decode(self._model.latents(row), static)
        return plots.level_series(waveforms, levels_db, self._model.times_ms, latency_ms)

    @cached_property
    def _model(self) -> ModelFigures:
        return ModelFigures(self.bundle.model, self.bundle.preprocessing, self.rows.part)

    @cached_property
    def _shown(self) -> NDArray[np.int64]:
        return self._some(SHOWN)

    def _some(self, count: int) -> NDArray[np.int64]:
        """Return rows [R] of different recordings in random order, of which a larger count has more."""
        recorded = self.rows.recorded
        recordings = recorded.one_per_recording(self.bundle.config.data, len(recorded), self.seed)
        return np.random.default_rng(self.seed).permutation(recordings)[:count]
