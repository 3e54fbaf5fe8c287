"""The linear baseline: principal components of the waveforms.

Legend: N rows, B batch, T samples, S static parameters, G global and L local components, D = G + L.
"""

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor

from hcvae.errors import UserError
from hcvae.models.base import Model
from hcvae.models.layers import check_columns

LOG_VARIANCE = float(np.log(1e-6))
"""Of every posterior: a projection has no spread, and the prior's covariance must stay positive definite."""


class PrincipalComponents(Model):
    """Projection on principal components: no gradient, no condition.

    The latent is the projection in standard deviations of the training waveforms; its first G dimensions are called
    global. The condition enters by the prior alone: after `fit_generation`, `sample` draws from a Gaussian whose mean
    depends on it. KL divergences mean nothing here, and the static parameters are "reconstructed" as 0, their mean.

    Args:
        signal_length: samples in a waveform.
        static_dim: encoded static parameters.
        global_latent_dim: components that are called global, the first ones.
        local_latent_dim: components that are called local.

    Raises:
        UserError: an argument is out of range.
    """

    mean: Tensor
    directions: Tensor
    deviations: Tensor

    def __init__(self, signal_length: int, static_dim: int, global_latent_dim: int, local_latent_dim: int) -> None:
        super().__init__(signal_length, static_dim, {"global": global_latent_dim, "local": local_latent_dim})
        components = global_latent_dim + local_latent_dim
        self.register_buffer("mean", torch.zeros(signal_length))
        self.register_buffer("directions", torch.zeros(components, signal_length))
        self.register_buffer("deviations", torch.ones(components))

    @torch.no_grad()
    def fit(self, signals: Tensor) -> "PrincipalComponents":
        """Learn the components of normalised waveforms [N, T]; returns the model itself.

        Raises:
            UserError: fewer rows, or samples, than components.
        """
        check_columns("signals", signals, self.signal_length)
        components = len(self.directions)
        if components > min(signals.shape):
            raise UserError(
                f"signals: {components} principal components need as many rows and samples, "
                f"but got {list(signals.shape)}; use smaller latents or more rows"
            )
        pca = PCA(components, svd_solver="full").fit(signals.double().cpu().numpy())
        deviations = np.sqrt(pca.explained_variance_)
        self.mean.copy_(torch.from_numpy(pca.mean_))
        self.directions.copy_(torch.from_numpy(pca.components_))
        # Waveforms of low rank leave components of no variance: any scale will do for them.
        self.deviations.copy_(torch.from_numpy(np.maximum(deviations, 1e-6 * deviations[0])))
        return self

    def encode(self, signals: Tensor, static_params: Tensor) -> dict[str, Tensor]:
        """See `Model.encode`; the condition has no say, and the log-variances are one small constant."""
        check_columns("signals", signals, self.signal_length)
        check_columns("static_params", static_params, self.static_dim)
        z = (signals - self.mean) @ self.directions.T / self.deviations
        mu_global, mu_local = z.split(list(self.latent_dims.values()), dim=1)
        return {
            "mu_global": mu_global,
            "logvar_global": torch.full_like(mu_global, LOG_VARIANCE),
            "mu_local": mu_local,
            "logvar_local": torch.full_like(mu_local, LOG_VARIANCE),
        }

    def decode(
        self, z_global: Tensor, z_local: Tensor, static_params: Tensor, z_intermediate: Tensor | None = None
    ) -> dict[str, Tensor]:
        """See `Model.decode`; the condition has no say."""
        self._check_decoder_inputs(z_global, z_local, static_params, z_intermediate)
        z = torch.cat([z_global, z_local], dim=1)
        return {
            "recon_signal": self.mean + (z * self.deviations) @ self.directions,
            "recon_static_params": torch.zeros_like(static_params),
        }
