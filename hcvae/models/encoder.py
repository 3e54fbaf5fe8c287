"""Encoders: from waveform and static parameters to the latent distributions.

Shapes: B batch, T samples, E samples of the early segment, S static parameters, F features of the last hidden layer,
G global, M intermediate (all levels together) and L local latent dimensions.
"""

from functools import partial

import torch
from torch import Tensor, nn

from hcvae.errors import UserError
from hcvae.models.attention import FeatureExchange
from hcvae.models.layers import GaussianHead, check_arguments, encoder_layers, scaled, scaled_widths

GLOBAL_HIDDEN = (640, 320, 192, 64)
LOCAL_HIDDEN = (704, 448, 192, 128)


class GlobalEncoder(nn.Module):
    """Encoder of [signal, static] to the distribution of z_global, the coarse features.

    Raises:
        UserError: a dimension below 1, or a width or dropout out of range.
    """

    def __init__(
        self,
        signal_length: int,
        static_dim: int,
        global_latent_dim: int,
        *,
        width: float = 1.0,
        dropout: float = 0.2,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        check_arguments(
            signal_length=signal_length,
            static_dim=static_dim,
            global_latent_dim=global_latent_dim,
            width=width,
            dropout=dropout,
        )
        hidden = scaled_widths(GLOBAL_HIDDEN, width)
        self.global_layers = encoder_layers(signal_length + static_dim, hidden, dropout, batch_norm)
        self.head = GaussianHead(hidden[-1], global_latent_dim)

    def features(self, signals: Tensor, static_params: Tensor) -> Tensor:
        """Return the inputs of the head [B, F] for signals [B, T] and static_params [B, S]."""
        features: Tensor = self.global_layers(torch.cat([signals, static_params], dim=1))
        return features

    def forward(self, signals: Tensor, static_params: Tensor) -> tuple[Tensor, Tensor]:
        """Return (mu [B, G], logvar [B, G]) for signals [B, T] and static_params [B, S]."""
        mu, logvar = self.head(self.features(signals, static_params))
        return mu, logvar


class LocalEncoder(nn.Module):
    """Encoder of [signal, early segment, static] to the distribution of z_local, the fine features.

    Raises:
        UserError: a dimension below 1, an early segment without a sample, or a width or dropout out of range.
    """

    def __init__(
        self,
        signal_length: int,
        static_dim: int,
        local_latent_dim: int,
        early_signal_ratio: float = 0.3,
        *,
        width: float = 1.0,
        dropout: float = 0.2,
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        check_arguments(
            signal_length=signal_length,
            static_dim=static_dim,
            local_latent_dim=local_latent_dim,
            width=width,
            dropout=dropout,
        )
        self.early_signal_length = early_length(signal_length, early_signal_ratio)
        hidden = scaled_widths(LOCAL_HIDDEN, width)
        inputs = signal_length + self.early_signal_length + static_dim
        self.local_layers = encoder_layers(inputs, hidden, dropout, batch_norm)
        self.head = GaussianHead(hidden[-1], local_latent_dim)

    def features(self, signals: Tensor, static_params: Tensor) -> Tensor:
        """Return the inputs of the head [B, F] for signals [B, T] and static_params [B, S]."""
        early = signals[:, : self.early_signal_length]  # [B, E]
        features: Tensor = self.local_layers(torch.cat([signals, early, static_params], dim=1))
        return features

    def forward(self, signals: Tensor, static_params: Tensor) -> tuple[Tensor, Tensor]:
        """Return (mu [B, L], logvar [B, L]) for signals [B, T] and static_params [B, S]."""
        mu, logvar = self.head(self.features(signals, static_params))
        return mu, logvar


class HierarchicalEncoder(nn.Module):
    """A global encoder, a local encoder, and an encoder like the global one for each intermediate level.

    With `attention`, the global and the local encoder attend to each other's features before their Gaussian heads.

    Raises:
        UserError: as the encoders, or more than 2 intermediate levels.
    """

    def __init__(
        self,
        signal_length: int,
        static_dim: int,
        global_latent_dim: int,
        local_latent_dim: int,
        early_signal_ratio: float = 0.3,
        *,
        width: float = 1.0,
        dropout: float = 0.2,
        batch_norm: bool = True,
        intermediate_levels: int = 0,
        intermediate_latent_dim: int = 16,
        attention: bool = False,
    ) -> None:
        super().__init__()
        check_arguments(intermediate_levels=intermediate_levels, intermediate_latent_dim=intermediate_latent_dim)
        coarse_encoder = partial(
            GlobalEncoder, signal_length, static_dim, width=width, dropout=dropout, batch_norm=batch_norm
        )
        self.global_encoder = coarse_encoder(global_latent_dim)
        self.local_encoder = LocalEncoder(
            signal_length,
            static_dim,
            local_latent_dim,
            early_signal_ratio,
            width=width,
            dropout=dropout,
            batch_norm=batch_norm,
        )
        self.intermediate_encoders = nn.ModuleList()
        for _ in range(intermediate_levels):
            self.intermediate_encoders.append(coarse_encoder(intermediate_latent_dim))
        self.exchange: FeatureExchange | None = None
        if attention:
            self.exchange = FeatureExchange(scaled(GLOBAL_HIDDEN[-1], width), scaled(LOCAL_HIDDEN[-1], width))

    def forward(self, signals: Tensor, static_params: Tensor) -> dict[str, Tensor]:
        """Return mu_global, logvar_global [B, G], mu_local, logvar_local [B, L] for [B, T] signals and [B, S] static.

        With levels, mu_intermediate and logvar_intermediate [B, M] come between them, coarsest level first.
        """
        global_features = self.global_encoder.features(signals, static_params)
        local_features = self.local_encoder.features(signals, static_params)
        if self.exchange is not None:
            global_features, local_features = self.exchange(global_features, local_features)
        levels = [encoder(signals, static_params) for encoder in self.intermediate_encoders]
        blocks = {"global": self.global_encoder.head(global_features)}
        if levels:
            mus, logvars = zip(*levels, strict=True)
            blocks["intermediate"] = (torch.cat(mus, dim=1), torch.cat(logvars, dim=1))
        blocks["local"] = self.local_encoder.head(local_features)
        outputs = {}
        for block, (mu, logvar) in blocks.items():
            outputs[f"mu_{block}"] = mu
            outputs[f"logvar_{block}"] = logvar
        return outputs


def early_length(signal_length: int, early_signal_ratio: float) -> int:
    """Return the number of samples in the early segment.

    Raises:
        UserError: the ratio is outside (0, 1], or the segment would be empty.
    """
    if not 0 < early_signal_ratio <= 1:
        raise UserError(f"early_signal_ratio: must be above 0 and at most 1, but got {early_signal_ratio!r}")
    length = int(signal_length * early_signal_ratio)
    if length < 1:
        raise UserError(
            f"early_signal_ratio: {early_signal_ratio!r} of {signal_length} samples is less than one sample; "
            f"it must be at least {1 / signal_length:.4g}"
        )
    return length
