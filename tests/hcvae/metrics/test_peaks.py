import numpy as np
import pytest
from scipy.signal import argrelmax

from hcvae.metrics.peaks import peak_placement

RATE_HZ = 20_000.0
TIMES_MS = np.arange(200) / 20


def bumps(*latencies_ms):
    return sum(np.exp(-0.5 * ((TIMES_MS - latency) / 0.2) ** 2) for latency in latencies_ms)


def test_distances_by_hand():
    signals = np.stack([bumps(2.0, 6.0), bumps(2.0, 6.0), bumps(2.0, 6.0), bumps(2.0, 5.0)])
    latency_ms = np.array([[2.2, 6.0], [1.9, 6.4], [9.9, 4.9], [2.0, 7.0]])
    valid = np.array([[True, True], [True, True], [False, True], [True, True]])
    assert peak_placement(["I", "V"], latency_ms, valid, signals, RATE_HZ) == pytest.approx(
        {
            "impossible_peaks": 0.25,
            "peak_distance_ms_I": 0.1,  # of 0.2, 0.1, 0.0
            "far_peaks_I": 0.0,
            "peak_distance_ms_V": 0.75,  # of 0.0, 0.4, 1.1, 2.0
            "far_peaks_V": 0.5,
        }
    )


def test_the_nearest_maximum_is_scipy_s():
    random = np.random.default_rng(0)
    signals, latency_ms = random.normal(size=(301, 200)).cumsum(axis=1), random.uniform(0, 9.95, (301, 1))
    own = [TIMES_MS[argrelmax(signal)[0]] for signal in signals]
    distances = [np.abs(maxima - at).min() for maxima, at in zip(own, latency_ms, strict=True)]
    found = peak_placement(["III"], latency_ms, np.ones((301, 1), bool), signals, RATE_HZ)
    assert found["peak_distance_ms_III"] == pytest.approx(np.median(distances))


def test_a_waveform_without_a_maximum_is_far_from_every_peak():
    found = peak_placement(["V"], np.array([[5.0]]), np.array([[True]]), TIMES_MS[None], RATE_HZ)
    assert found == {"impossible_peaks": 0.0, "peak_distance_ms_V": 9.95, "far_peaks_V": 1.0}


def test_waves_without_valid_rows_have_no_distance():
    found = peak_placement(["V"], np.array([[-3.0]]), np.array([[False]]), bumps(6.0)[None], RATE_HZ)
    assert found == {"impossible_peaks": 1.0}
    assert peak_placement([], np.zeros((1, 0)), np.zeros((1, 0), bool), bumps(6.0)[None], RATE_HZ) == {}
