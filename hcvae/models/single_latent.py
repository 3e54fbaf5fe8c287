"""Models with one latent, which the training loop and the metrics read as a global and a local block.

Shapes: B batch, T samples, S static parameters, G global and L local latent dimensions.
"""

from abc import abstractmethod

import torch
from torch import Tensor

from hcvae.models.layers import check_columns
from hcvae.models.specification import SpecificationModel


class SingleLatentModel(SpecificationModel):
    """A model with one latent z of G + L dimensions. Subclasses encode to z and decode from z as a whole.

    The first G dimensions are reported as global and the others as local, so that one training loop and one set of
    metrics serve all models. The network itself does not distinguish them.

    Args:
        signal_length: samples in a waveform.
        static_dim: encoded static parameters.
        global_latent_dim: dimensions of z reported as global.
        local_latent_dim: dimensions of z reported as local.

    Raises:
        UserError: an argument is out of range.
    """

    def __init__(self, signal_length: int, static_dim: int, global_latent_dim: int, local_latent_dim: int) -> None:
        super().__init__(signal_length, static_dim, {"global": global_latent_dim, "local": local_latent_dim})
        self.latent_dim = global_latent_dim + local_latent_dim

    @abstractmethod
    def encode_latent(self, signals: Tensor, static_params: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of z [B, G + L] for signals [B, T] and static_params [B, S]."""

    @abstractmethod
    def decode_latent(self, z: Tensor, static_params: Tensor) -> dict[str, Tensor]:
        """Return the outputs that `Model.decode` describes for z [B, G + L] and static_params [B, S]."""

    def encode(self, signals: Tensor, static_params: Tensor) -> dict[str, Tensor]:
        """See `Model.encode`."""
        check_columns("signals", signals, self.signal_length)
        check_columns("static_params", static_params, self.static_dim)
        mu, logvar = self.encode_latent(signals, static_params)
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
        return self.decode_latent(torch.cat([z_global, z_local], dim=1), static_params)
