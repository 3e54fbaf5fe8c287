"""The residual noise: fitted noise is recovered, and with it generated waveforms have the recordings' moments."""

import numpy as np
import pytest
import torch

from hcvae.bundle import Bundle, load
from hcvae.config import Config
from hcvae.data.dataset import Part, prepare
from hcvae.data.simulator import simulate
from hcvae.models import HierarchicalCVAE, StandardCVAE, build
from hcvae.models.residual import ResidualNoise
from hcvae.training import train_bundle

N, S, T = 20_000, 2, 8
CONFIG = Config.model_validate(
    {
        "model": {"width": 0.25, "global_latent_dim": 8, "local_latent_dim": 8},
        "data": {"simulator": {"rows": 3000}},
        "training": {"epochs": 12, "batch_size": 128, "device": "cpu"},
    }
)


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def static() -> torch.Tensor:
    return normal(0, N, S)


@pytest.fixture
def shape() -> torch.Tensor:
    """Covariance of the noise [T, T] where the condition is average, of rank T - 1."""
    lags = torch.arange(T)
    covariance = 0.8 ** (lags[:, None] - lags).abs()
    centring = torch.eye(T) - 1 / T
    return centring @ covariance @ centring


@pytest.fixture
def noise(static, shape) -> torch.Tensor:
    values, vectors = torch.linalg.eigh(shape)
    root = vectors * values.clamp(min=0).sqrt()
    return (0.5 * static[:, :1]).exp() * (normal(1, N, T) @ root.T)


def assert_moments(residual, static, shape):
    """The sampled noise has the RMS by condition and the covariance over time of the noise that was fitted."""
    drawn = residual(static, normal(2, N, 1 + T))
    for low, high in ((-1.5, -0.5), (-0.5, 0.5), (0.5, 1.5)):
        rows = (static[:, 0] > low) & (static[:, 0] < high)
        expected = static[rows, 0].exp().mean() * shape.trace() / T
        assert drawn[rows].square().mean() == pytest.approx(expected.item(), rel=0.05)
    unit = drawn / (0.5 * static[:, :1]).exp()
    torch.testing.assert_close(unit.T.cov(), shape, rtol=0, atol=0.05)


def test_before_the_fit_there_is_no_noise(static):
    assert torch.equal(ResidualNoise(S, T)(static, normal(1, N, 1 + T)), torch.zeros(N, T))


def test_covariance_over_time_and_rms_by_condition_are_recovered(static, noise, shape):
    response = normal(3, N, T)
    residual = ResidualNoise(S, T)
    residual.fit(static, response + noise, response)
    assert_moments(residual, static, shape)


@pytest.mark.parametrize("spread", [0.0, 0.3])
def test_log_rms_varies_beyond_chance_as_much_as_that_of_the_fitted_noise(static, noise, shape, spread):
    residual = ResidualNoise(S, T)
    residual.fit(static, (spread * normal(4, N, 1) - spread**2).exp() * noise, torch.zeros(N, T))
    assert_moments(residual, static, shape)
    assert residual.spread.item() == pytest.approx(spread, abs=0.02 if spread else 0.1)
    log_rms = residual(static, normal(2, N, 1 + T)).square().mean(1).log() / 2 - static[:, 0] / 2
    expected = (spread * normal(5, N, 1)).exp() * noise
    expected_log_rms = expected.square().mean(1).log() / 2 - static[:, 0] / 2
    assert log_rms.std().item() == pytest.approx(expected_log_rms.std().item(), rel=0.05)


@pytest.mark.parametrize("copied", [0.3, -0.3])
def test_noise_that_decoded_samples_contain_already_is_not_added_again(static, noise, shape, copied):
    # Decoded: the response and the noise times 0.3 or, a response drawn too small, anticorrelated with the residual.
    residual = ResidualNoise(S, T)
    residual.fit(static, noise, copied * noise)
    assert_moments(residual, static, shape * (1 - copied**2))


def test_there_is_no_noise_if_more_variance_is_decoded_than_recorded(static, noise):
    residual = ResidualNoise(S, T)
    residual.fit(static, noise, 2 * noise)
    assert residual(static, normal(1, N, 1 + T)).abs().max() < 1e-3 * noise.std()
    residual.fit(static, noise, noise)  # nor where the reconstruction is perfect
    assert torch.equal(residual(static, normal(1, N, 1 + T)), torch.zeros(N, T))


@pytest.mark.parametrize("kind", [HierarchicalCVAE, StandardCVAE])
def test_noise_is_sampled_after_the_latents_and_changes_only_the_waveforms(kind):
    torch.manual_seed(0)
    model = kind(64, S, 2, 3, width=0.1)
    given = {"static_params": normal(0, 5, S), "n_samples": 4}

    def sample(noise, **latents):
        return model.sample(**given, **latents, generator=torch.Generator().manual_seed(7), residual_noise=noise)

    unfitted = sample(True)
    assert torch.equal(unfitted["generated_signals"], sample(False)["generated_signals"])
    model.fit_generation(normal(1, 200, 64), normal(2, 200, S), generator=torch.Generator().manual_seed(0))
    without, noisy, again = sample(False), sample(True), sample(True)
    assert set(without) == set(noisy)
    for name in noisy:
        assert torch.equal(noisy[name], again[name])
        assert torch.equal(noisy[name], without[name]) == (name != "generated_signals")
    added = noisy["generated_signals"] - without["generated_signals"]
    assert added.square().mean() == pytest.approx(1, abs=0.25)  # the recordings were white noise of variance 1
    assert len(added.unique(dim=0)) == 20


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[Bundle, Part, np.ndarray]:
    """A small trained model, its training part, and the averages of that part's rows."""
    data = prepare(CONFIG)
    folder = tmp_path_factory.mktemp("trained")
    train_bundle(CONFIG, data, folder)
    averages = simulate(CONFIG.data.simulator.rows, CONFIG.data.simulator.seed)["n_averages"].to_numpy()
    return load(folder / "bundle"), data.train, averages[data.split.train]


def test_posterior_draws_with_noise_have_the_second_moments_of_the_recordings(trained):
    bundle, part, averages = trained
    model, static = bundle.model, torch.from_numpy(part.static)
    torch.manual_seed(0)
    with torch.no_grad():
        response = model(torch.from_numpy(part.signals), static)["recon_signal"]
        noisy = (response + model.residual(static, torch.randn(len(response), 201))).numpy()
    recorded = part.signals
    for n in np.unique(averages):
        rows = averages == n
        # Over eight trainings the ratios were 0.92 to 1.12.
        assert np.mean(noisy[rows] ** 2) == pytest.approx(np.mean(recorded[rows] ** 2), rel=0.15)
    expected = recorded.T @ recorded / len(recorded)
    difference = noisy.T @ noisy / len(recorded) - expected
    assert np.linalg.norm(difference) < 0.1 * np.linalg.norm(expected)
    # The response alone is too weak, beyond those 15 %.
    assert np.mean(response.numpy() ** 2) < 0.85 * np.mean(recorded**2)


def test_noise_falls_with_the_averages_as_the_simulator_s(trained):
    bundle, part, averages = trained
    static = torch.from_numpy(part.static)
    noise = bundle.model.residual(static, normal(0, len(static), 201)).numpy()
    power = [np.mean(noise[averages == n] ** 2) for n in (500, 1000, 2000, 4000)]
    assert power == sorted(power, reverse=True)
    assert power[0] > 1.5 * power[3]


def test_the_samples_of_the_fit_follow_the_seed_of_the_configuration(trained):
    bundle, part, _ = trained
    again = build(bundle.config.model)
    again.load_state_dict(bundle.model.state_dict())
    torch.manual_seed(99)  # as if other numbers had been sampled before
    seeded = torch.Generator().manual_seed(CONFIG.training.seed)
    held_out = prepare(CONFIG).validation
    parts = ((torch.from_numpy(rows.signals), torch.from_numpy(rows.static)) for rows in (part, held_out))
    signals, static = next(parts)
    again.fit_generation(signals, static, next(parts), generator=seeded)
    drawn = (model.residual(torch.zeros(1, 7), torch.ones(1, 201)) for model in (bundle.model, again))
    torch.testing.assert_close(*drawn, rtol=1e-3, atol=1e-4)
