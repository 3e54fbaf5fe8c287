"""Figures of a model on some rows: reconstructions, exchanged latents, and the use of its latents.

Shapes: N rows of a part, T samples, R rows shown, S encoded static parameters.
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from hcvae import plots
from hcvae.data.dataset import Part
from hcvae.data.preprocessing import Preprocessing
from hcvae.figure_parts import STIMULUS, known, label_of_condition
from hcvae.models import Model
from hcvae.models.base import evaluating
from hcvae.peaks import valid_waves

RowNumbers = NDArray[np.int64]


@dataclass(frozen=True)
class ModelFigures:
    """Figures of `model` on the rows of `part`."""

    model: Model
    preprocessing: Preprocessing
    part: Part

    def reconstructions(self, rows: RowNumbers) -> Figure:
        """Plot rows [R] and their reconstructions."""
        part = self.part
        waveforms, predicted_ms = self.decode(self.latents(rows), self.static[rows])
        picked_ms = np.where(part.peak_mask[rows, :3], part.peaks[rows, :3], np.nan)
        recorded_uv = self.preprocessing.signal.denormalize(part.signals[rows], part.group[rows])
        titles = self.conditions(rows)
        scales = part.group[rows].tolist()
        return plots.reconstructions(recorded_uv, waveforms, self.times_ms, picked_ms, predicted_ms, titles, scales)

    def swap_grid(self, rows: RowNumbers) -> Figure:
        """Plot z_global of each row [R] combined with z_local of each, under the condition of the first row."""
        pairs = np.array(list(product(rows, rows)))
        latents = self.latents(pairs[:, 0]) | {"local": self.latents(pairs[:, 1])["local"]}
        static = self.static[rows[:1]].repeat(len(pairs), 1)
        count = len(rows)
        waveforms, latency_ms = self.decode(latents, static)
        if latency_ms is not None:
            latency_ms = latency_ms.reshape(count, count, -1)
        return plots.swap_grid(waveforms.reshape(count, count, -1), self.times_ms, latency_ms)

    def latent_use(self) -> Figure:
        """Plot the variance of the posterior means and the KL divergence of each dimension, over all rows."""
        variances = {}
        kl = {}
        for block in self.model.latent_dims:
            mu = self._posterior[f"mu_{block}"]
            logvar = self._posterior[f"logvar_{block}"]
            variances[block] = mu.var(dim=0, correction=0).numpy()
            kl[block] = (-0.5 * (1 + logvar - mu.square() - logvar.exp())).mean(dim=0).numpy()
        return plots.latent_use(variances, kl)

    def conditions(self, rows: RowNumbers) -> list[str]:
        """Return titles for rows [R]: their source and stimulus, or all static columns if there is no such column."""
        conditions = [self.preprocessing.static.decode(self.part.static[row]) for row in rows]
        names = [name for name in STIMULUS if name in conditions[0]] or list(conditions[0])
        return [label_of_condition(condition, known(condition, names)) for condition in conditions]

    def latents(self, rows: RowNumbers) -> dict[str, Tensor]:
        """Return the posterior means of rows [R], by block."""
        return {block: self._posterior[f"mu_{block}"][rows] for block in self.model.latent_dims}

    def decode(
        self, latents: dict[str, Tensor], static: Tensor
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Return waveforms in uV [R, T] and predicted latencies in ms [R, 3], NaN if not valid; None without peaks."""
        z = {f"z_{block}": values for block, values in latents.items()}
        with torch.no_grad(), evaluating(self.model):
            decoded = self.model.decode(**z, static_params=static)
        waveforms = self.preprocessing.in_uv(decoded["recon_signal"].numpy(), static.numpy())
        if "predicted_peaks" not in decoded:
            return waveforms, None
        peaks = decoded["predicted_peaks"]
        return waveforms, torch.where(valid_waves(peaks, self.preprocessing), peaks[:, :3], torch.nan).numpy()

    @cached_property
    def static(self) -> Tensor:
        """Encoded conditions of all rows [N, S]."""
        return torch.from_numpy(self.part.static)

    @cached_property
    def times_ms(self) -> NDArray[np.float64]:
        """Times of the samples [T]."""
        return np.arange(self.preprocessing.signal_length, dtype=np.float64) * 1e3 / self.preprocessing.sampling_rate_hz

    @cached_property
    def _posterior(self) -> dict[str, Tensor]:
        with torch.no_grad(), evaluating(self.model):
            return self.model.encode(torch.from_numpy(self.part.signals), self.static)
