"""The total correlation of a latent, estimated from a batch: the penalty of the beta-TCVAE.

Shapes: B batch, D latent dimensions.
"""

import math

import torch
from torch import Tensor


def total_correlation(z: Tensor, mu: Tensor, logvar: Tensor, n_data: int) -> Tensor:
    """Return KL(q(z) || prod_d q(z_d)) in nats, a scalar: the dependence between dimensions of the aggregate posterior.

    Minibatch-weighted sampling (Chen et al. 2018, "Isolating Sources of Disentanglement in VAEs", equation 5): biased,
    and zero only in expectation over large batches. For a penalty only the gradient matters.

    Args:
        z: samples from the posteriors, [B, D].
        mu: means of the posteriors, [B, D].
        logvar: log-variances of the posteriors, [B, D].
        n_data: waveforms in the training part.
    """
    deviation = z[:, None] - mu  # [B, B, D]: sample of row i under the posterior of row j
    log_density = -0.5 * (math.log(2 * math.pi) + logvar + deviation.square() * torch.exp(-logvar))
    log_weight = math.log(len(z) * n_data)
    joint = log_density.sum(dim=2).logsumexp(dim=1) - log_weight  # [B]
    product = (log_density.logsumexp(dim=1) - log_weight).sum(dim=1)  # [B]
    return (joint - product).mean()
