"""Loss components: those of the specification, and the additional ones of this product."""

from hcvae.losses.components import MAX_SHIFT, alignment_loss, loss_components, masked_peak_loss
from hcvae.losses.denoised_swap_consistency import DenoisedSwapConsistency
from hcvae.losses.kl import equivalent_beta, free_bits, gaussian_kl, gaussian_kl_of_dimensions
from hcvae.losses.scales import LearnedScales
from hcvae.losses.specification import DEFAULT_WEIGHTS, enhanced_hierarchical_cvae_loss, hierarchical_kl_loss
from hcvae.losses.swap_consistency import SwapConsistency
from hcvae.losses.total_correlation import total_correlation

__all__ = [
    "DEFAULT_WEIGHTS",
    "MAX_SHIFT",
    "DenoisedSwapConsistency",
    "LearnedScales",
    "SwapConsistency",
    "alignment_loss",
    "enhanced_hierarchical_cvae_loss",
    "equivalent_beta",
    "free_bits",
    "gaussian_kl",
    "gaussian_kl_of_dimensions",
    "hierarchical_kl_loss",
    "loss_components",
    "masked_peak_loss",
    "total_correlation",
]
