"""Minibatch-weighted sampling against plain loops over torch.distributions."""

import math

import pytest
import torch
from torch.distributions import Normal

from hcvae.losses.total_correlation import total_correlation


def codes(rows, correlation):
    generator = torch.Generator().manual_seed(0)
    mu = torch.randn(rows, 2, generator=generator, dtype=torch.float64)
    mu[:, 1] = correlation * mu[:, 0] + math.sqrt(1 - correlation**2) * mu[:, 1]
    logvar = torch.full_like(mu, -2.0)
    z = mu + torch.randn(mu.shape, generator=generator, dtype=torch.float64) * math.exp(-1)
    return z, mu, logvar


def test_it_is_the_published_estimator():
    z, mu, logvar = codes(12, 0.5)
    n_data = 100
    total = 0.0
    for i in range(12):
        densities = [Normal(mu[j], (0.5 * logvar[j]).exp()).log_prob(z[i]).exp() for j in range(12)]
        joint = sum(density.prod() for density in densities) / (12 * n_data)
        product = math.prod(sum(density[d] for density in densities) / (12 * n_data) for d in range(2))
        total += (math.log(joint) - math.log(product)) / 12
    assert total_correlation(z, mu, logvar, n_data).item() == pytest.approx(total)


def test_it_rises_with_the_dependence_of_the_dimensions():
    low, high = (total_correlation(*codes(400, correlation), n_data=400) for correlation in (0.0, 0.95))
    # Of Gaussians -ln(1 - r^2) / 2 with the draws' r = 0.95 / (1 + exp(-2)), 0.6 nats, about 0 without dependence.
    expected = -0.5 * math.log(1 - (0.95 / (1 + math.exp(-2))) ** 2)
    assert (high - low).item() == pytest.approx(expected, abs=0.15)
