"""The base class with three blocks of latents, and all options of the hierarchical model together."""

import pytest
import torch

from hcvae.errors import UserError
from hcvae.models import HierarchicalCVAE

G, M, L, S, T = 4, 10, 6, 3, 51
DIMS = {"global": G, "intermediate": M, "local": L}
OPTIONS = {
    "levels": {"intermediate_levels": 2, "intermediate_latent_dim": 5},
    "attention": {"attention": True},
    "segments": {"local_segments": 3},
}
EVERYTHING = {name: value for option in OPTIONS.values() for name, value in option.items()}


def model_with(**options):
    torch.manual_seed(0)
    return HierarchicalCVAE(T, S, G, L, **{"width": 0.13, **options})


def batch(rows):
    torch.manual_seed(1)
    return torch.randn(rows, T), torch.randn(rows, S)


all_options = pytest.mark.parametrize("options", [*OPTIONS.values(), EVERYTHING, EVERYTHING | {"use_film": False}])


@all_options
@pytest.mark.parametrize("rows", [1, 5])
def test_shapes_in_train_mode_also_of_a_batch_of_one(options, rows):
    model = model_with(**options, static_from_latents=True).train()
    out = model(*batch(rows))
    dims = {block: dim for block, dim in DIMS.items() if block != "intermediate" or "intermediate_levels" in options}
    latents = {f"{name}_{block}": dim for block, dim in dims.items() for name in ("mu", "logvar", "z")}
    heads = {"recon_signal": T, "recon_static_params": S, "predicted_peaks": 6, "recon_static_from_latents": S}
    assert {name: tuple(value.shape) for name, value in out.items()} == {
        name: (rows, columns) for name, columns in (latents | heads).items()
    }
    sum(value.square().sum() for value in out.values()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


@all_options
def test_gradients_reach_every_parameter(options):
    # Batch normalisation cancels the gradient of the biases before it; without it, every one must have a gradient.
    model = model_with(**options, static_from_latents=True, batch_norm=False, dropout=0.0)
    sum(value.square().sum() for value in model(*batch(5)).values()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.abs().max() > 1e-6, name


def test_forward_takes_noise_in_the_order_of_the_blocks():
    model = model_with(**EVERYTHING).eval()
    signals, static = batch(5)
    noise = {block: torch.randn(5, dim) for block, dim in DIMS.items()}
    out = model(signals, static, tuple(noise.values()))
    for block, drawn in noise.items():
        expected = out[f"mu_{block}"] + drawn * out[f"logvar_{block}"].exp().sqrt()
        torch.testing.assert_close(out[f"z_{block}"], expected)
    decoded = model.decode(out["z_global"], out["z_local"], static, out["z_intermediate"])
    torch.testing.assert_close(out["recon_signal"], decoded["recon_signal"])
    with pytest.raises(UserError, match=r"noise: .* each of \['global', 'intermediate', 'local'\], but got 2"):
        model(signals, static, (noise["global"], noise["local"]))


def test_sample_is_condition_major_and_samples_missing_latents():
    model = model_with(**EVERYTHING).eval()
    _, conditions = batch(3)
    each = torch.randn(4, M)
    out = model.sample(conditions, 4, z_intermediate=each)
    assert torch.equal(out["z_intermediate"], each.repeat(3, 1))
    out = model.sample(conditions, 4, z_global=torch.zeros(1, G), generator=torch.Generator().manual_seed(0))
    assert {name: tuple(out[name].shape) for name in ("generated_signals", "z_intermediate", "z_local")} == {
        "generated_signals": (12, T),
        "z_intermediate": (12, M),
        "z_local": (12, L),
    }
    assert out["z_intermediate"].unique(dim=0).shape[0] == 12
    for row in range(12):
        z = {name: out[name][[row]] for name in ("z_global", "z_intermediate", "z_local")}
        alone = model.decode(**z, static_params=conditions[[row // 4]])
        torch.testing.assert_close(out["generated_signals"][[row]], alone["recon_signal"])


def test_the_fitted_prior_has_the_moments_of_the_posteriors_of_the_levels():
    model = model_with(**EVERYTHING)
    generator = torch.Generator().manual_seed(0)
    signals, static = torch.randn(500, T, generator=generator) + 5, torch.randn(500, S, generator=generator)
    model.fit_generation(signals, static)
    posterior = model.eval().encode(signals, static)
    drawn = model.sample(static, 20, generator=generator)["z_intermediate"]
    mean = posterior["mu_intermediate"]
    torch.testing.assert_close(drawn.mean(0), mean.mean(0), rtol=0, atol=0.05)
    variance = mean.var(0) + posterior["logvar_intermediate"].exp().mean(0)
    torch.testing.assert_close(drawn.var(0), variance, rtol=0.1, atol=0)


def test_the_specification_s_interfaces_put_the_levels_between_global_and_local():
    model = model_with(**EVERYTHING).eval()
    signals, static = batch(5)
    assert model.latent_dims == DIMS
    assert list(model.latent_dims) == list(DIMS)
    assert model.get_latent_dims() == {
        "global_latent_dim": G,
        "intermediate_latent_dim": M,
        "local_latent_dim": L,
        "total_latent_dim": G + M + L,
    }
    posterior = model.encode(signals, static)
    _, _, mu, logvar = model.forward_legacy(signals, static)
    for name, value in (("mu", mu), ("logvar", logvar)):
        assert torch.equal(value, torch.cat([posterior[f"{name}_{block}"] for block in DIMS], dim=1))
    combined = model.forward_from_combined_z(mu, static)["recon_signal"]
    expected = model.decode(mu[:, :G], mu[:, G + M :], static, mu[:, G : G + M])["recon_signal"]
    assert torch.equal(combined, expected)


def test_a_model_without_levels_has_two_blocks_and_no_third_prior():
    model = model_with()
    assert model.latent_dims == {"global": G, "local": L}
    assert not hasattr(model, "prior_intermediate")
    assert model_with(**OPTIONS["levels"]).prior_intermediate.factor.shape == (M, M)


def test_missing_and_superfluous_latents_of_levels_are_refused():
    z_global, z_local, static, z_intermediate = (torch.zeros(2, dim) for dim in (G, L, S, M))
    levelled, plain = model_with(**OPTIONS["levels"]), model_with()
    with pytest.raises(UserError, match=rf"z_intermediate: .* pass their latent \[rows, {M}\].* but got None"):
        levelled.decode(z_global, z_local, static)
    with pytest.raises(UserError, match=rf"z_intermediate: the shape must be \[rows, {M}\], but got \[2, {M - 1}\]"):
        levelled.decode(z_global, z_local, static, z_intermediate[:, 1:])
    message = rf"z_intermediate: this model has no intermediate levels; leave it out, .* shape \[2, {M}\]"
    with pytest.raises(UserError, match=message):
        plain.decode(z_global, z_local, static, z_intermediate)
    with pytest.raises(UserError, match=message):
        plain.sample(z_intermediate=z_intermediate)
    with pytest.raises(UserError, match=rf"z_intermediate: for 3 conditions and n_samples=4 .* got \[2, {M}\]"):
        levelled.sample(torch.zeros(3, S), 4, z_intermediate=z_intermediate)


def test_all_options_work_in_each_precision_and_read_no_value_on_the_host():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = model_with(**EVERYTHING)(*batch(4))
    assert {value.dtype for value in out.values()} == {torch.float32}
    out = model_with(**EVERYTHING).double()(*(tensor.double() for tensor in batch(4)))
    assert {value.dtype for value in out.values()} == {torch.float64}
    out = model_with(**EVERYTHING).to("meta")(torch.empty(8, T, device="meta"), torch.empty(8, S, device="meta"))
    out["recon_signal"].sum().backward()
