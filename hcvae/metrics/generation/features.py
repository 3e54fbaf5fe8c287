"""Clinical features of auditory brainstem responses, computed by a fixed rule for every waveform.

Shapes: N waveforms, T samples from the stimulus onset, P waves, F features.
"""

from collections.abc import Mapping
from itertools import combinations
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.fft import dct
from scipy.ndimage import minimum_filter1d

from hcvae.arrays import FloatArray
from hcvae.data.local_maxima import local_maxima
from hcvae.errors import UserError
from hcvae.metrics.checks import checked_table

HUMAN_CLICK_WINDOWS_MS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"I": (1.0, 2.8), "III": (3.2, 4.8), "V": (4.9, 8.5)}
)
"""First and last latency of each wave for human clicks of 40 dB nHL and above. They were chosen on simulated waveforms
(docs/simulator.md), where they contain 99, 91 and 99.8 % of the labelled peaks: in wider windows, wave II would more
often be picked for I, and wave IV for III."""
TROUGH_WITHIN_MS = 1.5
"""Time after a peak in which its trough lies."""
BANDS_HZ = ((0.0, 150.0), (150.0, 300.0), (300.0, 600.0), (600.0, 1000.0), (1000.0, 1500.0))
POWER_FLOOR_UV2 = 1e-12


def physiological_features(
    signals_uv: ArrayLike,
    sampling_rate_hz: float,
    windows_ms: Mapping[str, tuple[float, float]] = HUMAN_CLICK_WINDOWS_MS,
) -> tuple[FloatArray, tuple[str, ...]]:
    """Return latencies, amplitudes, intervals between waves, band powers and offset.

    A wave is the largest local maximum inside its window, or the window's largest sample if there is no maximum: below
    threshold that is noise, for recorded and generated waveforms alike. Amplitude is from the peak to the lowest
    sample of the following 1.5 ms (peak to trough; Picton 2010), independent of the offset. Power in a band is the sum
    of squares of its orthonormal DCT-II coefficients over T, without the offset.

    Args:
        signals_uv: waveforms in uV, the first sample at the stimulus onset, [N, T].
        sampling_rate_hz: samples per second.
        windows_ms: for each wave the first and last latency in ms; the default is for clicks in human adults.

    Returns:
        Features [N, F] and their names: `latency_I_ms`, ..., `amplitude_I_uv`, ..., `interval_I_III_ms`, ...,
        `log_power_0_150_hz` (natural logarithm of uV^2), ..., `offset_uv`. Bands without a coefficient, as in
        short waveforms, are left out.

    Raises:
        UserError: waveforms that are not [N, T] or not finite, or a window that is not inside them.
    """
    signals = checked_table("signals_uv", signals_uv)
    picked = _picked_samples(signals, sampling_rate_hz, windows_ms)
    height = _peak_to_trough(signals, sampling_rate_hz)
    columns = {f"latency_{wave}_ms": sample * 1000.0 / sampling_rate_hz for wave, sample in picked.items()}
    for wave, sample in picked.items():
        columns[f"amplitude_{wave}_uv"] = np.take_along_axis(height, sample[:, None], axis=1)[:, 0]
    for first, second in combinations(picked, 2):
        columns[f"interval_{first}_{second}_ms"] = columns[f"latency_{second}_ms"] - columns[f"latency_{first}_ms"]
    columns |= _log_powers(signals, sampling_rate_hz)
    columns["offset_uv"] = signals.mean(axis=1)
    return np.column_stack(list(columns.values())), tuple(columns)


def _picked_samples(
    signals: FloatArray, sampling_rate_hz: float, windows_ms: Mapping[str, tuple[float, float]]
) -> dict[str, NDArray[np.intp]]:
    """Return the index of each wave's peak, [N] for each of the P waves."""
    times_ms = np.arange(signals.shape[1]) * 1000.0 / sampling_rate_hz
    is_maximum = local_maxima(signals)
    picked = {}
    for wave, (start_ms, stop_ms) in windows_ms.items():
        inside = np.flatnonzero((times_ms >= start_ms) & (times_ms <= stop_ms))
        if not (len(inside) and start_ms >= 0 and stop_ms <= times_ms[-1]):
            raise UserError(
                f"windows_ms[{wave!r}]: must lie inside the waveforms, 0 to {times_ms[-1]:g} ms, and contain a sample, "
                f"but got {(start_ms, stop_ms)}; check sampling_rate_hz ({sampling_rate_hz:g} Hz)"
            )
        window = signals[:, inside]
        maxima = np.where(is_maximum[:, inside], window, -np.inf)
        has_none = np.isneginf(maxima).all(axis=1, keepdims=True)
        picked[wave] = inside[np.where(has_none, window, maxima).argmax(axis=1)]
    return picked


def _peak_to_trough(signals: FloatArray, sampling_rate_hz: float) -> FloatArray:
    """Return each sample minus the lowest within the following 1.5 ms, [N, T]."""
    size = round(TROUGH_WITHIN_MS * sampling_rate_hz / 1000.0) + 1
    return signals - minimum_filter1d(signals, size, axis=1, origin=-(size // 2), mode="nearest")


def _log_powers(signals: FloatArray, sampling_rate_hz: float) -> dict[str, FloatArray]:
    n_samples = signals.shape[1]
    power = dct(signals, type=2, norm="ortho", axis=1) ** 2 / n_samples
    frequency_hz = np.arange(n_samples) * sampling_rate_hz / (2 * n_samples)
    powers = {}
    for low_hz, high_hz in BANDS_HZ:
        inside = (frequency_hz >= low_hz) & (frequency_hz < high_hz) & (frequency_hz > 0)
        if inside.any():
            band_power = np.maximum(power[:, inside].sum(axis=1), POWER_FLOOR_UV2)
            powers[f"log_power_{low_hz:g}_{high_hz:g}_hz"] = np.log(band_power)
    return powers
