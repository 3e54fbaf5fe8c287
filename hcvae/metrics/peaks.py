"""The plausibility of predicted peaks: whether they lie on the waveforms decoded with them.

Shapes: N waveforms, T samples, W waves.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcvae.data.local_maxima import local_maxima

FAR_MS = 1.0
"""About the interval between waves: a predicted peak farther from every maximum of its waveform belongs to none."""


def peak_placement(
    waves: Sequence[str],
    latency_ms: NDArray[np.floating[Any]],
    valid: NDArray[np.bool_],
    signals: NDArray[np.floating[Any]],
    sampling_rate_hz: float,
) -> dict[str, float]:
    """Return measures of how well predicted peaks agree with their own waveforms.

    Args:
        waves: names of the W waves that were labelled in training.
        latency_ms: predicted latencies, [N, W].
        valid: which latencies are possible, see `hcvae.peaks.valid_waves`, [N, W].
        signals: decoded waveforms in any unit, without residual noise, the first sample at 0 ms, [N, T].
        sampling_rate_hz: samples per second.

    Returns:
        `impossible_peaks`, the share of waveforms with a wave that is not valid; for each wave, over its valid rows,
        `peak_distance_ms_V`, the median distance from the nearest local maximum of the waveform, and `far_peaks_V`, the
        share farther than 1 ms from it. A wave without valid rows has no entries; without waves the result is empty.
    """
    if not waves:
        return {}
    measures = {"impossible_peaks": float(np.mean(~valid.all(axis=1)))}
    times_ms = np.arange(signals.shape[1]) * 1e3 / sampling_rate_hz
    is_maximum = local_maxima(signals)
    for name, latency, rows in zip(waves, latency_ms.T, valid.T, strict=True):
        if rows.any():
            distances = np.abs(times_ms - latency[rows, None])
            # For a waveform without a maximum, the distance is the length of the waveform.
            distance = np.where(is_maximum[rows], distances, times_ms[-1]).min(axis=1)
            measures[f"peak_distance_ms_{name}"] = float(np.median(distance))
            measures[f"far_peaks_{name}"] = float(np.mean(distance > FAR_MS))
    return measures
