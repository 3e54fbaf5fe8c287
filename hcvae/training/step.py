"""The forward pass of one training step: encode, sample, decode (also with exchanged latents), and the loss.

Shapes: B rows of a batch, D dimensions of a latent.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from hcvae.config import Config
from hcvae.losses import DenoisedSwapConsistency, SwapConsistency, total_correlation
from hcvae.losses.kl import Number
from hcvae.losses.swap_penalty import SwapPenalty
from hcvae.models import Model
from hcvae.models.base import Noise
from hcvae.training.objective import Objective
from hcvae.training.tensors import PartTensors

Tensors = dict[str, Tensor]


class TrainingStep(nn.Module):
    """A model and its objective in one module, so that data-parallel workers share the gradients of both.

    Args:
        config: the training's, with `model.static_dim` resolved.
        model: the model to train.
        train: the training part, or a sample of it, from which the scales of the attributes are computed.
        sampling_rate_hz: of the waveforms.
        n_data: rows of the training part; None: those of `train`.
    """

    def __init__(
        self, config: Config, model: Model, train: PartTensors, sampling_rate_hz: float, n_data: int | None = None
    ) -> None:
        super().__init__()
        self.model = model
        self.objective = Objective(config)
        self.swap: SwapPenalty | None = None
        if self.objective.weights["swap"]:
            self.swap = _swap_consistency(config, train, sampling_rate_hz)
        self.n_data = len(train) if n_data is None else n_data
        self.bf16 = config.training.precision == "bf16"  # `fit` sets it where the precision is `auto`

    def forward(
        self, batch: PartTensors, noise: Noise, weights: Mapping[str, Number], n_rows: Number, n_peaks: Number
    ) -> tuple[Tensor, Tensors]:
        """Return the weighted loss of B rows and its components; see `Objective`.

        Args:
            batch: the rows.
            noise: standard-normal draws for each latent block, [B, D].
            weights: of the components, in this epoch.
            n_rows: denominator of the means over waveforms.
            n_peaks: denominator of the mean over labelled peak values.
        """
        with torch.autocast(batch.signals.device.type, torch.bfloat16, enabled=self.bf16):
            posterior = self.model.encode(batch.signals, batch.static)
            latents = self.model.sample_posterior(posterior, noise)
            decoded = self._decode(latents, batch.static)
        decoded = {name: tensor.float() for name, tensor in decoded.items()}
        output = posterior | {name: tensor[: len(batch)] for name, tensor in decoded.items()}
        total, components = self.objective(output, batch, weights, n_rows, n_peaks)
        if self.swap is not None:
            _, *swapped = decoded["recon_signal"].chunk(3)
            components["swap"] = self.swap(*swapped, (batch.signals, batch.response), n_rows)
            total = total + weights["swap"] * components["swap"]
        if self.objective.weights["total_correlation"]:
            nats = self._total_correlation(posterior, latents) * (len(batch) / n_rows)
            components["total_correlation"] = nats
            total = total + weights["total_correlation"] * self.objective.to_loss_unit(nats)
        return total, components

    def _decode(self, latents: Tensors, static: Tensor) -> Tensors:
        """Decode the rows' own latents; for the swap penalty, also those with a neighbour's z_global, then z_local.

        All three in one pass, stacked along B: batch normalisation then learns the statistics of exchanged latents,
        too. Batches are shuffled, so a neighbour is any other row.
        """
        if self.swap is None:
            return self.model.decode(**latents, static_params=static)
        variants = [latents]
        for block in ("z_global", "z_local"):
            variants.append(latents | {block: latents[block].roll(1, 0)})
        stacked = {name: torch.cat([variant[name] for variant in variants]) for name in latents}
        return self.model.decode(**stacked, static_params=static.repeat(3, 1))

    def _total_correlation(self, posterior: Tensors, latents: Tensors) -> Tensor:
        z = self._all_blocks("z", latents)
        mu = self._all_blocks("mu", posterior)
        logvar = self._all_blocks("logvar", posterior)
        return total_correlation(z, mu, logvar, n_data=self.n_data)

    def _all_blocks(self, name: str, tensors: Tensors) -> Tensor:
        return torch.cat([tensors[f"{name}_{block}"] for block in self.model.latent_dims], dim=1)


def _swap_consistency(config: Config, train: PartTensors, sampling_rate_hz: float) -> SwapPenalty:
    factor = config.training.loss_weights.swap_coarse_factor
    if config.training.swap_targets == "denoised":
        return DenoisedSwapConsistency(train.signals, train.response, sampling_rate_hz, factor)
    return SwapConsistency(train.signals, sampling_rate_hz, factor)
