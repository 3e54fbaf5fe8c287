"""Losses against torch.distributions, plain loops and closed forms."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from hcvae.errors import UserError
from hcvae.losses.components import ROWS_AT_ONCE, alignment_loss, masked_peak_loss
from hcvae.losses.kl import equivalent_beta
from hcvae.losses.specification import enhanced_hierarchical_cvae_loss, hierarchical_kl_loss

WEIGHTS = {"reconstruction": 2.0, "static": 0.5, "global_kl": 0.03, "local_kl": 0.07, "peak": 1.5, "alignment": 0.2}


def posterior(rows, dim):
    return torch.randn(rows, dim, dtype=torch.float64), torch.randn(rows, dim, dtype=torch.float64)


def reference_kl(mu, logvar):
    return kl_divergence(Normal(mu, (0.5 * logvar).exp()), Normal(0.0, 1.0)).sum(dim=1)


def arguments(rows=9, samples=40, static=3):
    torch.manual_seed(0)
    (mu_g, logvar_g), (mu_l, logvar_l) = posterior(rows, 4), posterior(rows, 6)
    return {
        "recon_signal": torch.randn(rows, samples, dtype=torch.float64, requires_grad=True),
        "signals": torch.randn(rows, samples, dtype=torch.float64),
        "recon_static_params": torch.randn(rows, static, dtype=torch.float64),
        "static_params": torch.randn(rows, static, dtype=torch.float64),
        "mu_global": mu_g,
        "logvar_global": logvar_g,
        "mu_local": mu_l,
        "logvar_local": logvar_l,
        "predicted_peaks": torch.randn(rows, 6, dtype=torch.float64),
        "target_peaks": torch.randn(rows, 6, dtype=torch.float64),
        "peak_mask": torch.rand(rows, 6) > 0.5,
    }


def test_hierarchical_kl_has_one_value_for_each_waveform_and_agrees_with_torch_distributions():
    torch.manual_seed(0)
    wide, narrow = posterior(7, 5), posterior(7, 3)
    loss = hierarchical_kl_loss(*wide, *narrow, global_kl_weight=0.3, local_kl_weight=2.0)
    assert loss.shape == (7,)
    torch.testing.assert_close(loss, 0.3 * reference_kl(*wide) + 2.0 * reference_kl(*narrow))
    torch.testing.assert_close(hierarchical_kl_loss(*wide, *narrow), reference_kl(*wide) + reference_kl(*narrow))


def test_peak_loss_is_the_mean_over_labelled_values_that_are_not_nan():
    predicted = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    target = torch.tensor([[2.0, math.nan, 99.0], [4.5, 5.0, math.nan]])
    mask = torch.tensor([[True, True, False], [True, True, False]])
    assert masked_peak_loss(predicted, target, mask).item() == pytest.approx((1.0 + 0.5 + 0.0) / 3)
    assert masked_peak_loss(predicted, target).item() == pytest.approx((1.0 + 96.0 + 0.5 + 0.0) / 4)


@pytest.mark.parametrize("mask", [True, False])
def test_nan_targets_do_not_enter_the_gradient(mask):
    predicted = torch.zeros(2, 2, requires_grad=True)
    target = torch.tensor([[3.0, math.nan], [math.nan, -1.0]])
    masked_peak_loss(predicted, target, torch.full((2, 2), mask)).backward()
    expected = torch.tensor([[-0.5, 0.0], [0.0, 0.5]]) if mask else torch.zeros(2, 2)
    assert torch.equal(predicted.grad, expected)


def test_without_a_label_the_peak_loss_is_zero():
    predicted = torch.ones(3, 6, requires_grad=True)
    for n_peaks in (None, 0.0, torch.tensor(0.0)):
        loss = masked_peak_loss(predicted, torch.full((3, 6), math.nan), n_peaks=n_peaks)
        assert loss.item() == 0
        (gradient,) = torch.autograd.grad(loss, predicted)
        assert torch.equal(gradient, torch.zeros(3, 6))


def test_peak_loss_with_a_share_of_the_global_count_below_one():
    # One label over two workers: each divides by 0.5, and the mean of both is the global mean.
    predicted, target = torch.tensor([[2.0]]), torch.tensor([[5.0]])
    holder = masked_peak_loss(predicted, target, n_peaks=torch.tensor(0.5))
    other = masked_peak_loss(predicted, target, torch.tensor([[False]]), n_peaks=torch.tensor(0.5))
    assert (holder.item() + other.item()) / 2 == 3.0


def align_by_loop(reconstruction, target, max_shift):
    samples = len(target)
    best = math.inf
    for shift in range(-max_shift, max_shift + 1):
        shifted = np.zeros(samples)
        for k in range(samples):
            if 0 <= k - shift < samples:
                shifted[k] = reconstruction[k - shift]
        best = min(best, float(np.mean((shifted - target) ** 2)))
    return best


@pytest.mark.parametrize(("rows", "samples", "max_shift"), [(5, 60, 10), (3, 7, 10), (4, 33, 3)])
def test_alignment_loss_equals_a_plain_loop(rows, samples, max_shift):
    torch.manual_seed(0)
    reconstruction, target = torch.randn(rows, samples, dtype=torch.float64), torch.randn(rows, samples).double()
    expected = [align_by_loop(r, t, max_shift) for r, t in zip(reconstruction.numpy(), target.numpy(), strict=True)]
    np.testing.assert_allclose(alignment_loss(reconstruction, target, max_shift).numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("shift", [-10, -3, 0, 10])
def test_a_shifted_pulse_aligns_exactly(shift):
    pulse = torch.zeros(1, 100)
    pulse[0, 45:55] = torch.hann_window(10)
    assert alignment_loss(pulse.roll(shift, dims=1), pulse).item() == 0
    assert alignment_loss(pulse.roll(15, dims=1), pulse).item() > 0


def test_alignment_of_many_rows_is_that_of_each():
    torch.manual_seed(0)
    rows = ROWS_AT_ONCE + 3
    reconstruction, target = torch.randn(rows, 32), torch.randn(rows, 32)
    whole = alignment_loss(reconstruction, target)
    parts = torch.cat([alignment_loss(reconstruction[i::7], target[i::7]) for i in range(7)])
    order = torch.cat([torch.arange(rows)[i::7] for i in range(7)])
    torch.testing.assert_close(whole[order], parts)


def test_gradient_of_the_alignment_loss():
    torch.manual_seed(0)
    target = torch.randn(3, 24, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda x: alignment_loss(x, target, 4), torch.randn(3, 24, dtype=torch.float64, requires_grad=True)
    )


def test_components_are_the_plain_means():
    given = arguments()
    _, components = enhanced_hierarchical_cvae_loss(**given)
    arrays = {name: value.detach().numpy() for name, value in given.items()}
    labelled = arrays["peak_mask"]
    expected = {
        "reconstruction": np.mean((arrays["recon_signal"] - arrays["signals"]) ** 2),
        "static": np.mean((arrays["recon_static_params"] - arrays["static_params"]) ** 2),
        "global_kl": reference_kl(given["mu_global"], given["logvar_global"]).mean().item(),
        "local_kl": reference_kl(given["mu_local"], given["logvar_local"]).mean().item(),
        "peak": np.mean(np.abs(arrays["predicted_peaks"] - arrays["target_peaks"])[labelled]),
        "alignment": np.mean(
            [align_by_loop(r, t, 10) for r, t in zip(arrays["recon_signal"], arrays["signals"], strict=True)]
        ),
    }
    assert {name: value.item() for name, value in components.items()} == pytest.approx(expected, rel=1e-10)


def test_the_total_is_the_weighted_sum():
    total, components = enhanced_hierarchical_cvae_loss(**arguments(), loss_weights=WEIGHTS)
    assert total.item() == pytest.approx(sum(WEIGHTS[name] * value.item() for name, value in components.items()))
    total.backward()


def test_weights_that_are_not_given_are_the_specifications():
    total, _ = enhanced_hierarchical_cvae_loss(**arguments())
    spec = {"reconstruction": 1.0, "static": 1.0, "global_kl": 0.01, "local_kl": 0.01, "peak": 1.0, "alignment": 0.1}
    assert torch.equal(total, enhanced_hierarchical_cvae_loss(**arguments(), loss_weights=spec)[0])
    assert torch.equal(total, enhanced_hierarchical_cvae_loss(**arguments(), loss_weights={"peak": 1.0})[0])


def test_weights_may_be_tensors():
    as_tensors = {name: torch.tensor(weight, dtype=torch.float64) for name, weight in WEIGHTS.items()}
    torch.testing.assert_close(
        enhanced_hierarchical_cvae_loss(**arguments(), loss_weights=as_tensors)[0],
        enhanced_hierarchical_cvae_loss(**arguments(), loss_weights=WEIGHTS)[0],
    )


def test_an_unknown_weight_is_refused_with_a_suggestion():
    with pytest.raises(UserError, match=r"loss_weights\.global_lk: unknown component; did you mean 'global_kl'\?"):
        enhanced_hierarchical_cvae_loss(**arguments(), loss_weights={"global_lk": 1.0})


def test_without_peaks_the_component_is_zero():
    given = arguments()
    for missing in ("predicted_peaks", "target_peaks"):
        _, components = enhanced_hierarchical_cvae_loss(**{**given, missing: None})
        assert components["peak"].item() == 0


def test_the_head_on_the_latents_has_a_component_of_its_own_with_the_weight_of_static():
    given = arguments()
    without, _ = enhanced_hierarchical_cvae_loss(**given, loss_weights=WEIGHTS)
    guess = given["static_params"] + 2.0
    total, components = enhanced_hierarchical_cvae_loss(**given, loss_weights=WEIGHTS, recon_static_from_latents=guess)
    assert components["static_from_latents"].item() == pytest.approx(4.0)
    assert (total - without).item() == pytest.approx(WEIGHTS["static"] * 4.0)


def test_workers_with_global_denominators_average_to_one_worker():
    given = arguments()
    whole, _ = enhanced_hierarchical_cvae_loss(**given, loss_weights=WEIGHTS)
    labels = given["peak_mask"].sum()
    uneven = (slice(0, 2), slice(2, None))
    shares = [
        enhanced_hierarchical_cvae_loss(
            **{name: value[rows] for name, value in given.items()},
            loss_weights=WEIGHTS,
            n_rows=9 / 2,
            n_peaks=labels / 2,
        )[0]
        for rows in uneven
    ]
    torch.testing.assert_close((shares[0] + shares[1]) / 2, whole)


def test_no_tensor_value_is_read_on_the_host():
    # Meta tensors have no values: .item(), boolean indexing and branches on them raise.
    given = {name: value.detach().to("meta") for name, value in arguments().items()}
    given["recon_signal"].requires_grad_()
    count = torch.empty((), device="meta")
    total, _ = enhanced_hierarchical_cvae_loss(**given, n_rows=count, n_peaks=count)
    total.backward()


@pytest.mark.parametrize("name", ["recon_signal", "recon_static_params", "predicted_peaks", "peak_mask"])
def test_shapes_that_would_broadcast_are_refused(name):
    given = arguments()
    with pytest.raises(UserError, match="the shape must be that of"):
        enhanced_hierarchical_cvae_loss(**{**given, name: given[name][:, :1]})


def test_a_kl_weight_beside_a_mean_squared_error_is_the_beta_of_the_likelihood():
    # -log N(x; m, sigma2) + beta KL = T / (2 sigma2) * (MSE + w KL) + const, for any x, m and KL.
    torch.manual_seed(0)
    weight, samples, variance, kl = 0.03, 200, 0.08, torch.tensor([0.5, 3.0, 11.0], dtype=torch.float64)
    signals, means = torch.randn(2, 3, samples, dtype=torch.float64)
    beta = equivalent_beta(weight, samples, variance)
    objective = beta * kl - Normal(means, math.sqrt(variance)).log_prob(signals).sum(dim=1)
    ours = (signals - means).square().mean(dim=1) + weight * kl
    constant = samples / 2 * math.log(2 * math.pi * variance)
    torch.testing.assert_close(objective, samples / (2 * variance) * ours + constant)


def test_equivalent_beta_of_the_specifications_weight():
    assert equivalent_beta(0.01, 200, 1.0) == pytest.approx(1.0)
    assert equivalent_beta(0.01, 200, 0.08) == pytest.approx(12.5)
    with pytest.raises(UserError, match="residual_variance: must be above 0, but got 0"):
        equivalent_beta(0.01, 200, 0.0)
