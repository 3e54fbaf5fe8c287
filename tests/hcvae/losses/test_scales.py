"""Learned scales against the likelihoods of torch.distributions and their closed-form optimum."""

import math

import pytest
import torch
from torch.distributions import Laplace, Normal

from hcvae.losses.scales import LearnedScales


def scales(learned, **log_scales):
    module = LearnedScales(learned).double()
    for name, value in log_scales.items():
        module.log_scales[name].data.fill_(value)
    return module


def errors():
    return torch.randn(500, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 0.4


@pytest.mark.parametrize("log_scale", [-1.0, 0.0, 0.7])
def test_a_squared_error_becomes_a_gaussian_likelihood(log_scale):
    error, sigma = errors(), math.exp(log_scale)
    expected = -Normal(0.0, sigma).log_prob(error).mean() - 0.5 * math.log(2 * math.pi)
    value = scales("reconstruction", reconstruction=log_scale)("reconstruction", error.square().mean())
    torch.testing.assert_close(value, expected)


def test_an_absolute_error_becomes_a_laplace_likelihood():
    error = errors()
    expected = -Laplace(0.0, math.exp(-0.3)).log_prob(error).mean() - math.log(2)
    torch.testing.assert_close(scales("all", peak=-0.3)("peak", error.abs().mean()), expected)


@pytest.mark.parametrize(("name", "optimum"), [("static", 0.5 * math.log(0.09)), ("peak", math.log(0.09))])
def test_the_best_scale_is_that_of_the_error(name, optimum):
    module = scales("all", **{name: optimum})
    module(name, torch.tensor(0.09, dtype=torch.float64)).backward()
    assert module.log_scales[name].grad.item() == pytest.approx(0, abs=1e-12)


def test_components_without_a_scale_are_unchanged():
    error = torch.tensor(0.3)
    assert scales("none")("reconstruction", error) is error
    assert scales("reconstruction")("static", error) is error
    assert not list(scales("none").parameters())
