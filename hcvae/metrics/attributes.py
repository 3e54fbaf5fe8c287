"""Coarse and fine attributes of a waveform, read from its orthonormal DCT-II.

Shapes: N waveforms, T samples, K coefficients below 150 Hz (the offset among them).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct

from hcvae.errors import NotMeasurable, UserError

COARSE = ("offset", "trend", "gain")
FINE = ("shape",)
LOW_BAND_HZ = 150.0
RMS_FLOOR = 1e-12


@dataclass(frozen=True)
class AttributeReader:
    """Takes waveforms [N, T] apart into offset [N, 1], trend [N, K - 1], gain [N, 1] and shape [N, T - K].

    Shape is given by its DCT coefficients: the transform is orthonormal, so norms are those of the samples.
    """

    low_band: int
    """K: coefficients below 150 Hz; 0 is the offset, the others are the trend."""
    smallest_rms: float
    """Floor of the residual's RMS, in the waveforms' unit."""

    @classmethod
    def for_signals(cls, signals: NDArray[np.float64], sampling_rate_hz: float) -> "AttributeReader":
        """The reader for waveforms of this length, rate and scale.

        Raises:
            UserError: no coefficient at or above 150 Hz.
            NotMeasurable: waveforms that are all equal.
        """
        k = low_band(signals.shape[1], sampling_rate_hz)
        if not np.ptp(signals, axis=0).any():
            raise NotMeasurable(f"signals: waveforms must differ, but got {len(signals)} equal rows")
        return cls(k, RMS_FLOOR * float(np.sqrt(np.mean(signals**2))))

    def __call__(self, signals: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
        """The attributes of waveforms [..., T] by name; gain is the natural logarithm of the residual's RMS."""
        coefficients = dct(np.asarray(signals, dtype=np.float64), type=2, norm="ortho", axis=-1)
        residual = coefficients[..., self.low_band :]
        rms = np.sqrt(np.sum(residual**2, axis=-1, keepdims=True) / signals.shape[-1])
        rms = np.maximum(rms, self.smallest_rms)
        return {
            "offset": coefficients[..., :1],
            "trend": coefficients[..., 1 : self.low_band],
            "gain": np.log(rms),
            "shape": residual / rms,
        }


def low_band(n_samples: int, sampling_rate_hz: float) -> int:
    """K: how many DCT coefficients of a waveform of `n_samples` lie below 150 Hz.

    Raises:
        UserError: no coefficient at or above 150 Hz.
    """
    frequencies_hz = np.arange(n_samples) * sampling_rate_hz / (2 * n_samples)
    below = int(np.sum(frequencies_hz < LOW_BAND_HZ))
    if below == n_samples:
        raise UserError(
            f"sampling_rate_hz: a waveform must reach above {LOW_BAND_HZ:g} Hz to have a shape, but got "
            f"{sampling_rate_hz} Hz for {n_samples} samples; give the rate in Hz"
        )
    return below
