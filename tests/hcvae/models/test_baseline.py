"""StandardCVAE: the specification's size, one latent reported as a global and a local block."""

import pytest
import torch

from hcvae.errors import UserError
from hcvae.models import HierarchicalCVAE, StandardCVAE


def small(**changes):
    torch.manual_seed(0)
    return StandardCVAE(50, 3, 4, 6, **{"width": 0.1, **changes})


def test_about_4_2_million_parameters_as_the_specification_says():
    count = sum(parameter.numel() for parameter in StandardCVAE().parameters())
    assert round(count / 1e6, 1) == 4.2
    assert round(10_524_501 / count - 1, 1) == 1.5  # "+150% vs original CVAE"


def test_the_dictionaries_are_those_of_the_hierarchical_model_without_peaks():
    signals, static = torch.randn(5, 50), torch.randn(5, 3)
    model, other = small(), HierarchicalCVAE(50, 3, 4, 6, predict_peaks=False, width=0.1)

    def shapes(output):
        return {name: value.shape for name, value in output.items()}

    assert shapes(model(signals, static)) == shapes(other(signals, static))
    assert shapes(model.sample(static, n_samples=2)) == shapes(other.sample(static, n_samples=2))
    assert model.get_latent_dims() == other.get_latent_dims()


def test_the_latent_is_one_divided_in_two():
    model = small().eval()
    signals, static = torch.randn(5, 50), torch.randn(5, 3)
    mu, logvar = model.encoder(torch.cat([signals, static], dim=1))
    out = model.encode(signals, static)
    assert torch.equal(torch.cat([out["mu_global"], out["mu_local"]], dim=1), mu)
    assert torch.equal(torch.cat([out["logvar_global"], out["logvar_local"]], dim=1), logvar)
    assert model.layers[0][0].in_features == 4 + 6 + 3


@pytest.mark.parametrize("part", ["z_global", "z_local"])
def test_both_parts_reach_the_output(part):
    model = small().eval()
    z = {"z_global": torch.randn(2, 4), "z_local": torch.randn(2, 6)}
    before = model.decode(**z, static_params=torch.zeros(2, 3))["recon_signal"]
    z[part] = z[part] + 1
    assert not torch.allclose(before, model.decode(**z, static_params=torch.zeros(2, 3))["recon_signal"])


def test_a_batch_of_one_trains():
    model = small(static_from_latents=True).train()
    out = model(torch.randn(1, 50), torch.randn(1, 3))
    sum(value.square().sum() for value in out.values()).backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


def test_static_from_latents_does_not_see_the_condition():
    model = small(static_from_latents=True).eval()
    z_global, z_local, static = torch.randn(4, 4), torch.randn(4, 6), torch.randn(4, 3)
    here, there = model.decode(z_global, z_local, static), model.decode(z_global, z_local, static + 1)
    assert torch.equal(here["recon_static_from_latents"], there["recon_static_from_latents"])
    assert not torch.allclose(here["recon_static_params"], there["recon_static_params"])


def test_there_is_no_intermediate_level():
    with pytest.raises(UserError, match=r"z_intermediate: .* no intermediate levels; .* shape \[2, 4\]"):
        small().decode(torch.zeros(2, 4), torch.zeros(2, 6), torch.zeros(2, 3), torch.zeros(2, 4))


def test_bad_arguments_are_refused_by_name():
    with pytest.raises(ValueError, match="global_latent_dim: "):
        StandardCVAE(50, 3, 0, 6)
