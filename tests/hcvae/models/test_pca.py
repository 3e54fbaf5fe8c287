import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from hcvae.errors import UserError
from hcvae.models.pca import PrincipalComponents

N, T, S, G, L = 4000, 40, 3, 2, 4


@pytest.fixture(scope="module")
def signals() -> torch.Tensor:
    random = np.random.default_rng(0)
    return torch.from_numpy(random.normal(size=(N, T)) * np.exp(-np.arange(T) / 8) + 1).float()


@pytest.fixture(scope="module")
def static() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).normal(size=(N, S))).float()


@pytest.fixture(scope="module")
def fitted(signals) -> PrincipalComponents:
    return PrincipalComponents(T, S, G, L).fit(signals)


def reconstruct(model, signals, static):
    posterior = model.encode(signals, static)
    return model.decode(posterior["mu_global"], posterior["mu_local"], static)["recon_signal"]


def test_reconstruction_is_scikit_learn_s_projection(fitted, signals, static):
    pca = PCA(G + L).fit(signals.double())
    expected = pca.inverse_transform(pca.transform(signals.double()))
    np.testing.assert_allclose(reconstruct(fitted, signals, static), expected, atol=1e-3)


def test_latents_have_unit_variance_and_the_largest_components_are_global(fitted, signals, static):
    posterior = fitted.encode(signals, static)
    z = torch.cat([posterior["mu_global"], posterior["mu_local"]], dim=1)
    np.testing.assert_allclose(np.cov(z.T), np.eye(G + L), atol=1e-3)
    assert posterior["mu_global"].shape == (N, G)
    assert (fitted.deviations.diff() < 0).all()


def test_samples_have_the_moments_of_the_projected_waveforms(signals, static):
    # waveforms that follow the condition: mean [2 c, ...], which only a prior that depends on it reproduces
    moved = signals + 2 * static[:, :1] * torch.linspace(0, 1, T)
    model = PrincipalComponents(T, S, G, L).fit(moved)
    model.fit_generation(moved, static)
    projected = reconstruct(model, moved, static)
    condition = torch.tensor([[1.0, 0.0, 0.0]])
    drawn = model.sample(condition, 4000, generator=torch.Generator().manual_seed(0))["generated_signals"]
    # the regression's answer at this condition, on plain linear terms
    terms = torch.cat([torch.ones(N, 1), static], dim=1)
    weight = torch.linalg.lstsq(terms, projected).solution
    np.testing.assert_allclose(drawn.mean(0), (torch.tensor([[1.0, 1.0, 0.0, 0.0]]) @ weight)[0], atol=0.2)
    residual = projected - terms @ weight
    np.testing.assert_allclose(np.cov(drawn.T).trace(), np.cov(residual.T).trace(), rtol=0.1)


def test_waveforms_of_low_rank_are_reproduced(static):
    ramp = torch.outer(torch.linspace(-1, 1, N), torch.ones(T))
    model = PrincipalComponents(T, S, G, L).fit(ramp)
    np.testing.assert_allclose(reconstruct(model, ramp, static), ramp, atol=1e-5)


def test_more_components_than_rows_are_refused(signals):
    with pytest.raises(UserError, match=r"6 principal components need as many rows and samples, but got \[5, 40\]"):
        PrincipalComponents(T, S, G, L).fit(signals[:5])
