"""The baseline: a conditional VAE with one latent, no FiLM and no peak head.

Shapes: B batch, T samples, S static parameters, D latent dimensions.
"""

import torch
from torch import Tensor, nn

from hcvae.models.decoder import latents_to_static_head, signal_and_static_heads
from hcvae.models.layers import (
    GaussianHead,
    check_arguments,
    decoder_layers,
    encoder_layers,
    full_precision,
    scaled_widths,
)
from hcvae.models.single_latent import SingleLatentModel

ENCODER_HIDDEN = (640, 256, 128)
DECODER_HIDDEN = (256, 512, 1024)


class StandardCVAE(SingleLatentModel):
    """A CVAE that decodes one latent concatenated with the condition: 4,200,143 parameters with the defaults.

    Args:
        signal_length: samples in a waveform.
        static_dim: encoded static parameters.
        global_latent_dim: dimensions of the latent reported as global, see `SingleLatentModel`.
        local_latent_dim: dimensions of the latent reported as local; D is the sum of both.
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
        super().__init__(signal_length, static_dim, global_latent_dim, local_latent_dim)
        check_arguments(width=width, dropout=dropout)
        encoder_hidden = scaled_widths(ENCODER_HIDDEN, width)
        self.encoder = nn.Sequential(
            encoder_layers(signal_length + static_dim, encoder_hidden, dropout, batch_norm),
            GaussianHead(encoder_hidden[-1], self.latent_dim),
        )
        decoder_hidden = scaled_widths(DECODER_HIDDEN, width)
        self.layers = nn.Sequential(*decoder_layers(self.latent_dim + static_dim, decoder_hidden, batch_norm))
        self.heads = signal_and_static_heads(decoder_hidden[-1], signal_length, static_dim, width, batch_norm)
        self.static_from_latents: nn.Module | None = None
        if static_from_latents:
            self.static_from_latents = latents_to_static_head(self.latent_dim, static_dim, width, batch_norm)

    def encode_latent(self, signals: Tensor, static_params: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance [B, D] for signals [B, T] and static_params [B, S]."""
        mu, logvar = self.encoder(torch.cat([signals, static_params], dim=1))
        return mu, logvar

    def decode_latent(self, z: Tensor, static_params: Tensor) -> dict[str, Tensor]:
        """Return the decoder's outputs by name for z [B, D] and static_params [B, S]."""
        features = self.layers(torch.cat([z, static_params], dim=1))
        outputs = {name: full_precision(head(features)) for name, head in self.heads.items()}
        if self.static_from_latents is not None:
            outputs["recon_static_from_latents"] = full_precision(self.static_from_latents(z))
        return outputs
