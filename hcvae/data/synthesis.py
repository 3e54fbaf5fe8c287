"""Synthesis of band-limited waveforms from latencies and amplitudes of waves I to V, and labelling of their peaks.

Shapes: N recordings, T samples (200 at 20 kHz, from 0 to 9.95 ms after the click), R samples of the longer grid
before the filter, C components. All waveforms are float32, in uV.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import signal
from scipy.linalg import toeplitz

from hcvae.arrays import FloatArray
from hcvae.data.local_maxima import local_maxima

Waveforms = NDArray[np.float32]

SAMPLING_RATE_HZ = 20_000.0
SIGNAL_LENGTH = 200
BAND_HZ = (100.0, 1500.0)
TIMES_MS = np.arange(SIGNAL_LENGTH) * 1000.0 / SAMPLING_RATE_HZ
_RAW_LENGTH = 300  # the filter's output at 9.95 ms also depends on what follows

# One Gaussian each: wave (0 to 4), height relative to the wave, delay from its peak in ms, standard deviation in ms.
# Every wave has the trough that follows it; wave V rides on a slow wave and ends in the slow negativity at 10 ms.
_COMPONENTS = np.array(
    [
        (0, 1.00, 0.00, 0.17),
        (0, -0.45, 0.55, 0.22),
        (1, 1.00, 0.00, 0.17),
        (1, -0.35, 0.50, 0.22),
        (2, 1.00, 0.00, 0.20),
        (2, -0.50, 0.60, 0.25),
        (3, 1.00, 0.00, 0.16),
        (3, -0.35, 0.35, 0.16),
        (4, 1.00, 0.00, 0.25),
        (4, -0.50, 1.00, 0.40),
        (4, 0.30, -0.30, 0.80),
        (4, -0.35, 2.20, 0.90),
    ]
)
# Height of a wave before the filter that gives 1 uV from its peak to the following trough, after overlap and filter.
_HEIGHT_PER_UV = np.array([0.75, 0.80, 0.85, 0.75, 0.64])

_VISIBLE_UV = 0.02
_SEARCH_MS = 0.4


@cache
def _bandpass() -> NDArray[np.float32]:
    """Return the zero-phase band-pass as a matrix [R, T]: second-order Butterworth, forward and backward."""
    sections = signal.butter(2, BAND_HZ, "bandpass", fs=SAMPLING_RATE_HZ, output="sos")
    impulse = np.zeros(4001)
    impulse[2000] = 1.0
    response = signal.sosfiltfilt(sections, impulse)[2000:]
    return np.asarray(toeplitz(response[:_RAW_LENGTH], response[:SIGNAL_LENGTH]), dtype=np.float32)


@cache
def _noise_root() -> NDArray[np.float32]:
    """Return the symmetric square root [T, T] of the covariance of unit-variance noise: band-passed, 1/f power."""
    sections = signal.butter(2, BAND_HZ, "bandpass", fs=SAMPLING_RATE_HZ, output="sos")
    frequencies = np.fft.rfftfreq(8192, 1.0 / SAMPLING_RATE_HZ)
    gain = np.abs(signal.sosfreqz(sections, frequencies[1:], fs=SAMPLING_RATE_HZ)[1]) ** 2
    power = np.concatenate([[0.0], gain**2 / frequencies[1:]])
    covariance = np.fft.irfft(power)[:SIGNAL_LENGTH]
    values, vectors = np.linalg.eigh(toeplitz(covariance / covariance[0]))
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T, dtype=np.float32)


def response_waveforms(latency_ms: FloatArray, amplitude_uv: FloatArray, width: FloatArray) -> Waveforms:
    """Return noise-free responses [N, T] from latencies [N, 5], peak-to-trough amplitudes [N, 5] and widths [N]."""
    times = (np.arange(_RAW_LENGTH) * 1000.0 / SAMPLING_RATE_HZ).astype(np.float32)
    raw = np.zeros((len(width), _RAW_LENGTH), dtype=np.float32)
    for wave, height, delay, deviation in _COMPONENTS:
        index = int(wave)
        centre = (latency_ms[:, index] + delay * width).astype(np.float32)[:, None]
        spread = (deviation * width).astype(np.float32)[:, None]
        peak = (height * _HEIGHT_PER_UV[index] * amplitude_uv[:, index]).astype(np.float32)[:, None]
        raw += peak * np.exp(-0.5 * ((times - centre) / spread) ** 2)
    return raw @ _bandpass()


def noise_waveforms(rng: np.random.Generator, rms_uv: FloatArray) -> Waveforms:
    """Sample residual noise [N, T] of the expected RMS [N]: 1/f power, band-passed, independent between rows."""
    white = rng.standard_normal((len(rms_uv), SIGNAL_LENGTH), dtype=np.float32)
    return np.asarray((white @ _noise_root()) * rms_uv[:, None], dtype=np.float32)


def read_peaks(
    responses: Waveforms, expected_ms: FloatArray, amplitude_uv: FloatArray
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Label waves I to V on noise-free responses [N, T], as a clinician would.

    The peak of a wave is the local maximum nearest to `expected_ms` [N, 5], within 0.4 ms. There is none if the wave
    is smaller than 0.02 uV, has merged with a neighbour (the maximum then belongs to the nearer wave), or is after the
    window.

    Returns:
        Latency in ms and amplitude in uV, both NaN without a peak, and whether there is a peak; each [N, 5].
    """
    is_maximum = local_maxima(responses)
    times = TIMES_MS.astype(np.float32)
    sample = np.empty(expected_ms.shape, dtype=np.int64)
    distance = np.empty(expected_ms.shape)
    for wave in range(5):
        away = np.abs(times - expected_ms[:, wave, None].astype(np.float32))
        away = np.where(is_maximum, away, np.float32(np.inf))
        sample[:, wave] = away.argmin(axis=1)
        distance[:, wave] = away.min(axis=1)
    distance = np.where((amplitude_uv >= _VISIBLE_UV) & (distance <= _SEARCH_MS), distance, np.inf)
    valid = np.isfinite(distance)
    shared = sample[:, 1:] == sample[:, :-1]
    valid[:, 1:] &= ~(shared & (distance[:, 1:] > distance[:, :-1]))
    valid[:, :-1] &= ~(shared & (distance[:, :-1] >= distance[:, 1:]))
    latency = np.where(valid, TIMES_MS[sample], np.nan).astype(np.float32)
    value = np.where(valid, np.take_along_axis(responses, sample, axis=1), np.nan).astype(np.float32)
    return latency, value, valid
