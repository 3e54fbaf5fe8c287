"""Decoder: from the latents and the static parameters to waveform, static parameters and peaks.

Legend: B batch, T samples, S static parameters, N time segments, R rows of the layers (B, or B * N with segments),
F features of the last layer, G global, M intermediate (all levels together) and L local latent dimensions.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from hcvae.models.layers import FiLM, check_arguments, decoder_layer, full_precision, output_head, scaled
from hcvae.models.peaks import ordered_peaks, start_at_typical_latencies
from hcvae.models.temporal import TimeSegments

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

    Intermediate levels take over the later layers: with one, layers 1 and 2 are z_global's and 3 and 4 the level's;
    with two, layer 3 is the first level's and 4 the second's. Coarser levels steer earlier layers, as in StyleGAN
    (Karras et al. 2019, CVPR). Without FiLM z_global and the levels are concatenated to the input, so that they never
    go unheard. With time segments, z_local is one latent for each of them: see `TimeSegments`. `static_from_latents`
    adds a head that predicts the static parameters from the latents alone: the usual one can copy them from its own
    input. With `peak_window_ms` latencies lie inside the window, see `ordered_peaks`; without it they may be anything.

    Raises:
        UserError: a dimension below 1, a width out of range, more than 2 intermediate levels, or a z_local that cannot
            be shared out among the segments.
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
        intermediate_levels: int = 0,
        intermediate_latent_dim: int = 16,
        local_segments: int = 1,
        peak_window_ms: float | None = None,
    ) -> None:
        super().__init__()
        check_arguments(
            signal_length=signal_length,
            static_dim=static_dim,
            global_latent_dim=global_latent_dim,
            local_latent_dim=local_latent_dim,
            width=width,
            intermediate_levels=intermediate_levels,
            intermediate_latent_dim=intermediate_latent_dim,
        )
        self.use_film = use_film
        self.peak_window_ms = peak_window_ms
        self.intermediate_latent_dim = intermediate_latent_dim
        self.segments = TimeSegments(local_segments, signal_length, local_latent_dim) if local_segments != 1 else None
        steering_dims = [global_latent_dim, *[intermediate_latent_dim] * intermediate_levels]
        hidden = [scaled(features, width) for features in HIDDEN]
        local_inputs = local_latent_dim if self.segments is None else self.segments.inputs
        inputs = local_inputs + static_dim + (0 if use_film else sum(steering_dims))
        self.layers = nn.ModuleList(
            decoder_layer(before, after, batch_norm)
            for before, after in zip([inputs, *hidden], hidden, strict=False)  # the last width has no successor
        )
        film_hidden = scaled(FILM_HIDDEN, width)
        self.steered_by = [layer * len(steering_dims) // len(hidden) for layer in range(len(hidden))]
        self.films = nn.ModuleList(
            FiLM(steering_dims[level], features, film_hidden)
            for level, features in zip(self.steered_by, hidden, strict=True)
            if use_film
        )
        self.heads = signal_and_static_heads(hidden[-1], signal_length, static_dim, width, batch_norm)
        if predict_peaks:
            peak_hidden = [scaled(features, width) for features in PEAK_HIDDEN]
            peaks = self.heads["predicted_peaks"] = output_head(hidden[-1], peak_hidden, PEAK_OUTPUTS, batch_norm)
            if peak_window_ms is not None:
                start_at_typical_latencies(cast(nn.Linear, peaks[-1]))
        self.static_from_latents = (
            latents_to_static_head(sum(steering_dims) + local_latent_dim, static_dim, width, batch_norm)
            if static_from_latents
            else None
        )

    def forward(
        self, z_global: Tensor, z_local: Tensor, static_params: Tensor, z_intermediate: Tensor | None = None
    ) -> dict[str, Tensor]:
        """z_global [B, G], z_local [B, L], static_params [B, S] and z_intermediate [B, M] to the outputs by name.

        recon_signal [B, T], recon_static_params [B, S] (standardised), predicted_peaks [B, 6] where there is a peak
        head, recon_static_from_latents [B, S] where there is that head.
        """
        steering = [z_global]
        if z_intermediate is not None:
            steering += z_intermediate.split(self.intermediate_latent_dim, dim=1)
        if self.segments is None:
            features = self.features(steering, z_local, static_params)
            outputs = {"recon_signal": full_precision(self.heads["recon_signal"](features))}
        else:
            each = self.segments.for_each
            features = self.features([each(z) for z in steering], self.segments.split(z_local), each(static_params))
            signals = full_precision(self.heads["recon_signal"](features))
            outputs = {"recon_signal": self.segments.join(signals)}
            features = self.segments.mean(features)
        outputs |= {name: full_precision(head(features)) for name, head in self.heads.items() if name != "recon_signal"}
        if "predicted_peaks" in outputs and self.peak_window_ms is not None:
            outputs["predicted_peaks"] = ordered_peaks(outputs["predicted_peaks"], self.peak_window_ms)
        if self.static_from_latents is not None:
            latents = torch.cat([*steering, z_local], dim=1)
            outputs["recon_static_from_latents"] = full_precision(self.static_from_latents(latents))
        return outputs

    def features(self, steering: Sequence[Tensor], local: Tensor, static_params: Tensor) -> Tensor:
        """The last layer's features [R, F].

        Args:
            steering: z_global [R, G], then the intermediate levels.
            local: [R, L], or what `TimeSegments.split` makes of z_local.
            static_params: [R, S].
        """
        if not self.use_film:
            features = torch.cat([*steering, local, static_params], dim=1)
            for layer in self.layers:
                features = layer(features)
            return features
        features = torch.cat([local, static_params], dim=1)
        for layer, film, level in zip(self.layers, self.films, self.steered_by, strict=True):
            features = film(layer(features), steering[level])
        return features


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
