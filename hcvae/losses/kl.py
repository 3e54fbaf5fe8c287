"""KL divergences of the latents from their prior, in nats per waveform.

Shapes: B batch, D dimensions of a latent.
"""

import torch
from torch import Tensor

Number = Tensor | float


def gaussian_kl_of_dimensions(mu: Tensor, logvar: Tensor) -> Tensor:
    """Return the KL divergence of N(mu, exp(logvar)) from N(0, 1) for each dimension, [B, D], in nats.

    Kingma & Welling 2014, "Auto-Encoding Variational Bayes", appendix B.
    """
    return -0.5 * (1 + logvar - mu.square() - logvar.exp())


def gaussian_kl(mu: Tensor, logvar: Tensor) -> Tensor:
    """Return the KL divergence summed over the D dimensions, [B], in nats per waveform."""
    return torch.sum(gaussian_kl_of_dimensions(mu, logvar), dim=1)


def free_bits(mu: Tensor, logvar: Tensor, floor: float) -> Tensor:
    """Return the mean KL divergence of a batch, with at least `floor` nats for each of the D dimensions, a scalar.

    A dimension below the floor has no gradient, so nothing drives it to collapse. Kingma et al. 2016, "Improved
    Variational Inference with Inverse Autoregressive Flow", section 4, with one group for each dimension.
    """
    return gaussian_kl_of_dimensions(mu, logvar).mean(dim=0).clamp(min=floor).sum()
