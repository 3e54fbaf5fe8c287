"""The loss that a training minimises: the specification's, with the options of `config.training`.

Shapes: B batch, D dimensions of a latent.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from hcvae.config import Config
from hcvae.losses import LearnedScales, equivalent_beta, free_bits, gaussian_kl, loss_components
from hcvae.losses.kl import Number
from hcvae.training.schedule import component_weights
from hcvae.training.tensors import PartTensors

BLOCKS = ("global", "local", "intermediate")
"""Latent blocks that may have a KL term."""


class Objective(nn.Module):
    """The weighted loss of a model's outputs, with the learned scales, if any."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.weights = component_weights(config, config.training.loss_weights)
        self.scales = LearnedScales(config.training.learned_scales)
        self.free_bits = config.training.free_bits
        self.samples = config.model.signal_length
        self.other_average = config.training.target == "other_average"
        self.calibrated = config.training.learned_scales != "none"

    def forward(
        self,
        output: Mapping[str, Tensor],
        batch: PartTensors,
        weights: Mapping[str, Number] | None = None,
        n_rows: Number | None = None,
        n_peaks: Number | None = None,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted total and the unweighted components; see `enhanced_hierarchical_cvae_loss`.

        Args:
            output: of the model's `encode` and `decode` together.
            batch: the B rows that were encoded.
            weights: by component; None: those of the last phase.
            n_rows: denominator of the means over waveforms; None: B.
            n_peaks: denominator of the mean over labelled peak values; None: their number.
        """
        if weights is None:
            weights = self.weights
        if n_rows is None:
            n_rows = len(batch)
        components = self._components(output, batch, n_rows, n_peaks)
        terms = {name: self._likelihood(name, value, batch) for name, value in components.items()}
        for block in BLOCKS:
            if f"{block}_kl" in terms:
                terms[f"{block}_kl"] = self._kl(block, terms[f"{block}_kl"], output, len(batch) / n_rows)
        return self._weighted_sum(terms, weights), components

    def _components(
        self, output: Mapping[str, Tensor], batch: PartTensors, n_rows: Number, n_peaks: Number | None
    ) -> dict[str, Tensor]:
        target = batch.signals
        if self.other_average:
            target = batch.response
        components = loss_components(
            output, target, batch.static, batch.peaks, batch.peak_mask, n_rows=n_rows, n_peaks=n_peaks
        )
        if "mu_intermediate" in output:
            kl = gaussian_kl(output["mu_intermediate"], output["logvar_intermediate"])
            components["intermediate_kl"] = kl.sum() / n_rows
        return components

    def to_loss_unit(self, nats: Tensor) -> Tensor:
        """Convert nats per waveform to the unit of the loss: with a learned scale it is nats per sample."""
        if self.calibrated:
            return nats / self.samples
        return nats

    def beta(self, weight: float, residual_variance: float) -> float:
        """Return the beta of a beta-VAE that is equivalent to a KL weight."""
        relative = weight / self.weights["reconstruction"]
        if self.calibrated:
            return relative
        return equivalent_beta(relative, self.samples, residual_variance)

    def _likelihood(self, name: str, error: Tensor, batch: PartTensors) -> Tensor:
        term: Tensor = self.scales(name, error)
        if name == "peak":
            return term * batch.peak_mask.any()
        return term

    def _kl(self, block: str, nats: Tensor, output: Mapping[str, Tensor], share: Number) -> Tensor:
        if self.free_bits:
            nats = free_bits(output[f"mu_{block}"], output[f"logvar_{block}"], self.free_bits) * share
        return self.to_loss_unit(nats)

    def _weighted_sum(self, terms: Mapping[str, Tensor], weights: Mapping[str, Number]) -> Tensor:
        weights = {"static_from_latents": weights["static"], **weights}
        weighted = [weights[name] * term for name, term in terms.items()]
        return torch.stack(weighted).sum()
