"""Disentanglement: the second objective of a search, and the established metrics as diagnostics.

The objective measures whether z_global controls the coarse attributes of the decoded waveform, and z_local the fine
shape. The established metrics measure whether each code represents one known factor.
"""

from hcvae.metrics.attribute_predictability import separated_attribute_predictability
from hcvae.metrics.dci import DCI, dci
from hcvae.metrics.factorial import factorial_variances
from hcvae.metrics.latent_use import active_units
from hcvae.metrics.mutual_information import modularity, mutual_information_gap
from hcvae.metrics.swap_routing import AttributeRouting, SwapRouting, swap_routing_score
from hcvae.metrics.swap_shares import SwapShares, ThreeLevelSwapShares, swap_shares
from hcvae.metrics.total_correlation import gaussian_total_correlation

__all__ = [
    "DCI",
    "AttributeRouting",
    "SwapRouting",
    "SwapShares",
    "ThreeLevelSwapShares",
    "active_units",
    "dci",
    "factorial_variances",
    "gaussian_total_correlation",
    "modularity",
    "mutual_information_gap",
    "separated_attribute_predictability",
    "swap_routing_score",
    "swap_shares",
]
