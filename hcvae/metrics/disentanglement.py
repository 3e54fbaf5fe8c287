"""The second objective of a search: does z_global control the coarse attributes, and z_local the fine shape?"""

from hcvae.metrics.swap_routing import AttributeRouting, SwapRouting, swap_routing_score
from hcvae.metrics.swap_shares import SwapShares, ThreeLevelSwapShares, swap_shares

__all__ = ["AttributeRouting", "SwapRouting", "SwapShares", "ThreeLevelSwapShares", "swap_routing_score", "swap_shares"]
