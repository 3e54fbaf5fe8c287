"""Who controls an attribute? The 2 x 2 swap of two latents, analysed like a two-way table of effects.

Shapes: n swaps (quads), D coordinates of the attribute.
y11 = y(g_i, l_i), y12 = y(g_i, l_j), y21 = y(g_j, l_i), y22 = y(g_j, l_j), all under one condition.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


class SwapShares(NamedTuple):
    """Shares of an attribute's variance: they sum to 1, or are all 0 where nothing varies."""

    global_share: float
    """Due to z_global alone."""
    local_share: float
    """Due to z_local alone."""
    interaction: float
    """Due to neither alone: to both together, or to noise of the decoder."""


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
    return shares_of_variances(swap_variances(*(np.asarray(y, dtype=np.float64) for y in (y11, y12, y21, y22))))


def swap_variances(
    y11: NDArray[Any], y12: NDArray[Any], y21: NDArray[Any], y22: NDArray[Any]
) -> tuple[float, float, float]:
    """Variances V_G, V_L, V_I of arrays [n] or [n, D], summed over the D coordinates.

    An effect's contrast holds the interaction, too: E_G - E_I is twice the variance of the main effect.
    """
    energy_global = _energy(y11 + y12 - y21 - y22)
    energy_local = _energy(y11 - y12 + y21 - y22)
    energy_interaction = _energy(y11 - y12 - y21 + y22)
    return (
        max(0.0, (energy_global - energy_interaction) / 2),
        max(0.0, (energy_local - energy_interaction) / 2),
        energy_interaction,
    )


def shares_of_variances(variances: tuple[float, float, float], negligible: float = 0.0) -> SwapShares:
    """The variances over their sum; all 0 where the sum is not above zero or is below `negligible`."""
    total = sum(variances)
    if total <= 0 or total < negligible:
        return SwapShares(0.0, 0.0, 0.0)
    return SwapShares(*(variance / total for variance in variances))


def _energy(contrast: NDArray[Any]) -> float:
    """Mean over the n quads of ||contrast / 2||^2."""
    return float(np.sum((contrast / 2) ** 2) / len(contrast))
