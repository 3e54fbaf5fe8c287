"""KL divergences of the latents from their prior, in nats per waveform.

Legend: B batch, G global and L local latent dimensions, D dimensions of a latent.
"""

import torch
from torch import Tensor

Number = Tensor | float


def gaussian_kl_of_dimensions(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL divergence of each dimension's N(mu, exp(logvar)) from N(0, 1), [B, D] to [B, D], in nats.

    Kingma & Welling 2014, "Auto-Encoding Variational Bayes", appendix B.
    """
    return -0.5 * (1 + logvar - mu.square() - logvar.exp())


def gaussian_kl(mu: Tensor, logvar: Tensor) -> Tensor:
    """The divergence of all dimensions together, [B, D] to [B], in nats per waveform."""
    return torch.sum(gaussian_kl_of_dimensions(mu, logvar), dim=1)


def hierarchical_kl_loss(
    mu_global: Tensor,
    logvar_global: Tensor,
    mu_local: Tensor,
    logvar_local: Tensor,
    global_kl_weight: Number = 1.0,
    local_kl_weight: Number = 1.0,
) -> Tensor:
    """Weighted sum of the KL divergences of both latents ([B, G] and [B, L]) from their priors: [B], in nats."""
    return global_kl_weight * gaussian_kl(mu_global, logvar_global) + local_kl_weight * gaussian_kl(
        mu_local, logvar_local
    )


def free_bits(mu: Tensor, logvar: Tensor, floor: float) -> Tensor:
    """The mean KL divergence of a batch [B, D], each dimension counted as `floor` nats at least: a scalar.

    Below the floor a dimension has no gradient, so nothing pushes it to collapse. Kingma et al. 2016, "Improved
    Variational Inference with Inverse Autoregressive Flow", section 4, with one group a dimension.
    """
    return gaussian_kl_of_dimensions(mu, logvar).mean(dim=0).clamp(min=floor).sum()
