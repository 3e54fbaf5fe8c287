"""Where latents are drawn from when nothing is given.

Legend: N rows, S static parameters, F features of the condition, D latent dimensions.
"""

import torch
from torch import Tensor, nn

RIDGE = 1e-2
"""Of the regression on the condition, as a share of the rows: conditions far from the data stay near the prior."""


class Prior(nn.Module):
    """A Gaussian over one latent: standard normal, until it is fitted to what the encoder makes of the training part.

    Fitted, its mean depends on the condition (linear terms, squares and products) and its covariance does not. The
    weaker the KL weight, the farther the encoder's latents lie from the standard normal, and the less a decoder makes
    of latents that it has never seen: hence a density after the training (Ghosh et al. 2020, arXiv 1903.12436).

    Args:
        static_dim: encoded static parameters.
        latent_dim: dimensions of the latent.
    """

    weight: Tensor
    factor: Tensor

    def __init__(self, static_dim: int, latent_dim: int) -> None:
        super().__init__()
        n_features = 1 + static_dim + static_dim * (static_dim + 1) // 2
        self.register_buffer("weight", torch.zeros(n_features, latent_dim))
        self.register_buffer("factor", torch.eye(latent_dim))

    def forward(self, static_params: Tensor, noise: Tensor) -> Tensor:
        """Latents [N, D] under the conditions [N, S], from standard-normal noise [N, D]."""
        return _features(static_params) @ self.weight + noise @ self.factor.T

    @torch.no_grad()
    def fit(self, static_params: Tensor, mu: Tensor, logvar: Tensor) -> None:
        """Match the posteriors of the training part: conditions [N, S], means and log-variances [N, D]."""
        features, means = _features(static_params.double()), mu.double()
        penalty = RIDGE * len(means) * torch.eye(features.shape[1], dtype=torch.float64, device=mu.device)
        penalty[0, 0] = 0
        weight = torch.linalg.solve(features.T @ features + penalty, features.T @ means)
        residual = means - features @ weight
        covariance = residual.T @ residual / len(means) + torch.diag(logvar.double().exp().mean(dim=0))
        self.weight.copy_(weight)
        self.factor.copy_(torch.linalg.cholesky(covariance))


def _features(static_params: Tensor) -> Tensor:
    first, second = torch.triu_indices(static_params.shape[1], static_params.shape[1], device=static_params.device)
    products = static_params[:, first] * static_params[:, second]
    return torch.cat([torch.ones_like(static_params[:, :1]), static_params, products], dim=1)
