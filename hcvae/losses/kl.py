"""KL divergences of the latents from their prior, in nats per waveform.

Shapes: B batch, D dimensions of a latent.
"""

import torch
from torch import Tensor

from hcvae.errors import UserError

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


def equivalent_beta(weight: float, n_samples: int, residual_variance: float) -> float:
    """Return the beta of a beta-VAE equivalent to a KL weight beside a mean squared error, w * T / (2 * sigma2).

    The Gaussian log-likelihood of T samples is T / (2 sigma2) times their mean squared error, so `MSE + w * KL` is
    proportional to `-log p + beta * KL` with this beta. Higgins et al. 2017, "beta-VAE", ICLR.

    Args:
        weight: the KL weight w, with a reconstruction weight of 1.
        n_samples: samples T in a waveform.
        residual_variance: mean squared error sigma2 of the reconstruction, in the units of the loss.

    Raises:
        UserError: the residual variance is not above 0.
    """
    if not residual_variance > 0:
        raise UserError(f"residual_variance: must be above 0, but got {residual_variance!r}")
    return weight * n_samples / (2 * residual_variance)
