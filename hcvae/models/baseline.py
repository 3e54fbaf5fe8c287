"""The baseline: a conditional VAE with one latent, no FiLM and no peak head.

Legend: B batch, T samples, S static parameters, G global and L local latent dimensions.
"""

import torch
from torch import Tensor, nn

from hcvae.models.base import Model
from hcvae.models.decoder import latents_to_static_head, signal_and_static_heads
from hcvae.models.layers import (
    GaussianHead,
    check_arguments,
    check_columns,
    decoder_layer,
    encoder_layers,
    full_precision,
    scaled,
)

ENCODER_HIDDEN = (640, 256, 128)
DECODER_HIDDEN = (256, 512, 1024)


class StandardCVAE(Model):
    """One latent of G + L dimensions, concatenated with the condition: 4,200,143 parameters with the defaults.

    It speaks the hierarchical model's dictionaries, the first G dimensions of its latent called global and the rest
    local, so that one training loop and one set of metrics serve both. The names mean nothing to this network.

    Args:
        signal_length: samples in a waveform.
        static_dim: encoded static parameters.
        global_latent_dim: dimensions of the latent that are called global.
        local_latent_dim: dimensions of the latent that are called local.
        width: scales all hidden widths.
        dropout: dropout of the encoder's hidden layers.
        batch_norm: batch normalisation of the hidden layers.
        static_from_latents: adds a head that predicts the static parameters from the latent alone.

    Raises:
        UserError: an argument is out of range.
    """

    def __init__(
        self,
        signal_length: int = 200,
        static_dim: int = 7,
        global_latent_dim: int = 32,
        local_latent_dim: int = 32,
        *,
        width: float = 1.0,
        dropout: float = 0.2,
        batch_norm: bool = True,
        static_from_latents: bool = False,
    ) -> None:
        super().__init__(signal_length, static_dim, {"global": global_latent_dim, "local": local_latent_dim})
        check_arguments(width=width, dropout=dropout)
        latent_dim = global_latent_dim + local_latent_dim
        encoder_hidden = [scaled(features, width) for features in ENCODER_HIDDEN]
        self.encoder = nn.Sequential(
            encoder_layers(signal_length + static_dim, encoder_hidden, dropout, batch_norm),
            GaussianHead(encoder_hidden[-1], latent_dim),
        )
        decoder_hidden = [scaled(features, width) for features in DECODER_HIDDEN]
        widths = [latent_dim + static_dim, *decoder_hidden]
        self.layers = nn.Sequential(
            *(decoder_layer(before, after, batch_norm) for before, after in zip(widths, decoder_hidden, strict=False))
        )
        self.heads = signal_and_static_heads(decoder_hidden[-1], signal_length, static_dim, width, batch_norm)
        self.static_from_latents = (
            latents_to_static_head(latent_dim, static_dim, width, batch_norm) if static_from_latents else None
        )

    def encode(self, signals: Tensor, static_params: Tensor) -> dict[str, Tensor]:
        """See `Model.encode`."""
        check_columns("signals", signals, self.signal_length)
        check_columns("static_params", static_params, self.static_dim)
        mu, logvar = self.encoder(torch.cat([signals, static_params], dim=1))
        dims = list(self.latent_dims.values())
        mu_global, mu_local = mu.split(dims, dim=1)
        logvar_global, logvar_local = logvar.split(dims, dim=1)
        return {
            "mu_global": mu_global,
            "logvar_global": logvar_global,
            "mu_local": mu_local,
            "logvar_local": logvar_local,
        }

    def decode(
        self, z_global: Tensor, z_local: Tensor, static_params: Tensor, z_intermediate: Tensor | None = None
    ) -> dict[str, Tensor]:
        """See `Model.decode`; there is no peak head, and no intermediate level."""
        self._check_decoder_inputs(z_global, z_local, static_params, z_intermediate)
        z = torch.cat([z_global, z_local], dim=1)
        features = self.layers(torch.cat([z, static_params], dim=1))
        outputs = {name: full_precision(head(features)) for name, head in self.heads.items()}
        if self.static_from_latents is not None:
            outputs["recon_static_from_latents"] = full_precision(self.static_from_latents(z))
        return outputs
