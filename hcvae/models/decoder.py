"""Decoder: from the latents and the static parameters to waveform, static parameters and peaks.

Shapes: B batch, T samples, S static parameters, N time segments, R rows of the layers (B, or B * N with segments),
F features of the last layer, G global, M intermediate (all levels together) and L local latent dimensions.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from hcvae.models.layers import (
    FiLM,
    check_arguments,
    decoder_layers,
    full_precision,
    output_head,
    scaled,
    scaled_widths,
)
from hcvae.models.peaks import ordered_peaks, start_at_typical_latencies
from hcvae.models.time_segments import TimeSegments

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

    Intermediate levels take over the later layers: one level modulates layers 3 and 4; of two levels the first
    modulates layer 3 and the second layer 4. Coarser levels steer earlier layers, as in StyleGAN (Karras et al. 2019,
    CVPR). Without FiLM, z_global and the levels are concatenated to the input, so that they always have an effect.
    With time segments, z_local is one latent for each of them, see `TimeSegments`. `static_from_latents` adds a head
    that predicts the static parameters from the latents alone: the usual head can copy them from its own input. With
    `peak_window_ms` latencies lie inside the window, see `ordered_peaks`; without it they are unconstrained.

    Raises:
        UserError: a dimension below 1, a width out of range, more than 2 intermediate levels, or a z_local that cannot
            be divided among the segments.
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
        self.segments = _segments(local_segments, signal_length, local_latent_dim)
        steering_dims = [global_latent_dim, *[intermediate_latent_dim] * intermediate_levels]
        self.steered_by = [layer * len(steering_dims) // len(HIDDEN) for layer in range(len(HIDDEN))]
        inputs = static_dim + self._local_inputs(local_latent_dim)
        if not use_film:
            inputs += sum(steering_dims)
        hidden = scaled_widths(HIDDEN, width)
        self.layers = nn.ModuleList(decoder_layers(inputs, hidden, batch_norm))
        self.films = nn.ModuleList()
        if use_film:
            self.films.extend(self._films(steering_dims, hidden, scaled(FILM_HIDDEN, width)))
        self.heads = signal_and_static_heads(hidden[-1], signal_length, static_dim, width, batch_norm)
        if predict_peaks:
            self.heads["predicted_peaks"] = _peak_head(hidden[-1], width, batch_norm, peak_window_ms)
        self.static_from_latents: nn.Module | None = None
        if static_from_latents:
            latent_dim = sum(steering_dims) + local_latent_dim
            self.static_from_latents = latents_to_static_head(latent_dim, static_dim, width, batch_norm)

    def _local_inputs(self, local_latent_dim: int) -> int:
        """Return how many inputs of the first layer z_local gives."""
        if self.segments is None:
            return local_latent_dim
        return self.segments.inputs

    def _films(self, steering_dims: Sequence[int], features: Sequence[int], hidden: int) -> list[FiLM]:
        """Return the modulation of each layer by its latent, `steered_by`."""
        return [FiLM(steering_dims[level], size, hidden) for level, size in zip(self.steered_by, features, strict=True)]

    def forward(
        self, z_global: Tensor, z_local: Tensor, static_params: Tensor, z_intermediate: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return the outputs by name for z_global [B, G], z_local [B, L], static_params [B, S], z_intermediate [B, M].

        recon_signal [B, T], recon_static_params [B, S] (standardised), predicted_peaks [B, 6] with a peak head,
        recon_static_from_latents [B, S] with the head on the latents.
        """
        steering = [z_global]
        if z_intermediate is not None:
            steering += z_intermediate.split(self.intermediate_latent_dim, dim=1)
        signals, features = self._signals_and_features(steering, z_local, static_params)
        outputs = {"recon_signal": signals}
        for name, head in self.heads.items():
            if name != "recon_signal":
                outputs[name] = full_precision(head(features))
        if "predicted_peaks" in outputs and self.peak_window_ms is not None:
            outputs["predicted_peaks"] = ordered_peaks(outputs["predicted_peaks"], self.peak_window_ms)
        if self.static_from_latents is not None:
            latents = torch.cat([*steering, z_local], dim=1)
            outputs["recon_static_from_latents"] = full_precision(self.static_from_latents(latents))
        return outputs

    def features(self, steering: Sequence[Tensor], local: Tensor, static_params: Tensor) -> Tensor:
        """Return the last layer's features [R, F].

        Args:
            steering: z_global, then the intermediate levels; with FiLM [B, G], without it [R, G].
            local: z_local [R, L], or what `TimeSegments.split` returns for it.
            static_params: [R, S].
        """
        if not self.use_film:
            features = torch.cat([*steering, local, static_params], dim=1)
            for layer in self.layers:
                features = layer(features)
            return features
        features = torch.cat([local, static_params], dim=1)
        for layer, film, level in zip(self.layers, self.films, self.steered_by, strict=True):
            features = self._modulated(film, layer(features), steering[level])
        return features

    def _modulated(self, film: nn.Module, features: Tensor, z: Tensor) -> Tensor:
        """Return features [R, F] modulated by z [B, D], which is computed once for all segments of a waveform."""
        if self.segments is None:
            modulated: Tensor = film(features, z)
        else:
            modulated = film(self.segments.by_waveform(features), z[:, None]).flatten(0, 1)
        return modulated

    def _signals_and_features(
        self, steering: Sequence[Tensor], z_local: Tensor, static_params: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the waveforms [B, T] and the inputs of the other heads [B, F]."""
        if self.segments is None:
            features = self.features(steering, z_local, static_params)
            return full_precision(self.heads["recon_signal"](features)), features
        for_each = self.segments.for_each
        if not self.use_film:
            steering = list(map(for_each, steering))
        features = self.features(steering, self.segments.split(z_local), for_each(static_params))
        signals = full_precision(self.heads["recon_signal"](features))
        return self.segments.join(signals), self.segments.mean(features)


def _segments(count: int, signal_length: int, local_latent_dim: int) -> TimeSegments | None:
    if count == 1:
        return None
    return TimeSegments(count, signal_length, local_latent_dim)


def signal_and_static_heads(
    features: int, signal_length: int, static_dim: int, width: float, batch_norm: bool
) -> nn.ModuleDict:
    """Return the heads that every decoder has, by the name of their output."""
    signal_hidden = scaled_widths(SIGNAL_HIDDEN, width)
    static_hidden = scaled_widths(STATIC_HIDDEN, width)
    return nn.ModuleDict(
        {
            "recon_signal": output_head(features, signal_hidden, signal_length, batch_norm),
            "recon_static_params": output_head(features, static_hidden, static_dim, batch_norm),
        }
    )


def latents_to_static_head(latent_dim: int, static_dim: int, width: float, batch_norm: bool) -> nn.Sequential:
    """Return the head from the latents alone to the static parameters."""
    hidden = scaled_widths(STATIC_FROM_LATENTS_HIDDEN, width)
    return output_head(latent_dim, hidden, static_dim, batch_norm)


def _peak_head(features: int, width: float, batch_norm: bool, peak_window_ms: float | None) -> nn.Sequential:
    hidden = scaled_widths(PEAK_HIDDEN, width)
    head = output_head(features, hidden, PEAK_OUTPUTS, batch_norm)
    if peak_window_ms is not None:
        start_at_typical_latencies(cast(nn.Linear, head[-1]))
    return head
