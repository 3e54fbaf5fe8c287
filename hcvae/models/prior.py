"""Where latents are drawn from when nothing is given.

Legend: N rows, S static parameters, K centres, F features of the condition, D latent dimensions.
"""

import torch
from torch import Tensor, nn

N_CENTRES = 128
REACH = 0.7
"""Of a bump, in gaps between neighbouring centres."""
RIDGE = 0.1
"""Of the regression on the condition, in rows: features that fewer rows speak for stay near 0."""


class Prior(nn.Module):
    """A Gaussian over one latent: standard normal, until it is fitted to what the encoder makes of the training part.

    Fitted, its mean depends on the condition, by a ridge regression on linear terms and Gaussian bumps around typical
    conditions; its covariance does not. The weaker the KL weight, the farther the encoder's latents lie from the
    standard normal, and the less a decoder makes of latents that it has never seen: hence a density after the training
    (Ghosh et al. 2020, arXiv 1903.12436).

    Args:
        static_dim: encoded static parameters.
        latent_dim: dimensions of the latent.
    """

    centres: Tensor
    reach: Tensor
    weight: Tensor
    factor: Tensor

    def __init__(self, static_dim: int, latent_dim: int) -> None:
        super().__init__()
        self.register_buffer("centres", torch.zeros(N_CENTRES, static_dim))
        self.register_buffer("reach", torch.ones(()))
        self.register_buffer("weight", torch.zeros(1 + static_dim + N_CENTRES, latent_dim))
        self.register_buffer("factor", torch.eye(latent_dim))

    def forward(self, static_params: Tensor, noise: Tensor) -> Tensor:
        """Latents [N, D] under the conditions [N, S], from standard-normal noise [N, D]."""
        return self._features(static_params) @ self.weight + noise @ self.factor.T

    @torch.no_grad()
    def fit(self, static_params: Tensor, mu: Tensor, logvar: Tensor) -> None:
        """Match the posteriors of the training part: conditions [N, S], means and log-variances [N, D]."""
        self.centres.copy_(_spread(static_params, N_CENTRES))
        gaps = torch.cdist(self.centres, self.centres)
        gaps = gaps.masked_fill(gaps == 0, torch.inf).amin(dim=1)
        self.reach.copy_(REACH * gaps[gaps.isfinite()].median())
        features, means = self._features(static_params).double(), mu.double()
        penalty = RIDGE * torch.eye(features.shape[1], dtype=torch.float64, device=mu.device)
        penalty[0, 0] = 0
        weight = torch.linalg.solve(features.T @ features + penalty, features.T @ means)
        residual = means - features @ weight
        covariance = residual.T @ residual / len(means) + torch.diag(logvar.double().exp().mean(dim=0))
        self.weight.copy_(weight)
        self.factor.copy_(torch.linalg.cholesky(covariance))

    def _features(self, static_params: Tensor) -> Tensor:
        bumps = torch.exp(-0.5 * (torch.cdist(static_params, self.centres) / self.reach) ** 2)
        return torch.cat([torch.ones_like(static_params[:, :1]), static_params, bumps], dim=1)


def _spread(points: Tensor, n: int) -> Tensor:
    """`n` of the points [N, S], each the farthest from those before it (Gonzalez 1985); repeated if they run out."""
    chosen = [points[0]]
    distance = torch.full_like(points[:, 0], torch.inf)
    while len(chosen) < n:
        distance = torch.minimum(distance, (points - chosen[-1]).norm(dim=1))
        chosen.append(points[distance.argmax()])
    return torch.stack(chosen)
