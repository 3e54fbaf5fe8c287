"""Encoders: from waveform and static parameters to the two latent distributions.

Legend: B batch, T samples, E samples of the early segment, S static parameters, G global and L local latent dimensions.
"""

import torch
from torch import Tensor, nn

from hcvae.errors import UserError
from hcvae.models.layers import GaussianHead, check_arguments, encoder_layers, scaled

GLOBAL_HIDDEN = (640, 320, 192, 64)
LOCAL_HIDDEN = (704, 448, 192, 128)


class GlobalEncoder(nn.Module):
    """Coarse features: [signal, static] to the distribution of z_global.

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
        hidden = [scaled(features, width) for features in GLOBAL_HIDDEN]
        self.global_layers = encoder_layers(signal_length + static_dim, hidden, dropout, batch_norm)
        self.head = GaussianHead(hidden[-1], global_latent_dim)

    def forward(self, signals: Tensor, static_params: Tensor) -> tuple[Tensor, Tensor]:
        """signals [B, T] and static_params [B, S] to (mu [B, G], logvar [B, G])."""
        features = self.global_layers(torch.cat([signals, static_params], dim=1))
        mu, logvar = self.head(features)
        return mu, logvar


class LocalEncoder(nn.Module):
    """Fine features: [signal, early segment, static] to the distribution of z_local.

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
        hidden = [scaled(features, width) for features in LOCAL_HIDDEN]
        inputs = signal_length + self.early_signal_length + static_dim
        self.local_layers = encoder_layers(inputs, hidden, dropout, batch_norm)
        self.head = GaussianHead(hidden[-1], local_latent_dim)

    def forward(self, signals: Tensor, static_params: Tensor) -> tuple[Tensor, Tensor]:
        """signals [B, T] and static_params [B, S] to (mu [B, L], logvar [B, L])."""
        early = signals[:, : self.early_signal_length]  # [B, E]
        features = self.local_layers(torch.cat([signals, early, static_params], dim=1))
        mu, logvar = self.head(features)
        return mu, logvar


class HierarchicalEncoder(nn.Module):
    """The global and the local encoder side by side.

    Raises:
        UserError: as the two encoders.
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
    ) -> None:
        super().__init__()
        self.global_encoder = GlobalEncoder(
            signal_length, static_dim, global_latent_dim, width=width, dropout=dropout, batch_norm=batch_norm
        )
        self.local_encoder = LocalEncoder(
            signal_length,
            static_dim,
            local_latent_dim,
            early_signal_ratio,
            width=width,
            dropout=dropout,
            batch_norm=batch_norm,
        )

    def forward(self, signals: Tensor, static_params: Tensor) -> dict[str, Tensor]:
        """signals [B, T] and static_params [B, S] to mu_global, logvar_global [B, G], mu_local, logvar_local [B, L]."""
        mu_global, logvar_global = self.global_encoder(signals, static_params)
        mu_local, logvar_local = self.local_encoder(signals, static_params)
        return {
            "mu_global": mu_global,
            "logvar_global": logvar_global,
            "mu_local": mu_local,
            "logvar_local": logvar_local,
        }


def early_length(signal_length: int, early_signal_ratio: float) -> int:
    """Samples of the early segment.

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
