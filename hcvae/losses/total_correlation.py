"""The total correlation of a latent, estimated from a batch: beta-TCVAE's penalty.

Legend: B batch, D latent dimensions.
"""

import math

import torch
from torch import Tensor


def total_correlation(z: Tensor, mu: Tensor, logvar: Tensor, n_data: int) -> Tensor:
    """KL(q(z) || prod_d q(z_d)) in nats, a scalar: how far the aggregate posterior is from independent dimensions.

    Minibatch-weighted sampling (Chen et al. 2018, "Isolating Sources of Disentanglement in VAEs", equation 5): biased,
    and zero only in expectation over large batches; as a penalty its gradient is what matters.

    Args:
        z: draws from the posteriors, [B, D].
        mu: means of the posteriors, [B, D].
        logvar: their log-variances, [B, D].
        n_data: waveforms in the training part.
    """
    deviation = z[:, None] - mu  # [B, B, D]: row i's draw under row j's posterior
    log_density = -0.5 * (math.log(2 * math.pi) + logvar + deviation.square() * torch.exp(-logvar))
    log_weight = math.log(len(z) * n_data)
    joint = log_density.sum(dim=2).logsumexp(dim=1) - log_weight  # [B]
    product = (log_density.logsumexp(dim=1) - log_weight).sum(dim=1)  # [B]
    return (joint - product).mean()
