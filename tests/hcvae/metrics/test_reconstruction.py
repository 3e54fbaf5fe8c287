import numpy as np
import pytest
import torch
from scipy.stats import pearsonr
from sklearn.metrics import r2_score

from hcvae.errors import UserError
from hcvae.metrics.reconstruction import (
    correlation,
    cross_average_nmse,
    denoised_nmse,
    nmse,
    peak_errors,
    r2,
    reliability,
)


@pytest.fixture
def waves():
    """Recordings whose mean waveform is not flat, and predictions with a known error of standard deviation 0.5."""
    random = np.random.default_rng(0)
    target = random.standard_normal((400, 50)) + 3 * np.sin(np.arange(50)) + 7
    return target + 0.5 * random.standard_normal((400, 50)), target


def test_nmse_is_error_over_variance():
    target = np.array([[0.0, 2.0], [4.0, 6.0]])  # variance 5
    assert nmse(target + 1, target) == pytest.approx(1 / 5)
    assert nmse(np.full((2, 2), 3.0), target) == pytest.approx(1)


def test_nmse_of_groups_is_the_mean_of_theirs(waves):
    _, target = waves
    groups = np.repeat(["human", "mouse"], [100, 300])
    target = np.where(groups[:, None] == "human", target / 100, target)
    prediction = np.where(groups[:, None] == "human", target.mean(), target)  # ignores the humans
    human = target[:100]
    expected = (np.mean((target.mean() - human) ** 2) / human.var() + 0) / 2
    assert nmse(prediction, target, groups) == pytest.approx(expected)


def test_units_do_not_matter(waves):
    prediction, target = waves
    assert nmse(1000 * prediction, 1000 * target) == pytest.approx(nmse(prediction, target))


def test_r2_is_scikit_learns(waves):
    prediction, target = waves
    assert r2(prediction, target) == pytest.approx(r2_score(target, prediction, multioutput="variance_weighted"))
    assert r2(np.tile(target.mean(axis=0), (400, 1)), target) == pytest.approx(0)


def test_correlation_is_the_mean_of_scipys(waves):
    prediction, target = waves
    expected = np.mean([pearsonr(p, t).statistic for p, t in zip(prediction, target, strict=True)])
    assert correlation(prediction, target) == pytest.approx(expected)
    assert correlation(5 * prediction - 3, target) == pytest.approx(expected)


def test_a_flat_prediction_does_not_correlate(waves):
    _, target = waves
    assert correlation(np.ones_like(target), target) == 0


def test_copying_the_noise_does_not_lower_cross_average_nmse():
    random = np.random.default_rng(0)
    clean = 2 * random.standard_normal((2000, 50))
    first, second = clean + random.standard_normal((2, 2000, 50))
    assert cross_average_nmse(clean, second) == pytest.approx(1 / 5, abs=0.005)  # noise variance over 4 + 1
    assert cross_average_nmse(first, second) == pytest.approx(2 / 5, abs=0.005)
    assert nmse(first, first) == 0


def test_denoised_nmse_is_the_error_about_the_response_without_noise():
    random = np.random.default_rng(0)
    clean = 2 * random.standard_normal((4000, 50))
    first, second = clean + random.standard_normal((2, 4000, 50))
    signals, other = np.concatenate([first, second]), np.concatenate([second, first])
    predictions = {
        "ideal": (np.concatenate([clean, clean]), 0.0),
        "copies the noise": (signals, 1 / 4),  # noise variance 1 over response variance 4
        "mean": (np.zeros_like(signals), 1.0),
        "Wiener": (0.8 * signals, 0.2**2 + 0.8**2 / 4),
    }
    for name, (prediction, expected) in predictions.items():
        found = denoised_nmse(prediction, signals, other)
        assert found == pytest.approx(expected, abs=0.01), name
        against_clean = np.mean((prediction - np.concatenate([clean, clean])) ** 2) / np.var(clean)
        assert found == pytest.approx(against_clean, abs=0.01), name


def test_groups_count_equally_in_denoised_nmse():
    random = np.random.default_rng(0)
    scale = np.repeat([1.0, 100.0], 2000)[:, None]
    clean = random.standard_normal((4000, 50)) * scale
    noise = random.standard_normal((2, 4000, 50)) * scale * np.array([0.5, 1.0])[np.repeat([0, 1], 2000)][:, None]
    first, second = clean + noise
    groups = np.repeat(["a", "b"], 2000)
    assert reliability(first, second, groups) == pytest.approx([0.8, 0.5], abs=0.01)
    assert denoised_nmse(first, first, second, groups) == pytest.approx((0.25 + 1.0) / 2, abs=0.02)


def test_denoised_nmse_is_refused_for_averages_without_a_response():
    first, second = np.random.default_rng(0).standard_normal((2, 500, 50))
    with pytest.raises(UserError, match=r"reliability of 0\.1 or more, but got -?0\.0"):
        denoised_nmse(first, first, second)


def test_denoised_nmse_skips_rows_without_another_average():
    random = np.random.default_rng(0)
    clean = 2 * random.standard_normal((600, 50))
    first, second = clean + random.standard_normal((2, 600, 50))
    groups = np.arange(600) % 3
    alone = second.copy()
    alone[::2] = np.nan
    expected = denoised_nmse(first[1::2], first[1::2], second[1::2], groups[1::2])
    assert denoised_nmse(first, first, alone, groups) == pytest.approx(expected)
    with pytest.raises(UserError, match="none in 600 rows"):
        denoised_nmse(first, first, np.full_like(first, np.nan))


def test_cross_average_nmse_skips_rows_without_another_average(waves):
    prediction, target = waves
    groups = np.arange(400) % 3
    other = target.copy()
    other[::2] = np.nan
    expected = nmse(prediction[1::2], target[1::2], groups[1::2])
    assert cross_average_nmse(prediction, other, groups) == pytest.approx(expected)
    with pytest.raises(UserError, match="none in 400 rows"):
        cross_average_nmse(prediction, np.full_like(target, np.nan))


def test_peak_errors_by_wave():
    target = np.array([[1.5, 3.6, 5.6, 0.2, 0.3, 0.5], [1.7, np.nan, 5.9, 0.1, np.nan, 0.4], [np.nan] * 6])
    predicted = np.array([[1.6, 3.9, 5.6, 0.2, 0.1, 0.5], [1.4, 9.0, 6.4, 0.2, 9.0, 0.0], [9.0] * 6])
    mask = np.isfinite(target)
    mask[0, 4] = False
    assert peak_errors(predicted, target, mask) == pytest.approx(
        {
            "peak_latency_error_ms_I": 0.2,
            "peak_latency_error_ms_III": 0.3,
            "peak_latency_error_ms_V": 0.25,
            "peak_amplitude_error_uv_I": 0.05,
            "peak_amplitude_error_uv_V": 0.2,
        }
    )


def test_tensors_are_accepted(waves):
    prediction, target = waves
    assert nmse(torch.tensor(prediction), torch.tensor(target)) == pytest.approx(nmse(prediction, target))


@pytest.mark.parametrize("metric", [nmse, r2, correlation, cross_average_nmse])
def test_shapes_must_agree(metric):
    with pytest.raises(UserError, match=r"\(4, 9\), but got \(4, 10\)"):
        metric(np.ones((4, 10)), np.ones((4, 9)))


def test_targets_that_do_not_vary_are_refused():
    with pytest.raises(UserError, match=r"group mouse: .* variance 0 in 2 rows"):
        nmse(np.ones((4, 2)), np.array([[1, 2], [3, 4], [5, 5], [5, 5]]), ["human", "human", "mouse", "mouse"])
    with pytest.raises(UserError, match="4 equal rows"):
        r2(np.ones((4, 2)), np.tile([1.0, 2.0], (4, 1)))
