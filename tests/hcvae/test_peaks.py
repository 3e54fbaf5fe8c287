"""The one rule of which predicted peaks are valid."""

import math

import numpy as np
import pytest
import torch

import hcvae
from hcvae.data.labelled_peaks import PeakLimits, PeakRange
from hcvae.peaks import placement_of_predicted, valid_waves
from tests.fixtures.bundles import VERSION_1


@pytest.fixture(scope="module")
def preprocessing():
    """32 samples at 3333 Hz: 0 to 9.3 ms."""
    return hcvae.load(VERSION_1).preprocessing


CASES = {
    "in order": ([1.7, 3.9, 5.9], [True, True, True]),
    "at the ends of the window": ([0.0, 3.9, 9.3], [True, True, True]),
    "before the stimulus": ([-0.01, 3.9, 5.9], [False, True, True]),
    "after the last sample": ([1.7, 3.9, 9.31], [True, True, False]),
    "I and III crossed": ([4.0, 3.9, 5.9], [False, False, True]),
    "III and V crossed": ([1.7, 6.0, 5.9], [True, False, False]),
    "V before both": ([1.7, 3.9, 1.0], [False, False, False]),
    "two at one time": ([1.7, 1.7, 5.9], [False, False, True]),
    "one that is outside crosses none": ([1.7, 30.0, 5.9], [True, False, True]),
    "not finite": ([math.nan, 3.9, math.inf], [False, True, False]),
}


@pytest.mark.parametrize(("latency_ms", "expected"), CASES.values(), ids=CASES)
def test_valid_waves(preprocessing, latency_ms, expected):
    peaks = torch.tensor([[*latency_ms, 0.1, -0.2, 0.3]] * 2)
    assert valid_waves(peaks, preprocessing).tolist() == [expected] * 2


def test_an_amplitude_that_is_not_finite_and_a_wave_that_was_never_labelled_are_not_valid(preprocessing):
    peaks = torch.tensor([[1.7, 3.9, 5.9, 0.1, math.nan, 0.3]])
    assert valid_waves(peaks, preprocessing).tolist() == [[True, False, True]]
    only_v = preprocessing.model_copy(update={"labelled_waves": ("V",)})
    crossed = torch.tensor([[8.0, 7.0, 5.9, 0.1, 0.2, 0.3]])
    assert valid_waves(crossed, only_v).tolist() == [[False, False, True]]


@pytest.mark.parametrize(
    ("latency_ms", "amplitude_uv", "valid"),
    [(5.0, 0.5, True), (4.0, -0.3, True), (7.0, 1.0, True), (3.9, 0.5, False), (7.1, 0.5, False), (5.0, 1.1, False)],
)
def test_a_wave_outside_the_limits_of_the_labels_is_not_valid(preprocessing, latency_ms, amplitude_uv, valid):
    limits = {"V": PeakLimits(latency_ms=(4, 7), amplitude_uv=(-0.3, 1))}
    limited = preprocessing.model_copy(update={"peak_limits": limits})
    peaks = torch.tensor([[1.7, 3.0, latency_ms, 50.0, 50.0, amplitude_uv]])
    assert valid_waves(peaks, limited).tolist() == [[True, True, valid]]


def test_limits_extend_the_range_of_the_labels():
    peaks = np.array([[1.5, 0, 5.0, 0.2, 0, -0.1], [1.7, 0, 7.5, 0.3, 0, 0.5], [9.9, 0, 9.9, 9.9, 0, 9.9]], np.float32)
    mask = np.array([[True, False, True] * 2, [True, False, True] * 2, [False] * 6])
    parts = [PeakRange.of(peaks[rows], mask[rows]) for rows in ([0], [1, 2], [])]
    limits = parts[0].merged(parts[1]).merged(parts[2]).limits()
    assert limits.keys() == {"I", "V"}
    assert limits["I"].latency_ms == pytest.approx((0.5, 2.7))  # by 1 ms, more than the range of 0.2 ms
    assert limits["I"].amplitude_uv == pytest.approx((-0.4, 0.9))  # by twice the largest, 0.3 uV
    assert limits["V"].latency_ms == pytest.approx((3.75, 8.75))  # by half the range, 1.25 ms
    assert limits["V"].amplitude_uv == pytest.approx((-1.1, 1.5))


def test_placement_uses_labelled_waves_only(preprocessing):
    only_v = preprocessing.model_copy(update={"labelled_waves": ("V",)})
    signals = torch.zeros(1, 32)
    signals[0, 20] = 1.0  # 6.0 ms
    found = placement_of_predicted(torch.tensor([[8.0, 7.0, 5.9, 0.1, 0.2, 0.3]]), signals, only_v)
    assert found == pytest.approx({"impossible_peaks": 0, "peak_distance_ms_V": 0.1, "far_peaks_V": 0}, abs=1e-6)
    none = preprocessing.model_copy(update={"labelled_waves": ()})
    assert placement_of_predicted(torch.zeros(1, 6), signals, none) == {}
