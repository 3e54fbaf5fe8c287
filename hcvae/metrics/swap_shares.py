"""Who controls an attribute? Two rows exchange their latents; the outcome is a table of effects.

Shapes: K latent blocks (2 or 3), n swaps, D coordinates of the attribute.
y11 = y(g_i, l_i), y12 = y(g_i, l_j), y21 = y(g_j, l_i), y22 = y(g_j, l_j), all under one condition.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hcvae.metrics.factorial import factorial_variances


class SwapShares(NamedTuple):
    """Shares of an attribute's variance: they sum to 1, or are all 0 where nothing varies."""

    global_share: float
    """Due to z_global alone."""
    local_share: float
    """Due to z_local alone."""
    interaction: float
    """Due to neither alone: to both together, or to noise of the decoder."""

    @property
    def intermediate_share(self) -> float:
        """0: there is no latent between z_global and z_local."""
        return 0.0


class ThreeLevelSwapShares(NamedTuple):
    """Shares of an attribute's variance with a latent between z_global and z_local: they sum to 1, or are all 0."""

    global_share: float
    """Due to z_global alone."""
    local_share: float
    """Due to z_local alone."""
    intermediate_share: float
    """Due to z_intermediate alone."""
    interaction: float
    """Due to none alone: to two or three together, or to noise of the decoder."""


LevelShares = SwapShares | ThreeLevelSwapShares


def swap_shares(y11: ArrayLike, y12: ArrayLike, y21: ArrayLike, y22: ArrayLike) -> SwapShares:
    """Share of the variance of y that z_global, z_local and their interaction explain.

    Args:
        y11: y(g_i, l_i), [n] or [n, D].
        y12: y(g_i, l_j), the same shape.
        y21: y(g_j, l_i), the same shape.
        y22: y(g_j, l_j), the same shape.

    Returns:
        The three shares; for y = 2 g + l + 0.5 g l of independent standard normal g and l: 0.762, 0.190, 0.048.
    """
    corners = np.stack([np.stack([y11, y12]), np.stack([y21, y22])])
    return SwapShares(*_shares(corners.reshape(*corners.shape[:3], -1)))


def level_shares(corners: NDArray[np.float64], negligible: float) -> LevelShares:
    """Shares of the blocks z_global, z_local and, with three of them, z_intermediate.

    Args:
        corners: the attribute at every corner of the swaps, [2, 2, n, D] or [2, 2, 2, n, D], as for
            `factorial_variances`.
        negligible: the shares are all 0 where the attribute's variance under swaps is below it.
    """
    shares = _shares(corners, negligible)
    return SwapShares(*shares) if len(shares) == 3 else ThreeLevelSwapShares(*shares)


def _shares(corners: NDArray[np.float64], negligible: float = 0.0) -> list[float]:
    """The K main effects, then all other effects together, over their sum; all 0 where it is 0 or negligible."""
    variances = factorial_variances(corners)
    order = np.indices(variances.shape).sum(axis=0)  # how many blocks an effect takes
    main = [variances[tuple(block)] for block in np.eye(variances.ndim, dtype=int)]
    effects = [*map(float, main), float(np.sum(variances[order > 1]))]
    total = sum(effects)
    if total <= 0 or total < negligible:
        return [0.0] * len(effects)
    return [effect / total for effect in effects]
