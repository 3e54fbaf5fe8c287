import pytest
import torch

from hcvae.models import HierarchicalCVAE
from hcvae.models.prior import Prior

N, S, D = 20_000, 3, 4


@pytest.fixture
def static() -> torch.Tensor:
    return torch.randn(N, S, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def noise() -> torch.Tensor:
    return torch.randn(N, D, generator=torch.Generator().manual_seed(1))


def test_unfitted_it_is_the_standard_normal_under_every_condition(static, noise):
    assert torch.equal(Prior(S, D)(static, noise), noise)


def test_fitted_it_has_mean_and_covariance_of_the_posteriors(static, noise):
    mixing = torch.tensor([[1.0, 0, 0, 0], [0.5, 1, 0, 0], [0, 0, 0.1, 0], [0, 0, 0, 0]])
    mean = torch.stack([static[:, 0], 2 * static[:, 1], 1 + static[:, 2], 0 * static[:, 0]], dim=1)
    posterior_variance = torch.tensor([0.5, 0.5, 0.2, 1.0])
    prior = Prior(S, D)
    prior.fit(static, mean + noise @ mixing.T, posterior_variance.log().expand(N, D))
    drawn = prior(static, torch.randn(N, D, generator=torch.Generator().manual_seed(2)))
    assert (prior(static, torch.zeros(N, D)) - mean).square().mean().sqrt() < 0.1
    expected = mixing @ mixing.T + torch.diag(posterior_variance)
    torch.testing.assert_close((drawn - mean).T.cov(), expected, rtol=0.05, atol=0.03)


def test_sample_draws_from_the_fitted_prior_and_a_given_latent_stays_as_it_is():
    torch.manual_seed(0)
    model = HierarchicalCVAE(signal_length=64, static_dim=S, global_latent_dim=2, local_latent_dim=3, width=0.1)
    signals, static = torch.randn(500, 64) + 5, torch.randn(500, S)
    model.fit_generation(signals, static)
    posterior = model.eval().encode(signals, static)
    out = model.sample(static_params=static, n_samples=20, generator=torch.Generator().manual_seed(0))
    for level in ("global", "local"):
        drawn, mean = out[f"z_{level}"], posterior[f"mu_{level}"]
        torch.testing.assert_close(drawn.mean(0), mean.mean(0), rtol=0, atol=0.05)
        variance = mean.var(0) + posterior[f"logvar_{level}"].exp().mean(0)
        torch.testing.assert_close(drawn.var(0), variance, rtol=0.1, atol=0)
    given = torch.randn(1, 2)
    assert torch.equal(
        model.sample(static_params=static[:1], n_samples=4, z_global=given)["z_global"], given.repeat(4, 1)
    )
