"""Coarse and fine attributes of a waveform, computed from its orthonormal DCT-II.

The swap-routing score (`hcvae.metrics`) and the swap-consistency penalty (`hcvae.losses`) both use them.

Shapes: N waveforms, T samples, K coefficients below 150 Hz (including the offset).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct

from hcvae.arrays import FloatArray
from hcvae.errors import NotMeasurable, UserError

COARSE = ("offset", "trend", "gain")
FINE = ("shape",)
LOW_BAND_HZ = 150.0
NEGLIGIBLE_BAND = 1e-3
"""Share of the waveforms' variance below which a band is regarded as removed by a filter."""
RMS_FLOOR = 1e-12
"""Floor of the residual's RMS, relative to the RMS of all waveforms."""


@dataclass(frozen=True)
class AttributeReader:
    """Decomposes waveforms [N, T] into offset [N, 1], trend [N, K - 1], gain [N, 1] and shape [N, T - K].

    The shape is given by its DCT coefficients: the transform is orthonormal, so norms equal those of the samples.
    """

    low_band: int
    """K: coefficients below 150 Hz. The first is the offset, the others are the trend."""
    smallest_rms: float
    """Floor of the residual's RMS, in the unit of the waveforms."""

    @classmethod
    def for_signals(cls, signals: FloatArray, sampling_rate_hz: float) -> "AttributeReader":
        """Return the reader for waveforms of this length, rate and scale.

        Raises:
            UserError: no coefficient at or above 150 Hz.
            NotMeasurable: all waveforms are equal.
        """
        k = low_band(signals.shape[1], sampling_rate_hz)
        if not np.ptp(signals, axis=0).any():
            raise NotMeasurable(f"signals: waveforms must differ, but got {len(signals)} equal rows")
        return cls(k, RMS_FLOOR * float(np.sqrt(np.mean(signals**2))))

    def __call__(self, signals: NDArray[Any]) -> dict[str, FloatArray]:
        """Return the attributes of waveforms [..., T] by name; gain is the natural logarithm of the residual's RMS."""
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
    """Return K, the number of DCT coefficients below 150 Hz of a waveform with `n_samples`.

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
