"""Do predicted peaks lie on the waveform that they are predicted with?

Shapes: N waveforms, T samples, W waves.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcvae.data.local_maxima import local_maxima

FAR_MS = 1.0
"""About the time from one wave to the next: a peak farther from any maximum of its waveform is none of it."""


def peak_placement(
    waves: Sequence[str],
    latency_ms: NDArray[np.floating[Any]],
    valid: NDArray[np.bool_],
    signals: NDArray[np.floating[Any]],
    sampling_rate_hz: float,
) -> dict[str, float]:
    """How plausible predicted peaks are beside their own waveforms.

    Args:
        waves: names of the W waves, which were labelled in training.
        latency_ms: predicted latencies, [N, W].
        valid: which of them are possible, see `hcvae.peaks.valid_waves`, [N, W].
        signals: decoded waveforms of any unit without residual noise, the first sample at 0 ms, [N, T].
        sampling_rate_hz: samples per second.

    Returns:
        `impossible_peaks`, the share of the waveforms with a wave that is not valid; by wave, over the valid ones,
        `peak_distance_ms_V`, the median distance from the nearest local maximum of the waveform, and `far_peaks_V`,
        the share farther than 1 ms from it. No entry for a wave that is nowhere valid, none at all without waves.
    """
    if not waves:
        return {}
    measures = {"impossible_peaks": float(np.mean(~valid.all(axis=1)))}
    times_ms = np.arange(signals.shape[1]) * 1e3 / sampling_rate_hz
    is_maximum = local_maxima(signals)
    for name, latency, rows in zip(waves, latency_ms.T, valid.T, strict=True):
        if rows.any():
            away = np.abs(times_ms - latency[rows, None])
            # A waveform without a maximum has none nearer than its own length.
            distance = np.where(is_maximum[rows], away, times_ms[-1]).min(axis=1)
            measures[f"peak_distance_ms_{name}"] = float(np.median(distance))
            measures[f"far_peaks_{name}"] = float(np.mean(distance > FAR_MS))
    return measures
