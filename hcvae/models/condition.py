"""Regression of any quantities on the condition, for the priors and the residual noise.

Shapes: N rows, S static parameters, K centres, F features of the condition, Q quantities.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

N_CENTRES = 128
REACH = 0.7
"""Standard deviation of a bump, in gaps between neighbouring centres."""
RIDGES = (0.1, 1.0, 10.0, 100.0, 1000.0)
"""Penalties, in rows: the weights of features that fewer rows have stay near 0. The first is the default."""

Rows = tuple[Tensor, Tensor]
"""Conditions [N, S] and quantities [N, Q]."""


class ConditionRegression(nn.Module):
    """Ridge regression on linear terms and Gaussian bumps around typical conditions; 0 until it is fitted.

    Args:
        static_dim: encoded static parameters.
        quantities: number of quantities, Q.
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
        """Return the expected quantities [N, Q] under the conditions [N, S]."""
        return self._features(static_params) @ self.weight

    @torch.no_grad()
    def fit(self, static_params: Tensor, values: Tensor, held_out: Rows | None = None) -> None:
        """Fit the quantities [N, Q] of rows under the conditions [N, S].

        A condition such as the age nearly identifies the subject, and with a weak ridge the regression memorises the
        subjects of these rows. With `held_out`, rows of other subjects, the ridge that predicts them best is used.
        """
        self.centres.copy_(_farthest_points(static_params, N_CENTRES))
        gaps = torch.cdist(self.centres, self.centres)
        gaps = gaps.masked_fill(gaps == 0, torch.inf).amin(dim=1)
        if gaps.isfinite().any():  # none if all rows have one condition
            self.reach.copy_(REACH * gaps[gaps.isfinite()].median())
        if held_out is None:
            (best,) = self._solutions(static_params, values, RIDGES[:1])
        else:
            best = self._best(self._solutions(static_params, values, RIDGES), held_out)
        self.weight.copy_(best)

    def _best(self, weights: Sequence[Tensor], held_out: Rows) -> Tensor:
        """Return the weights [F, Q] that predict the held-out rows best."""
        static_params, values = held_out
        features = self._features(static_params).double()
        target = values.double()
        return min(weights, key=lambda weight: (features @ weight - target).square().sum().item())

    def _solutions(self, static_params: Tensor, values: Tensor, ridges: Sequence[float]) -> list[Tensor]:
        """Return the weights [F, Q] for each ridge; the intercept is not penalised."""
        features = self._features(static_params).double()
        penalty = torch.eye(features.shape[1], dtype=torch.float64, device=features.device)
        penalty[0, 0] = 0
        gram = features.T @ features
        moments = features.T @ values.double()
        return [torch.linalg.solve(gram + ridge * penalty, moments) for ridge in ridges]

    def _features(self, static_params: Tensor) -> Tensor:
        bumps = torch.exp(-0.5 * (torch.cdist(static_params, self.centres) / self.reach) ** 2)
        return torch.cat([torch.ones_like(static_params[:, :1]), static_params, bumps], dim=1)


def _farthest_points(points: Tensor, n: int) -> Tensor:
    """Return `n` of the points [N, S], each the farthest from those before it (Gonzalez 1985), repeated if too few."""
    chosen = [points[0]]
    distance = torch.full_like(points[:, 0], torch.inf)
    while len(chosen) < n:
        distance = torch.minimum(distance, (points - chosen[-1]).norm(dim=1))
        chosen.append(points[distance.argmax()])
    return torch.stack(chosen)
