"""The objective and the training step: each option against what it is defined to be."""

from dataclasses import replace

import pytest
import torch

from hcvae.config import Config
from hcvae.data.dataset import Dataset, prepare
from hcvae.losses import DenoisedSwapConsistency, enhanced_hierarchical_cvae_loss, free_bits
from hcvae.models import build
from hcvae.training.configuration import resolve
from hcvae.training.loop import fit
from hcvae.training.objective import Objective
from hcvae.training.schedule import component_weights
from hcvae.training.step import TrainingStep
from hcvae.training.tensors import PartTensors

SMALL = {"width": 0.05, "global_latent_dim": 4, "local_latent_dim": 8, "dropout": 0}


def config(model=None, **training) -> Config:
    return Config.model_validate(
        {
            "model": SMALL | (model or {}),
            "data": {"simulator": {"rows": 1200}},
            "training": {"epochs": 4, "batch_size": 64, "early_stopping_patience": None} | training,
        }
    )


@pytest.fixture(scope="module")
def data() -> Dataset:
    return prepare(config())


def one_step(data, changed: Config, n_rows=32):
    """The step module, the rows, and what it makes of them with noise of its own."""
    changed = resolve(changed, data, 1)
    torch.manual_seed(0)
    train = PartTensors.of(data.train, torch.device("cpu"))
    module = TrainingStep(changed, build(changed.model), train, 20_000.0)
    batch = train.take(torch.arange(n_rows))
    noise = tuple(torch.randn(n_rows, dim) for dim in module.model.latent_dims.values())
    weights = component_weights(changed, changed.training.loss_weights)
    return module, batch, noise, module(batch, noise, weights, n_rows, batch.peak_mask.sum())


def test_without_options_it_is_the_specifications_loss(data):
    module, batch, noise, (total, components) = one_step(
        data, config(loss_weights={"swap": 0, "global_kl": 0.01, "local_kl": 0.01})
    )
    output = module.model(batch.signals, batch.static, noise)
    expected, _ = enhanced_hierarchical_cvae_loss(
        output["recon_signal"],
        batch.signals,
        output["recon_static_params"],
        batch.static,
        output["mu_global"],
        output["logvar_global"],
        output["mu_local"],
        output["logvar_local"],
        output["predicted_peaks"],
        batch.peaks,
        batch.peak_mask,
    )
    torch.testing.assert_close(total, expected)
    assert "swap" not in components


def test_another_average_of_the_response_may_be_the_target(data):
    plain, loss = {"batch_norm": False}, {"loss_weights": {"swap": 0}}
    *_, (_, own) = one_step(data, config(plain, **loss))
    module, batch, noise, (_, other) = one_step(data, config(plain, target="other_average", **loss))
    decoded = module.model(batch.signals, batch.static, noise)["recon_signal"]
    torch.testing.assert_close(other["reconstruction"], (decoded - batch.response).square().mean())
    torch.testing.assert_close(own["reconstruction"], (decoded - batch.signals).square().mean())


def test_swaps_exchange_one_latent_with_a_neighbours(data):
    module, batch, noise, (total, components) = one_step(data, config({"batch_norm": False}))
    latents = module.model.sample_posterior(module.model.encode(batch.signals, batch.static), noise)
    order = [31, *range(31)]
    z_global, z_local = latents["z_global"], latents["z_local"]
    exchanged_global = module.model.decode(z_global[order], z_local, batch.static)["recon_signal"]
    exchanged_local = module.model.decode(z_global, z_local[order], batch.static)["recon_signal"]
    averages = (batch.signals, batch.response)
    torch.testing.assert_close(components["swap"], module.swap(exchanged_global, exchanged_local, averages, 32))
    without, _ = module.objective(
        module.model(batch.signals, batch.static, noise), batch, n_peaks=batch.peak_mask.sum()
    )
    torch.testing.assert_close(total, without + 2 * components["swap"])


def test_denoised_targets_are_an_option(data):
    module, batch, noise, (_, components) = one_step(data, config({"batch_norm": False}, swap_targets="denoised"))
    part = PartTensors.of(data.train, torch.device("cpu"))
    expected = DenoisedSwapConsistency(part.signals, part.response, 20_000.0)
    latents = module.model.sample_posterior(module.model.encode(batch.signals, batch.static), noise)
    order = [31, *range(31)]
    exchanged = []
    for block in ("z_global", "z_local"):
        others = latents | {block: latents[block][order]}
        exchanged.append(module.model.decode(**others, static_params=batch.static)["recon_signal"])
    torch.testing.assert_close(components["swap"], expected(*exchanged, (batch.signals, batch.response), 32))


def test_learned_scales_make_kl_weights_betas_whatever_the_unit(data):
    kl = {"global_kl": 0.5, "local_kl": 2.0}
    others = {"static": 0, "peak": 0, "alignment": 0, "swap": 0}
    weights = {"loss_weights": kl | others}
    module, _, _, (total, parts) = one_step(data, config(learned_scales="reconstruction", **weights))
    elbo = 200 * (parts["reconstruction"] / 2) + 0.5 * parts["global_kl"] + 2 * parts["local_kl"]  # at scale 1
    torch.testing.assert_close(total, elbo / 200)
    assert module.objective.beta(0.5, 0.01) == 0.5
    total.backward()
    assert module.objective.scales.log_scales["reconstruction"].grad is not None


def test_learned_peak_scale_is_left_alone_without_labels(data):
    module, batch, noise, _ = one_step(data, config(learned_scales="all"))
    unlabelled = replace(batch, peak_mask=torch.zeros_like(batch.peak_mask))
    total, _ = module(unlabelled, noise, module.objective.weights, 32, 1)
    total.backward()
    assert module.objective.scales.log_scales["peak"].grad.item() == 0
    assert module.objective.scales.log_scales["static"].grad.item() != 0


def test_free_bits_enter_the_total_and_the_true_divergence_is_reported(data):
    module, batch, noise, (plain, components) = one_step(data, config())
    module, _, _, (total, reported) = one_step(data, config(free_bits=0.7))
    output = module.model(batch.signals, batch.static, noise)
    extra = sum(free_bits(output[f"mu_{b}"], output[f"logvar_{b}"], 0.7) for b in ("global", "local"))
    extra = extra - components["global_kl"] - components["local_kl"]
    torch.testing.assert_close(total - plain, 0.003 * extra, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(reported["global_kl"], components["global_kl"])


def test_the_weight_of_the_coarse_direction_reaches_the_penalty(data):
    errors = {}
    for factor in (0, 1, 3):
        _, _, _, (_, components) = one_step(data, config(loss_weights={"swap": 2, "swap_coarse_factor": factor}))
        errors[factor] = components["swap"].item()
    assert errors[1] > errors[0] > 0
    assert errors[3] - errors[0] == pytest.approx(3 * (errors[1] - errors[0]), rel=1e-4)


def test_a_standard_model_has_no_swap_term(data):
    *_, (_, components) = one_step(data, config({"model_type": "standard"}))
    assert "swap" not in components


def test_total_correlation_is_a_term_of_its_own(data):
    _, _, _, (plain, _) = one_step(data, config())
    _, _, _, (total, components) = one_step(data, config(loss_weights={"total_correlation": 0.3}))
    torch.testing.assert_close(total, plain + 0.3 * components["total_correlation"])


OPTIONS = [
    {"learned_scales": "reconstruction", "loss_weights": {"global_kl": 1, "local_kl": 1}},
    {"learned_scales": "all"},
    {"free_bits": 0.1},
    {"loss_weights": {"total_correlation": 0.01}},
    {"model": {"intermediate_levels": 2, "intermediate_latent_dim": 3}},
    {"model": {"attention": True}},
    {"model": {"local_segments": 4}},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_option_trains_and_reports(data, tmp_path, options):
    options = dict(options)
    chosen = config(options.pop("model", None), checkpoint_every_epochs=1, **options)
    whole = fit(chosen, data, tmp_path / "whole")
    assert whole.history[-1]["train_loss"] < whole.history[0]["train_loss"] or whole.history[0]["phase"] == 1
    assert all(torch.isfinite(torch.tensor(list(epoch.values()))).all() for epoch in whole.history)
    for block in whole.model.latent_dims:
        assert {f"train_{block}_kl", f"{block}_kl", f"{block}_active_units"} <= whole.history[-1].keys()


def test_swap_consistency_raises_the_score(data, tmp_path):
    plain = fit(config(epochs=16, loss_weights={"swap": 0}), data, tmp_path / "plain")
    swapped = fit(config(epochs=16), data, tmp_path / "swapped")
    assert swapped.metrics["disentanglement"] > 0.6
    assert swapped.metrics["disentanglement"] > plain.metrics["disentanglement"] + 0.3
    assert swapped.metrics["cross_average_nmse"] < 1


def test_objective_without_draws_leaves_the_penalties_out(data):
    chosen = resolve(config(loss_weights={"total_correlation": 1.0}), data, 1)
    model = build(chosen.model).eval()
    part = PartTensors.of(data.validation, torch.device("cpu"))
    means = model.encode(part.signals, part.static)
    decoded = model.decode(means["mu_global"], means["mu_local"], part.static)
    _, components = Objective(chosen)(means | decoded, part)
    assert set(components) == {"reconstruction", "static", "global_kl", "local_kl", "peak", "alignment"}


def test_the_wanted_response_is_the_other_half_of_the_recording(data):
    part, tensors = data.train, PartTensors.of(data.train, torch.device("cpu"))
    paired = part.independent >= 0
    assert paired.mean() > 0.9
    torch.testing.assert_close(tensors.response[paired].numpy(), part.signals[part.independent[paired]])
    torch.testing.assert_close(tensors.response[~paired], tensors.signals[~paired])
    assert not torch.equal(tensors.response, tensors.signals)
    batch = tensors.take(torch.tensor([5, 700, 5]))
    torch.testing.assert_close(batch.response, tensors.response[[5, 700, 5]])
    assert tensors.averages.data_ptr() == tensors.signals.data_ptr() == part.signals.ctypes.data  # no copy of the part
