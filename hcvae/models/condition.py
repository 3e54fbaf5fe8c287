"""What a quantity is under a condition: the regression behind the priors and the residual noise.

Legend: N rows, S static parameters, K centres, F features of the condition, Q quantities.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

N_CENTRES = 128
REACH = 0.7
"""Of a bump, in gaps between neighbouring centres."""
RIDGES = (0.1, 1.0, 10.0, 100.0, 1000.0)
"""In rows: features that fewer rows speak for stay near 0. The first one is taken, unless held-out rows choose."""

Rows = tuple[Tensor, Tensor]
"""Conditions [N, S] and quantities [N, Q]."""


class ConditionRegression(nn.Module):
    """Ridge regression on linear terms and Gaussian bumps around typical conditions; 0 until it is fitted.

    Args:
        static_dim: encoded static parameters.
        quantities: what is predicted, Q.
    """

    centres: Tensor
    reach: Tensor
    weight: Tensor

    def __init__(self, static_dim: int, quantities: int) -> None:
        super().__init__()
        self.register_buffer("centres", torch.zeros(N_CENTRES, static_dim))
        self.register_buffer("reach", torch.ones(()))
        self.register_buffer("weight", torch.zeros(1 + static_dim + N_CENTRES, quantities))

    def forward(self, static_params: Tensor) -> Tensor:
        """The quantities [N, Q] expected under the conditions [N, S]."""
        return self._features(static_params) @ self.weight

    @torch.no_grad()
    def fit(self, static_params: Tensor, values: Tensor, held_out: Rows | None = None) -> None:
        """Learn the quantities [N, Q] of rows under the conditions [N, S].

        A condition such as the age nearly names the subject, and a weak ridge then learns the subjects of these rows
        by heart: rows of other subjects, `held_out`, choose the ridge that predicts them best.
        """
        self.centres.copy_(_spread(static_params, N_CENTRES))
        gaps = torch.cdist(self.centres, self.centres)
        gaps = gaps.masked_fill(gaps == 0, torch.inf).amin(dim=1)
        if gaps.isfinite().any():  # none where all rows have one condition
            self.reach.copy_(REACH * gaps[gaps.isfinite()].median())
        weights = self._weights(static_params, values, RIDGES[:1] if held_out is None else RIDGES)
        if held_out is not None:
            features, wanted = self._features(held_out[0]).double(), held_out[1].double()
            weights.sort(key=lambda weight: (features @ weight - wanted).square().sum().item())
        self.weight.copy_(weights[0])

    def _weights(self, static_params: Tensor, values: Tensor, ridges: Sequence[float]) -> list[Tensor]:
        """The solution [F, Q] for each ridge; the intercept is free."""
        features = self._features(static_params).double()
        penalty = torch.eye(features.shape[1], dtype=torch.float64, device=features.device)
        penalty[0, 0] = 0
        gram, moments = features.T @ features, features.T @ values.double()
        return [torch.linalg.solve(gram + ridge * penalty, moments) for ridge in ridges]

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
