"""Where latents are drawn from when nothing is given.

Legend: N rows, S static parameters, D latent dimensions.
"""

import torch
from torch import Tensor, nn

from hcvae.models.condition import ConditionRegression, Rows


class Prior(nn.Module):
    """A Gaussian over one latent: standard normal, until it is fitted to what the encoder makes of the training part.

    Fitted, its mean depends on the condition; its covariance does not. The weaker the KL weight, the farther the
    encoder's latents lie from the standard normal, and the less a decoder makes of latents that it has never seen:
    hence a density after the training (Ghosh et al. 2020, arXiv 1903.12436).

    Args:
        static_dim: encoded static parameters.
        latent_dim: dimensions of the latent.
    """

    factor: Tensor

    def __init__(self, static_dim: int, latent_dim: int) -> None:
        super().__init__()
        self.mean = ConditionRegression(static_dim, latent_dim)
        # torch.eye would import torch's compiler on the meta device, where bundles are checked: a second for a `load`.
        self.register_buffer("factor", torch.zeros(latent_dim, latent_dim).fill_diagonal_(1))

    def forward(self, static_params: Tensor, noise: Tensor) -> Tensor:
        """Latents [N, D] under the conditions [N, S], from standard-normal noise [N, D]."""
        mean: Tensor = self.mean(static_params)
        return mean + noise @ self.factor.T

    @torch.no_grad()
    def fit(self, static_params: Tensor, mu: Tensor, logvar: Tensor, held_out: Rows | None = None) -> None:
        """Match the posteriors of the training part: conditions [N, S], means and log-variances [N, D].

        `held_out`: conditions and means of other rows, for `ConditionRegression`.
        """
        self.mean.fit(static_params, mu, held_out)
        residual = (mu - self.mean(static_params)).double()
        covariance = residual.T @ residual / len(mu) + torch.diag(logvar.double().exp().mean(dim=0))
        self.factor.copy_(torch.linalg.cholesky(covariance))
