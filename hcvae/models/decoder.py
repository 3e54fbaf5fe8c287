"""Decoder: from the two latents and the static parameters to waveform, static parameters and peaks.

Legend: B batch, T samples, S static parameters, G global and L local latent dimensions.
"""

import torch
from torch import Tensor, nn

from hcvae.models.layers import FiLM, check_arguments, decoder_layer, full_precision, output_head, scaled

HIDDEN = (256, 512, 1024, 2048)
FILM_HIDDEN = 64
SIGNAL_HIDDEN = (2048,)
STATIC_HIDDEN = (512, 256)
PEAK_HIDDEN = (192,)
STATIC_FROM_LATENTS_HIDDEN = (256,)
PEAK_OUTPUTS = 6
"""Latencies of waves I, III and V in ms, then their amplitudes in uV."""


class HierarchicalDecoder(nn.Module):
    """z_local and the static parameters enter by concatenation; z_global modulates every layer by FiLM.

    Without FiLM z_global is concatenated to the input, so that it never goes unheard. `static_from_latents` adds a
    head that predicts the static parameters from the latents alone: the usual one can copy them from its own input.

    Raises:
        UserError: a dimension below 1, or a width out of range.
    """

    def __init__(
        self,
        signal_length: int,
        static_dim: int,
        global_latent_dim: int,
        local_latent_dim: int,
        predict_peaks: bool = True,
        use_film: bool = True,
        *,
        width: float = 1.0,
        batch_norm: bool = True,
        static_from_latents: bool = False,
    ) -> None:
        super().__init__()
        check_arguments(
            signal_length=signal_length,
            static_dim=static_dim,
            global_latent_dim=global_latent_dim,
            local_latent_dim=local_latent_dim,
            width=width,
        )
        self.use_film = use_film
        hidden = [scaled(features, width) for features in HIDDEN]
        inputs = local_latent_dim + static_dim + (0 if use_film else global_latent_dim)
        self.layers = nn.ModuleList(
            decoder_layer(before, after, batch_norm)
            for before, after in zip([inputs, *hidden], hidden, strict=False)  # the last width has no successor
        )
        film_hidden = scaled(FILM_HIDDEN, width)
        self.films = nn.ModuleList(FiLM(global_latent_dim, features, film_hidden) for features in hidden if use_film)
        self.heads = signal_and_static_heads(hidden[-1], signal_length, static_dim, width, batch_norm)
        if predict_peaks:
            peak_hidden = [scaled(features, width) for features in PEAK_HIDDEN]
            self.heads["predicted_peaks"] = output_head(hidden[-1], peak_hidden, PEAK_OUTPUTS, batch_norm)
        self.static_from_latents = (
            latents_to_static_head(global_latent_dim + local_latent_dim, static_dim, width, batch_norm)
            if static_from_latents
            else None
        )

    def forward(self, z_global: Tensor, z_local: Tensor, static_params: Tensor) -> dict[str, Tensor]:
        """z_global [B, G], z_local [B, L] and static_params [B, S] to the outputs by name.

        recon_signal [B, T], recon_static_params [B, S] (standardised), predicted_peaks [B, 6] where there is a peak
        head, recon_static_from_latents [B, S] where there is that head.
        """
        if self.use_film:
            features = torch.cat([z_local, static_params], dim=1)
            for layer, film in zip(self.layers, self.films, strict=True):
                features = film(layer(features), z_global)
        else:
            features = torch.cat([z_global, z_local, static_params], dim=1)
            for layer in self.layers:
                features = layer(features)
        outputs = {name: full_precision(head(features)) for name, head in self.heads.items()}
        if self.static_from_latents is not None:
            latents = torch.cat([z_global, z_local], dim=1)
            outputs["recon_static_from_latents"] = full_precision(self.static_from_latents(latents))
        return outputs


def signal_and_static_heads(
    features: int, signal_length: int, static_dim: int, width: float, batch_norm: bool
) -> nn.ModuleDict:
    """The heads that every decoder has, by the name of their output."""
    signal_hidden = [scaled(size, width) for size in SIGNAL_HIDDEN]
    static_hidden = [scaled(size, width) for size in STATIC_HIDDEN]
    return nn.ModuleDict(
        {
            "recon_signal": output_head(features, signal_hidden, signal_length, batch_norm),
            "recon_static_params": output_head(features, static_hidden, static_dim, batch_norm),
        }
    )


def latents_to_static_head(latent_dim: int, static_dim: int, width: float, batch_norm: bool) -> nn.Sequential:
    """The head from the latents alone to the static parameters."""
    hidden = [scaled(size, width) for size in STATIC_FROM_LATENTS_HIDDEN]
    return output_head(latent_dim, hidden, static_dim, batch_norm)
