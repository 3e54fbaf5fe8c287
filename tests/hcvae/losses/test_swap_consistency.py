"""The penalty's attributes against those of the score, and its value where it is known."""

import pytest
import torch

from hcvae.data.simulator import simulate
from hcvae.losses.swap_consistency import SwapConsistency
from hcvae.waveform_attributes import AttributeReader

RATE = 20_000.0


@pytest.fixture(scope="module")
def signals():
    values = simulate(400, 3)["signal"].combine_chunks().values.to_numpy().reshape(400, 200)
    return torch.from_numpy((values - values.mean()) / values.std()).double()


@pytest.fixture(scope="module")
def swap(signals):
    return SwapConsistency(signals, RATE)


def compose(swap, coarse_of, fine_of):
    """Waveforms with the coarse attributes of one batch and the shape of another."""
    coarse, fine = swap.attributes(coarse_of), swap.attributes(fine_of)
    coefficients = [coarse["offset"], coarse["trend"], fine["shape"] * coarse["gain"].exp()]
    return torch.cat(coefficients, dim=1) @ swap.transform.T


def test_attributes_are_those_of_the_score(swap, signals):
    expected = AttributeReader.for_signals(signals.numpy(), RATE)(signals.numpy())
    for name, values in swap.attributes(signals).items():
        torch.testing.assert_close(values, torch.from_numpy(expected[name]), rtol=1e-4, atol=1e-4, msg=name)


def test_the_penalty_is_0_if_each_block_keeps_its_attributes(swap, signals):
    other = signals.roll(1, 0)
    exchanged_global = compose(swap, coarse_of=other, fine_of=signals)
    exchanged_local = compose(swap, coarse_of=signals, fine_of=other)
    assert swap(exchanged_global, exchanged_local, (signals,), len(signals)).item() == pytest.approx(0, abs=1e-3)


def test_exchanged_roles_cost_twice_the_variance_of_every_attribute(swap, signals):
    # Independent rows differ by twice the variance.
    order = torch.randperm(len(signals), generator=torch.Generator().manual_seed(0))
    other = signals[order]
    exchanged_global = compose(swap, coarse_of=signals, fine_of=other)
    exchanged_local = compose(swap, coarse_of=other, fine_of=signals)
    assert swap(exchanged_global, exchanged_local, (signals,), len(signals)).item() == pytest.approx(4, rel=0.15)


@pytest.mark.parametrize("factor", [0, 0.25, 1, 6])
def test_the_factor_weights_only_the_direction_that_must_keep_the_coarse_attributes(swap, signals, factor):
    weighted = SwapConsistency(signals, RATE, factor)
    other = signals.roll(1, 0)
    shape_error = (swap.attributes(other)["shape"] - swap.attributes(signals)["shape"]).square().sum(dim=1).mean()
    shape_error = shape_error / swap.attributes(signals)["shape"].var(dim=0).sum()
    coarse_errors = []
    for name in ("offset", "trend", "gain"):
        wanted = swap.attributes(signals)[name]
        error = (swap.attributes(other)[name] - wanted).square().sum(dim=1).mean()
        coarse_errors.append(error / wanted.var(dim=0).sum())
    coarse_error = sum(coarse_errors) / 3
    n = len(signals)
    assert weighted(other, signals, (signals,), n).item() == pytest.approx(shape_error.item())
    assert weighted(signals, other, (signals,), n).item() == pytest.approx(factor * coarse_error.item())
    both = weighted(other, other, (signals,), n).item()
    assert both == pytest.approx(shape_error.item() + factor * coarse_error.item())


def test_every_average_of_the_response_counts_equally(swap, signals):
    other = signals.roll(1, 0)
    one, two, both = (swap(signals, signals, averages, 400) for averages in ((signals,), (other,), (signals, other)))
    assert one.item() == pytest.approx(0, abs=1e-6)
    assert both.item() == pytest.approx(two.item() / 2)


def test_the_average_attributes_cost_one_variance(swap, signals):
    wanted = swap.attributes(signals)
    mean = {name: values.mean(dim=0, keepdim=True).expand_as(values) for name, values in wanted.items()}
    errors = swap._errors(("offset", "trend", "gain"), mean, wanted)
    assert errors.mean().item() == pytest.approx(1, rel=0.01)


def test_a_band_that_a_filter_emptied_does_not_count_more_than_it_holds(signals):
    spectrum = SwapConsistency(signals, RATE)
    coefficients = signals @ spectrum.transform
    coefficients[:, :3] *= 1e-6
    filtered = SwapConsistency(coefficients @ spectrum.transform.T, RATE)
    total = coefficients.var(dim=0).sum().item()
    assert filtered.variances["offset"] == pytest.approx(1e-3 * total)
    assert filtered.variances["trend"] == pytest.approx(1e-3 * total)


def test_silent_waveforms_have_finite_gradients(swap):
    silent = torch.zeros(4, 200, dtype=torch.float64, requires_grad=True)
    swap(silent, silent, (torch.zeros(4, 200, dtype=torch.float64),), 4).backward()
    assert silent.grad.isfinite().all()
