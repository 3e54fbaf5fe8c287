"""Every usage example of the specification, with its argument names and dictionary keys."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hcvae import HierarchicalCVAE
from hcvae.config import Config
from hcvae.losses import enhanced_hierarchical_cvae_loss
from hcvae.models import build

ROOT = Path(__file__).parents[2]
ROWS = 6


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return HierarchicalCVAE(
        signal_length=200,
        static_dim=7,
        global_latent_dim=32,
        local_latent_dim=32,
        predict_peaks=True,
        use_film=True,
        early_signal_ratio=0.3,
    )


@pytest.fixture(scope="module")
def signals():
    return torch.randn(ROWS, 200, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def static_params():
    return torch.randn(ROWS, 7, generator=torch.Generator().manual_seed(2))


def hierarchical_loss(model, signals, static_params):
    target_peaks = torch.tensor([1.6, 3.7, 5.6, 0.3, 0.2, 0.5]).repeat(ROWS, 1)
    peak_mask = torch.ones(ROWS, 6, dtype=torch.bool)
    output = model(signals, static_params)
    loss_weights = {
        "reconstruction": 1.0,
        "static": 1.0,
        "global_kl": 0.01,
        "local_kl": 0.01,
        "peak": 1.0,
        "alignment": 0.1,
    }
    return enhanced_hierarchical_cvae_loss(
        output["recon_signal"], signals,
        output["recon_static_params"], static_params,
        output["mu_global"], output["logvar_global"],
        output["mu_local"], output["logvar_local"],
        output.get("predicted_peaks"), target_peaks, peak_mask,
        loss_weights=loss_weights,
    )  # fmt: skip


def test_training_with_the_hierarchical_loss_learns(signals, static_params):
    torch.manual_seed(0)
    model = HierarchicalCVAE(signal_length=200, static_dim=7, width=0.1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    first = None
    for _ in range(150):
        total_loss, loss_components = hierarchical_loss(model, signals, static_params)
        first = first or {name: value.item() for name, value in loss_components.items()}
        optimizer.zero_grad()
        total_loss.backward()
        optimizer.step()
    assert all(loss_components[name].item() < 0.8 * first[name] for name in ("reconstruction", "static", "peak"))


def test_controlled_generation(model, static_params):
    conditions = static_params
    fixed_global_latent, varying_local_latents = torch.randn(1, 32), torch.randn(5, 32)
    sample_output = model.sample(
        static_params=conditions,
        n_samples=5,
        z_global=fixed_global_latent,
        z_local=varying_local_latents,
    )
    assert sample_output["generated_signals"].shape == (ROWS * 5, 200)
    assert sample_output["generated_static_params"].shape == (ROWS * 5, 7)
    assert sample_output["generated_peaks"].shape == (ROWS * 5, 6)
    assert torch.equal(sample_output["z_global"], fixed_global_latent.expand(ROWS * 5, 32))
    assert torch.equal(sample_output["z_local"][5:10], varying_local_latents)


def test_latent_space_analysis(model, signals, static_params):
    model.eval()
    encoded = model.encode(signals, static_params)
    global_variance = torch.var(encoded["mu_global"], dim=0).mean()
    local_variance = torch.var(encoded["mu_local"], dim=0).mean()
    assert global_variance > 0
    assert local_variance > 0


def test_the_debug_command_that_swaps_latents(model, signals, static_params):
    model.eval()
    encoder_output = model.encode(signals, static_params)
    global_features = encoder_output["mu_global"]
    local_features = encoder_output["mu_local"]
    decoded = model.decode(global_features, local_features, static_params)
    assert decoded["recon_signal"].shape == signals.shape

    mu_global_swapped, mu_local_original = global_features.flip(0), local_features
    swap_test = model.decode(mu_global_swapped, mu_local_original, static_params)
    assert not torch.allclose(swap_test["recon_signal"], decoded["recon_signal"])


def test_the_debug_command_that_prints_the_components(model, signals, static_params):
    output = model.eval()(signals, static_params)
    _, loss_components = enhanced_hierarchical_cvae_loss(
        *(output["recon_signal"], signals, output["recon_static_params"], static_params),
        *(output["mu_global"], output["logvar_global"], output["mu_local"], output["logvar_local"]),
    )
    printed = {component: f"{value:.6f}" for component, value in loss_components.items()}
    assert list(printed) == ["reconstruction", "static", "global_kl", "local_kl", "peak", "alignment"]
    error = (output["recon_signal"] - signals).detach().numpy()
    assert float(printed["reconstruction"]) == pytest.approx((error**2).mean(), abs=2e-6)
    assert float(printed["peak"]) == 0


def test_flexible_latent_control(model, signals, static_params):
    def encode_reference_signal():
        return model.encode(signals[:1], static_params[:1])["mu_global"]

    variations, local_latent_dim = 3, 32
    global_latent = encode_reference_signal()
    waveforms = []
    for _ in range(variations):
        local_latent = torch.randn(1, local_latent_dim)
        generated = model.sample(z_global=global_latent, z_local=local_latent)
        waveforms.append(generated["generated_signals"])
    assert torch.cat(waveforms).shape == (variations, 200)
    assert not torch.allclose(waveforms[0], waveforms[1])


@pytest.mark.parametrize("rows", [1, ROWS])
def test_feature_interpolation(model, signals, static_params, rows):
    z_global_start = model.encode(signals[:rows], static_params[:rows])["mu_global"]
    z_global_end = model.encode(signals[:rows].flip(1), static_params[:rows])["mu_global"]
    for alpha in torch.linspace(0, 1, steps=10):
        z_global_interp = (1 - alpha) * z_global_start + alpha * z_global_end
        generated = model.sample(z_global=z_global_interp)
        assert generated["generated_signals"].shape == (rows, 200)
        assert torch.equal(generated["z_global"], z_global_interp)


def test_the_specifications_configuration_loads_unchanged():
    text = (ROOT / "configs" / "hierarchical_config.json").read_text()
    config = Config.model_validate_json(text)
    assert sum(parameter.numel() for parameter in build(config.model).parameters()) == 10_524_501
    written = json.loads(text)
    assert set(written) == {"model", "training"}
    for section in ("model", "training"):
        stored = config.model_dump()[section]
        for key, value in written[section].items():
            expected = {**stored[key], **value} if isinstance(value, dict) else value
            assert stored[key] == expected, key


def test_weights_of_the_specifications_best_practices_are_accepted(model, signals, static_params):
    output = model(signals, static_params)
    total, components = enhanced_hierarchical_cvae_loss(
        *(output["recon_signal"], signals, output["recon_static_params"], static_params),
        *(output["mu_global"], output["logvar_global"], output["mu_local"], output["logvar_local"]),
        loss_weights={"global_kl": 0.001, "local_kl": 0.01, "reconstruction": 1.0, "static": 1.0, "alignment": 0.0},
    )
    expected = components["reconstruction"] + components["static"]
    expected = expected + 0.001 * components["global_kl"] + 0.01 * components["local_kl"]
    torch.testing.assert_close(total, expected)


def test_importing_the_package_loads_no_torch():
    code = "import sys, hcvae; print(hcvae.__version__, 'torch' in sys.modules, sorted(hcvae.__all__))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert ran.stdout.strip() == "0.1.0 False ['HierarchicalCVAE', 'StandardCVAE', '__version__', 'load']"


def test_an_unknown_name_is_an_attribute_error():
    import hcvae

    with pytest.raises(AttributeError, match="module 'hcvae' has no attribute 'HierarchicalVAE'"):
        hcvae.HierarchicalVAE  # noqa: B018
