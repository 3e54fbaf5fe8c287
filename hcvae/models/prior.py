"""The prior, from which latents are sampled.

Shapes: N rows, S static parameters, D latent dimensions.
"""

import torch
from torch import Tensor, nn

from hcvae.models.condition import ConditionRegression, Rows


class Prior(nn.Module):
    """A Gaussian over one block of latents: standard normal until it is fitted to the posteriors of the training part.

    Once fitted, its mean depends on the condition, and its covariance does not. The weaker the KL weight, the farther
    the posteriors lie from the standard normal, and decoders perform poorly on unseen latents: so the density is
    estimated after the training (Ghosh et al. 2020, arXiv 1903.12436).

    Args:
        static_dim: encoded static parameters.
        latent_dim: dimensions of the block.
    """

    factor: Tensor

    def __init__(self, static_dim: int, latent_dim: int) -> None:
        super().__init__()
        self.mean = ConditionRegression(static_dim, latent_dim)
        # On the meta device, where bundles are checked, torch.eye imports torch's compiler: a second for each `load`.
        self.register_buffer("factor", torch.zeros(latent_dim, latent_dim).fill_diagonal_(1))

    def forward(self, static_params: Tensor, noise: Tensor) -> Tensor:
        """Return latents [N, D] under the conditions [N, S], from standard-normal noise [N, D]."""
        mean: Tensor = self.mean(static_params)
        return mean + noise @ self.factor.T

    @torch.no_grad()
    def fit(self, static_params: Tensor, mu: Tensor, logvar: Tensor, held_out: Rows | None = None) -> None:
        """Match the moments of posteriors: conditions [N, S], means and log-variances [N, D] of the training part.

        `held_out` are conditions and means of other rows, for `ConditionRegression`.
        """
        self.mean.fit(static_params, mu, held_out)
        residual = (mu - self.mean(static_params)).double()
        covariance = residual.T @ residual / len(mu) + torch.diag(logvar.double().exp().mean(dim=0))
        self.factor.copy_(torch.linalg.cholesky(covariance))
