"""The figures of an evaluation: what the model makes of some of the evaluated rows.

Legend: N rows, T samples, R rows shown.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
import pyarrow as pa
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from hcvae import plots
from hcvae.bundle import Bundle
from hcvae.data.dataset import MODEL_WAVES
from hcvae.errors import UserError
from hcvae.evaluation.known_factors import in_uv
from hcvae.evaluation.models import encode
from hcvae.evaluation.rows import LEVEL, EvaluationRows

SHOWN, FAMILIES, DRAWN, STEPS, RECONSTRUCTED = 4, 4, 12, 9, 8


@dataclass(frozen=True)
class Illustrator:
    """Draws the figures of one bundle on the evaluated rows."""

    bundle: Bundle
    rows: EvaluationRows
    seed: int = 0

    def figures(self) -> Iterator[tuple[str, Figure]]:
        """Each figure with its name, one after the other."""
        yield "reconstructions", self.reconstructions()
        yield "swap_grid", self.swap_grid()
        yield "fixed_global", self.families("global", "local")
        yield "fixed_local", self.families("local", "global")
        yield "interpolation", self.interpolation()
        if LEVEL in self.bundle.config.data.static:
            yield "level_series", self.level_series()
        yield "latent_use", self.latent_use()

    def swap_grid(self) -> Figure:
        """z_global of each shown row with z_local of each, under the first one's condition."""
        pairs = np.array(list(product(self._shown, self._shown)))
        latents = self._latents(pairs[:, 0]) | {"local": self._latents(pairs[:, 1])["local"]}
        static = self._static[self._shown[:1]].repeat(len(pairs), 1)
        count = len(self._shown)
        waveforms, latency_ms = self._decode(latents, static)
        shaped = None if latency_ms is None else latency_ms.reshape(count, count, -1)
        return plots.swap_grid(waveforms.reshape(count, count, -1), self._times_ms, shaped)

    def families(self, fixed: str, varied: str) -> Figure:
        """One block of each of some rows, with the other block of many rows, under each one's condition."""
        rows = np.repeat(self._some(FAMILIES), DRAWN)
        others = np.random.default_rng(self.seed + 1).integers(len(self.rows.part), size=len(rows))
        latents = self._latents(rows) | {varied: self._latents(others)[varied]}
        waveforms, _ = self._decode(latents, self._static[rows])
        shaped = waveforms.reshape(-1, DRAWN, waveforms.shape[1])
        return plots.latent_families(shaped, self._times_ms, f"z_{fixed}", f"z_{varied}")

    def interpolation(self) -> Figure:
        """All latents from the first shown row's to the last one's, under the first one's condition."""
        ends = self._latents(self._shown[[0, -1]])
        share = torch.linspace(0, 1, STEPS)[:, None]
        latents = {block: (1 - share) * values[:1] + share * values[1:] for block, values in ends.items()}
        waveforms, latency_ms = self._decode(latents, self._static[self._shown[:1]].repeat(STEPS, 1))
        return plots.interpolation(waveforms, self._times_ms, latency_ms)

    def level_series(self) -> Figure:
        """The latents and the condition of the first shown row, at every level of its normalisation group.

        Raises:
            UserError: the rows name no level.
        """
        group = self.rows.part.group
        known = self.rows.recorded.numbers(LEVEL)[group == group[self._shown[0]]]
        levels_db = np.unique(known[np.isfinite(known)])
        if not len(levels_db):
            raise UserError(f"column {LEVEL!r} must hold a number, but got none in {len(known)} rows")
        row = np.repeat(self._shown[:1], len(levels_db))
        table = self.rows.recorded.table.take(row)
        table = table.set_column(table.schema.get_field_index(LEVEL), LEVEL, pa.array(levels_db))
        static = torch.from_numpy(self.bundle.preprocessing.static.encode(table))
        waveforms, latency_ms = self._decode(self._latents(row), static)
        return plots.level_series(waveforms, levels_db, self._times_ms, latency_ms)

    def reconstructions(self) -> Figure:
        """Some rows and their reconstructions."""
        rows, part = self._some(RECONSTRUCTED), self.rows.part
        waveforms, predicted_ms = self._decode(self._latents(rows), self._static[rows])
        picked_ms = np.where(part.peak_mask[rows, :3], part.peaks[rows, :3], np.nan)
        recorded_uv = self.rows.recorded.signals_uv[rows]
        return plots.reconstructions(recorded_uv, waveforms, self._times_ms, picked_ms, predicted_ms)

    def latent_use(self) -> Figure:
        """Variances and KL divergences, by dimension."""
        variances, kl = {}, {}
        for block in self.bundle.model.latent_dims:
            mu, logvar = self._posterior[f"mu_{block}"], self._posterior[f"logvar_{block}"]
            variances[block] = mu.var(dim=0, correction=0).numpy()
            kl[block] = (-0.5 * (1 + logvar - mu.square() - logvar.exp())).mean(dim=0).numpy()
        return plots.latent_use(variances, kl)

    @cached_property
    def _posterior(self) -> dict[str, Tensor]:
        return encode(self.bundle.model, self.rows.part)

    @cached_property
    def _static(self) -> Tensor:
        return torch.from_numpy(self.rows.part.static)

    @cached_property
    def _times_ms(self) -> NDArray[np.float64]:
        preprocessing = self.bundle.preprocessing
        return np.arange(preprocessing.signal_length, dtype=np.float64) * 1e3 / preprocessing.sampling_rate_hz

    @cached_property
    def _shown(self) -> NDArray[np.int64]:
        return self._some(SHOWN)

    def _some(self, count: int) -> NDArray[np.int64]:
        """Rows [R] of different recordings, drawn by the seed; the same ones first whatever the count."""
        recorded = self.rows.recorded
        recordings = recorded.one_a_recording(self.bundle.config.data, len(recorded), self.seed)
        return np.random.default_rng(self.seed).permutation(recordings)[:count]

    def _latents(self, rows: NDArray[np.int64]) -> dict[str, Tensor]:
        return {block: self._posterior[f"mu_{block}"][rows] for block in self.bundle.model.latent_dims}

    def _decode(
        self, latents: dict[str, Tensor], static: Tensor
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Waveforms in uV [R, T] and predicted latencies in ms [R, 3], where waves were labelled in training."""
        z = {f"z_{block}": values for block, values in latents.items()}
        with torch.no_grad():
            decoded = self.bundle.model.decode(**z, static_params=static)
        preprocessing = self.bundle.preprocessing
        waveforms = in_uv(decoded["recon_signal"], static, preprocessing)
        if "predicted_peaks" not in decoded:
            return waveforms, None
        labelled = np.isin(MODEL_WAVES, preprocessing.labelled_waves)
        return waveforms, np.where(labelled, decoded["predicted_peaks"][:, :3].numpy(), np.float32(np.nan))
