"""The linear baseline: principal components of the waveforms.

Shapes: N rows, B batch, T samples, S static parameters, D components.
"""

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor

from hcvae.errors import UserError
from hcvae.models.layers import check_columns
from hcvae.models.single_latent import SingleLatentModel

LOG_VARIANCE = float(np.log(1e-6))
"""Log-variance of every posterior: a projection has no spread, but the prior's covariance must be positive definite."""
MIN_RELATIVE_DEVIATION = 1e-6
"""Standard deviation that a component has at least, relative to the first: waveforms of low rank leave some without."""


class PrincipalComponents(SingleLatentModel):
    """Projection on principal components, without gradients and without the condition.

    The latent is the projection in standard deviations of the training waveforms. Only the prior depends on the
    condition: after `fit_generation`, `sample` draws from a Gaussian whose mean does. KL divergences are meaningless
    here, and the static parameters are reconstructed as 0, their mean.

    Args:
        signal_length: samples in a waveform.
        static_dim: encoded static parameters.
        global_latent_dim: components reported as global, the first ones; see `SingleLatentModel`.
        local_latent_dim: components reported as local; D is the sum of both.

    Raises:
        UserError: an argument is out of range.
    """

    mean: Tensor
    directions: Tensor
    deviations: Tensor

    def __init__(self, signal_length: int, static_dim: int, global_latent_dim: int, local_latent_dim: int) -> None:
        super().__init__(signal_length, static_dim, global_latent_dim, local_latent_dim)
        self.register_buffer("mean", torch.zeros(signal_length))
        self.register_buffer("directions", torch.zeros(self.latent_dim, signal_length))
        self.register_buffer("deviations", torch.ones(self.latent_dim))

    @torch.no_grad()
    def fit(self, signals: Tensor) -> "PrincipalComponents":
        """Compute the components of normalised waveforms [N, T], and return the model itself.

        Raises:
            UserError: fewer rows, or samples, than components.
        """
        check_columns("signals", signals, self.signal_length)
        if self.latent_dim > min(signals.shape):
            raise UserError(
                f"signals: {self.latent_dim} principal components need as many rows and samples, "
                f"but got {list(signals.shape)}; use smaller latents or more rows"
            )
        pca = PCA(self.latent_dim, svd_solver="full").fit(signals.double().cpu().numpy())
        deviations = np.sqrt(pca.explained_variance_)
        self.mean.copy_(torch.from_numpy(pca.mean_))
        self.directions.copy_(torch.from_numpy(pca.components_))
        self.deviations.copy_(torch.from_numpy(np.maximum(deviations, MIN_RELATIVE_DEVIATION * deviations[0])))
        return self

    def encode_latent(self, signals: Tensor, static_params: Tensor) -> tuple[Tensor, Tensor]:
        """Return the projections [B, D] of signals [B, T] and a constant log-variance; the condition has no effect."""
        z = (signals - self.mean) @ self.directions.T / self.deviations
        return z, torch.full_like(z, LOG_VARIANCE)

    def decode_latent(self, z: Tensor, static_params: Tensor) -> dict[str, Tensor]:
        """Return the waveforms [B, T] of projections z [B, D]; the condition has no effect."""
        return {
            "recon_signal": self.mean + (z * self.deviations) @ self.directions,
            "recon_static_params": torch.zeros_like(static_params),
        }
