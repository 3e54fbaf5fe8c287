"""What a training minimises: the specification's loss with the options that `config.training` names.

Legend: B batch, D dimensions of a latent.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from hcvae.config import Config
from hcvae.losses import LearnedScales, enhanced_hierarchical_cvae_loss, equivalent_beta, free_bits, gaussian_kl
from hcvae.losses.kl import Number
from hcvae.training.schedule import component_weights
from hcvae.training.tensors import PartTensors


class Objective(nn.Module):
    """The weighted loss of a model's outputs; it holds the learned scales, where there are any."""

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
        """The weighted total, and the unweighted components that `enhanced_hierarchical_cvae_loss` describes.

        Args:
            output: of the model's `encode` and `decode` together.
            batch: the B rows that were encoded.
            weights: by component; None: those of the last phase.
            n_rows: denominator of the means over waveforms; None: B.
            n_peaks: likewise for the labelled peak values.
        """
        weights = self.weights if weights is None else weights
        rows = len(batch) if n_rows is None else n_rows
        _, components = enhanced_hierarchical_cvae_loss(
            output["recon_signal"],
            batch.response if self.other_average else batch.signals,
            output["recon_static_params"],
            batch.static,
            output["mu_global"],
            output["logvar_global"],
            output["mu_local"],
            output["logvar_local"],
            output.get("predicted_peaks"),
            batch.peaks,
            batch.peak_mask,
            recon_static_from_latents=output.get("recon_static_from_latents"),
            n_rows=rows,
            n_peaks=n_peaks,
        )
        if "mu_intermediate" in output:
            kl = gaussian_kl(output["mu_intermediate"], output["logvar_intermediate"])
            components["intermediate_kl"] = kl.sum() / rows
        weights = {"static_from_latents": weights["static"], **weights}
        terms = {name: self._likelihood(name, value, batch) for name, value in components.items()}
        terms |= {name: self._kl(name, terms[name], output, len(batch) / rows) for name in terms if name[-3:] == "_kl"}
        return torch.stack([weights[name] * term for name, term in terms.items()]).sum(), components

    def in_nats(self, nats: Tensor) -> Tensor:
        """Nats per waveform in the unit of the loss: with a learned scale the loss is nats per sample."""
        return nats / self.samples if self.calibrated else nats

    def beta(self, weight: float, residual_variance: float) -> float:
        """The beta of a beta-VAE that a KL weight amounts to."""
        relative = weight / self.weights["reconstruction"]
        return relative if self.calibrated else equivalent_beta(relative, self.samples, residual_variance)

    def _likelihood(self, name: str, error: Tensor, batch: PartTensors) -> Tensor:
        term: Tensor = self.scales(name, error)
        return term * batch.peak_mask.any() if name == "peak" else term

    def _kl(self, name: str, nats: Tensor, output: Mapping[str, Tensor], share: Number) -> Tensor:
        if self.free_bits:
            block = name.removesuffix("_kl")
            nats = free_bits(output[f"mu_{block}"], output[f"logvar_{block}"], self.free_bits) * share
        return self.in_nats(nats)
