"""KL divergences against torch.distributions; free bits by their definition."""

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from hcvae.losses.kl import free_bits, gaussian_kl_of_dimensions


def posterior(rows=40, dim=5):
    generator = torch.Generator().manual_seed(0)
    mu, logvar = torch.randn(2, rows, dim, generator=generator, dtype=torch.float64) * 0.3
    return mu.requires_grad_(), logvar


def reference(mu, logvar):
    return kl_divergence(Normal(mu, (0.5 * logvar).exp()), Normal(0.0, 1.0))


def test_each_dimension_has_the_divergence_of_its_gaussian():
    mu, logvar = posterior()
    torch.testing.assert_close(gaussian_kl_of_dimensions(mu, logvar), reference(mu, logvar))


def test_without_a_floor_free_bits_are_the_mean_divergence():
    mu, logvar = posterior()
    torch.testing.assert_close(free_bits(mu, logvar, 0.0), reference(mu, logvar).sum(dim=1).mean())


def test_a_dimension_below_the_floor_costs_the_floor_and_has_no_gradient():
    mu, logvar = posterior()
    with torch.no_grad():
        mu[:, :2] *= 5  # these two lie far above the floor
    means = reference(mu, logvar).mean(dim=0)
    assert (means[:2] > 0.5).all()
    assert (means[2:] < 0.5).all()
    cost = free_bits(mu, logvar, 0.5)
    assert cost.item() == pytest.approx(means[:2].sum().item() + 3 * 0.5)
    cost.backward()
    assert (mu.grad[:, :2] != 0).all()
    assert (mu.grad[:, 2:] == 0).all()
