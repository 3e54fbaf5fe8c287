"""The share of an attribute's variance that each latent controls, from exchanges of latents between two rows.

Shapes: K latent blocks (2 or 3), n swaps, D coordinates of the attribute.
y11 = y(g_i, l_i), y12 = y(g_i, l_j), y21 = y(g_j, l_i), y22 = y(g_j, l_j), all under one condition.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from hcvae.arrays import FloatArray
from hcvae.metrics.factorial import factorial_variances


class SwapShares(NamedTuple):
    """Shares of an attribute's variance: they sum to 1, or are all 0 if nothing varies."""

    global_share: float
    """Due to z_global alone."""
    local_share: float
    """Due to z_local alone."""
    interaction: float
    """Due to the two together, or to noise of the decoder."""

    @property
    def intermediate_share(self) -> float:
        """0, as there is no latent between z_global and z_local."""
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
    """Due to two or three together, or to noise of the decoder."""


LevelShares = SwapShares | ThreeLevelSwapShares


def global_selectivity(shares: LevelShares) -> float:
    """Return how much more of an attribute follows z_global than z_local, from -1 to 1."""
    return shares.global_share - shares.local_share


def swap_shares(y11: ArrayLike, y12: ArrayLike, y21: ArrayLike, y22: ArrayLike) -> SwapShares:
    """Return the shares of the variance of y that z_global, z_local and their interaction explain.

    Args:
        y11: y(g_i, l_i), [n] or [n, D].
        y12: y(g_i, l_j), the same shape.
        y21: y(g_j, l_i), the same shape.
        y22: y(g_j, l_j), the same shape.

    Returns:
        The three shares. For y = 2 g + l + 0.5 g l with independent standard normal g and l: 0.762, 0.190, 0.048.
    """
    corners = np.stack([np.stack([y11, y12]), np.stack([y21, y22])])
    return SwapShares(*_shares(corners.reshape(*corners.shape[:3], -1)))


def level_shares(corners: FloatArray, negligible: float) -> LevelShares:
    """Return the shares of the blocks z_global, z_local and, with three blocks, z_intermediate.

    Args:
        corners: the attribute at every corner of the swaps, [2, 2, n, D] or [2, 2, 2, n, D], as for
            `factorial_variances`.
        negligible: variance under swaps below which all shares are 0.
    """
    shares = _shares(corners, negligible)
    if len(shares) == 3:
        return SwapShares(*shares)
    return ThreeLevelSwapShares(*shares)


def _shares(corners: FloatArray, negligible: float = 0.0) -> list[float]:
    """Return the K main effects and the sum of all others, over the total; all 0 if the total is 0 or negligible."""
    variances = factorial_variances(corners)
    order = np.indices(variances.shape).sum(axis=0)  # number of blocks in each effect
    main = [variances[tuple(block)] for block in np.eye(variances.ndim, dtype=int)]
    effects = [*map(float, main), float(np.sum(variances[order > 1]))]
    total = sum(effects)
    if total <= 0 or total < negligible:
        return [0.0] * len(effects)
    return [effect / total for effect in effects]
