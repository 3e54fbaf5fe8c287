"""The penalty against its closed forms, and its optimum where the recorded averages are noisy."""

import pytest
import torch
from scipy.fft import dct
from torch import Tensor

from hcvae.data.simulator import simulate
from hcvae.losses import denoised_swap_consistency
from hcvae.losses.denoised_swap_consistency import DenoisedSwapConsistency
from hcvae.waveform_attributes import AttributeReader

RATE = 20_000.0
N = 400


@pytest.fixture(scope="module")
def signals() -> Tensor:
    values = simulate(N, 3)["signal"].combine_chunks().values.to_numpy().reshape(N, 200)
    return torch.from_numpy((values - values.mean()) / values.std()).double()


@pytest.fixture(scope="module")
def swap(signals: Tensor) -> DenoisedSwapConsistency:
    return DenoisedSwapConsistency(signals, signals, RATE)


@pytest.fixture(scope="module")
def attributes(signals: Tensor) -> dict[str, Tensor]:
    """The attributes that the score reads."""
    found = AttributeReader.for_signals(signals.numpy(), RATE)(signals.numpy())
    return {name: torch.from_numpy(values) for name, values in found.items()}


def waveforms(attributes: dict[str, Tensor], **others: Tensor) -> Tensor:
    """Return waveforms with these attributes, some of them replaced."""
    attributes = attributes | others
    coefficients = [attributes["offset"], attributes["trend"], attributes["shape"] * attributes["gain"].exp()]
    together = torch.cat(coefficients, dim=1)
    return together @ torch.from_numpy(dct(torch.eye(together.shape[1]).double().numpy(), norm="ortho", axis=1)).T


def test_the_penalty_is_0_if_each_block_keeps_its_attributes(swap, signals, attributes):
    other = {name: values.roll(1, 0) for name, values in attributes.items()}
    exchanged_global = waveforms(other, shape=attributes["shape"])
    exchanged_local = waveforms(attributes, shape=other["shape"])
    assert swap(exchanged_global, exchanged_local, (signals, signals), N).item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("factor", [0, 0.25, 1, 6])
def test_average_attributes_cost_1_for_the_shape_and_the_factor_for_the_coarse_ones(signals, attributes, factor):
    swap = DenoisedSwapConsistency(signals, signals, RATE, factor)
    residual = attributes["shape"] * attributes["gain"].exp()
    average_shape = waveforms(attributes, shape=residual.mean(dim=0).expand_as(residual))
    power = (2 * attributes["gain"]).exp()
    means = {"gain": power.mean().log().expand_as(power) / 2}
    for name in ("offset", "trend"):
        means[name] = attributes[name].mean(dim=0).expand_as(attributes[name])
    average_coarse = waveforms(attributes, **means)
    assert swap(average_shape, signals, (signals, signals), N).item() == pytest.approx(1, rel=1e-3)
    assert swap(signals, average_coarse, (signals, signals), N).item() == pytest.approx(factor, rel=1e-2, abs=1e-5)


@pytest.mark.parametrize("name", ["offset", "trend", "gain"])
def test_each_coarse_attribute_has_a_third_of_the_weight(swap, signals, attributes, name):
    mean = attributes[name].mean(dim=0)
    if name == "gain":
        mean = (2 * attributes[name]).exp().mean().log() / 2
    decoded = waveforms(attributes, **{name: mean.expand_as(attributes[name])})
    assert swap(signals, decoded, (signals, signals), N).item() == pytest.approx(1 / 3, rel=1e-2)


def test_only_the_shape_counts_with_another_z_global_and_only_the_rest_with_another_z_local(swap, signals, attributes):
    other = {name: values.roll(1, 0) for name, values in attributes.items()}
    other_coarse = waveforms(other, shape=attributes["shape"])
    other_shape = waveforms(attributes, shape=other["shape"])
    assert swap(other_shape, signals, (signals, signals), N).item() > 0.5
    assert swap(signals, other_coarse, (signals, signals), N).item() > 0.5
    assert swap(other_coarse, other_shape, (signals, signals), N).item() == pytest.approx(0, abs=1e-5)


def noisy_averages(response: Tensor, n: int, noise: float) -> tuple[Tensor, Tensor]:
    """Return n pairs of averages of one response, with independent noise of this RMS."""
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, n, len(response), generator=generator, dtype=torch.float64)
    return response + noise * first, response + noise * second


@pytest.fixture(scope="module")
def response(signals: Tensor) -> Tensor:
    return signals[7] / signals[7].std()


def test_the_noise_of_the_averages_does_not_shift_the_optimal_gain(swap, response):
    signal, other = noisy_averages(response, 20_000, noise=1.0)
    slopes = {}
    for scale in (0.95, 1.0, 1.05):
        factor = torch.tensor(scale, dtype=torch.float64, requires_grad=True)
        decoded = (factor * response).expand_as(signal)
        swap._gain_error(*(swap._bands(each)[1] for each in (decoded, signal, other))).mean().backward()
        slopes[scale] = factor.grad.item()
    assert slopes[0.95] < 0 < slopes[1.05]
    assert abs(slopes[1.0]) < 0.05 * slopes[1.05]


def test_the_power_of_a_noisy_average_would_shift_the_optimal_gain(swap, response):
    signal, _ = noisy_averages(response, 2_000, noise=1.0)
    factor = torch.tensor(1.05, dtype=torch.float64, requires_grad=True)
    decoded = (factor * response).expand_as(signal)
    swap._gain_error(*(swap._bands(each)[1] for each in (decoded, signal, signal))).mean().backward()
    assert factor.grad.item() < 0


def test_the_noise_of_the_averages_does_not_shift_the_optimal_shape(swap, response):
    """Noise in one direction that overlaps with the response: the mean of normalised averages would turn towards it."""
    generator = torch.Generator().manual_seed(1)
    direction = torch.randn(200, generator=generator, dtype=torch.float64) + 0.1 * response
    signal, other = (response + torch.randn(20_000, 1, generator=generator) * direction for _ in range(2))
    slopes = {}
    for step in (-0.05, 0.0, 0.05):
        along = torch.tensor(step, dtype=torch.float64, requires_grad=True)
        decoded = (response + along * direction).expand_as(signal)
        swap(decoded, response.expand_as(signal), (signal, other), len(signal)).backward()
        slopes[step] = along.grad.item()
    assert slopes[-0.05] < 0 < slopes[0.05]
    assert abs(slopes[0.0]) < 0.2 * slopes[0.05]


@pytest.fixture(scope="module")
def pairs(signals: Tensor) -> tuple[Tensor, Tensor]:
    """Independent averages of 400 responses, with a fifth of their power as noise."""
    first, second = torch.randn(2, N, 200, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return signals + 0.45 * first, signals + 0.45 * second


def gain_errors(swap: DenoisedSwapConsistency, power: Tensor | float, pairs: tuple[Tensor, Tensor]) -> Tensor:
    """Return the error of each row if its decoded waveform has this power above 150 Hz."""
    first, second = (swap._bands(each)[1] for each in pairs)
    decoded = torch.zeros_like(first)
    decoded[:, 0] = torch.as_tensor(power, dtype=first.dtype).sqrt()
    return swap._gain_error(decoded, first, second)


def test_the_mean_power_costs_1_where_averages_are_noisy(pairs):
    swap = DenoisedSwapConsistency(*pairs, RATE)
    first, second = (swap._bands(each)[1] for each in pairs)
    mean_power = (first * second).sum(dim=1).mean()
    assert gain_errors(swap, mean_power, pairs).mean().item() == pytest.approx(1)


def test_rows_without_another_average_do_not_change_the_unit_of_the_gain(pairs, signals):
    alone = DenoisedSwapConsistency(*pairs, RATE)
    sample = DenoisedSwapConsistency(*(torch.cat([each, signals, signals]) for each in pairs), RATE)
    assert (sample.small_power, sample.gain_scale) == pytest.approx((alone.small_power, alone.gain_scale))


@pytest.mark.parametrize("noise", [0.3, 1.0, 3.0])
def test_the_truth_costs_no_more_than_the_mean_power_where_half_the_rows_have_no_response(signals, noise):
    responses = torch.cat([signals, torch.zeros_like(signals)])
    generator = torch.Generator().manual_seed(3)
    averages = [responses + noise * torch.randn(2 * N, 200, generator=generator, dtype=torch.float64) for _ in range(2)]
    swap = DenoisedSwapConsistency(*averages, RATE)
    true_power = swap._bands(responses)[1].square().sum(dim=1)
    assert gain_errors(swap, true_power, tuple(averages)).mean().item() < 1.05


@pytest.mark.parametrize("n_samples", [64, 100, 400])
def test_predicting_the_means_costs_1_for_each_direction_at_any_length(n_samples):
    """64 samples at 20 kHz have an offset and no trend."""
    generator = torch.Generator().manual_seed(4)
    signals = torch.randn(N, n_samples, generator=generator).cumsum(dim=1) * torch.rand(N, 1, generator=generator)
    swap = DenoisedSwapConsistency(signals, signals, RATE)
    low, residual = swap._bands(signals)
    mean_low = low.mean(dim=0).expand(N, -1)
    mean_shape = torch.cat([low, residual.mean(dim=0).expand(N, -1)], dim=1) @ swap.transform.T
    power = residual.square().sum(dim=1, keepdim=True)
    scaled = residual * (power.mean() / power).sqrt()
    mean_coarse = torch.cat([mean_low, scaled], dim=1) @ swap.transform.T
    assert swap(mean_shape, signals, (signals, signals), N).item() == pytest.approx(1, rel=0.01)
    assert swap(signals, mean_coarse, (signals, signals), N).item() == pytest.approx(1, rel=0.01)


def test_units_do_not_depend_on_further_rows_of_a_large_part(signals, monkeypatch):
    whole = DenoisedSwapConsistency(signals, signals, RATE)
    monkeypatch.setattr(denoised_swap_consistency, "MAX_ROWS", 150)
    some = DenoisedSwapConsistency(signals, signals, RATE)
    assert some.gain_scale == pytest.approx(whole.gain_scale, rel=0.3)
    assert some.gain_scale != whole.gain_scale


def test_a_response_counts_for_the_shape_in_proportion_to_its_size(swap, response, signals):
    decoded, recorded = swap._bands(signals[8:9])[1], swap._bands(response[None])[1]
    small = swap._shape_error(decoded, recorded)
    large = swap._shape_error(decoded, 3 * recorded)
    torch.testing.assert_close(3 * small, large)


def test_both_averages_count_equally(swap, signals):
    other = signals.roll(1, 0)
    assert swap(signals, signals, (signals, other), N).item() == pytest.approx(
        swap(signals, signals, (other, signals), N).item()
    )


def test_a_band_that_a_filter_emptied_does_not_count_more_than_it_holds(swap, signals):
    coefficients = signals @ swap.transform
    coefficients[:, :3] *= 1e-6
    emptied = coefficients @ swap.transform.T
    filtered = DenoisedSwapConsistency(emptied, emptied, RATE)
    expected = 1 / (1e-3 * coefficients.var(dim=0).sum())
    torch.testing.assert_close(filtered.low_weights, expected.expand(3), rtol=1e-5, atol=0)


def test_silent_waveforms_have_finite_gradients(swap):
    zeros = torch.zeros(4, 200, dtype=torch.float64)
    silent = zeros.clone().requires_grad_()
    swap(silent, silent, (zeros, zeros), 4).backward()
    assert silent.grad.isfinite().all()
