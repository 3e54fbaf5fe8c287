"""Predicted peaks: which of them are valid, and how well they lie on their waveforms.

Shapes: N waveforms, T samples.
"""

from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from hcvae.data.labelled_peaks import MODEL_WAVES
from hcvae.data.preprocessing import Preprocessing
from hcvae.metrics.peaks import peak_placement


def valid_waves(peaks: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Return which of waves I, III, V are valid, bool [N, 3], from latencies in ms, then amplitudes in uV [N, 6].

    A wave is valid if it was labelled in some training row, its numbers are finite, its latency is within the waveform,
    latency and amplitude are within `Preprocessing.peak_limits`, and it is in order with the other waves; of two waves
    out of order, neither is valid. Only peak heads of bundles before format version 3 predict latencies outside the
    waveform or out of order. Bundles of an earlier hcvae have no limits.
    """
    latency_ms, amplitude_uv = peaks.split(len(MODEL_WAVES), dim=1)
    inside = (latency_ms >= 0) & (latency_ms <= preprocessing.window_ms) & amplitude_uv.isfinite()  # False for NaN
    possible: list[Tensor] = []
    for column, wave in enumerate(MODEL_WAVES):
        is_possible = inside[:, column] & (wave in preprocessing.labelled_waves)
        if wave in preprocessing.peak_limits:
            limits = preprocessing.peak_limits[wave]
            is_possible = is_possible & _within(latency_ms[:, column], limits.latency_ms)
            is_possible = is_possible & _within(amplitude_uv[:, column], limits.amplitude_uv)
        possible.append(is_possible)
    valid = list(possible)
    for first, second in combinations(range(len(MODEL_WAVES)), 2):
        in_order = ~(possible[first] & possible[second] & (latency_ms[:, first] >= latency_ms[:, second]))
        valid[first] = valid[first] & in_order
        valid[second] = valid[second] & in_order
    return torch.stack(valid, dim=1)


def _within(values: Tensor, limits: tuple[float, float]) -> Tensor:
    lowest, highest = limits
    return (values >= lowest) & (values <= highest)


def placement_of_predicted(peaks: Tensor, signals: Tensor, preprocessing: Preprocessing) -> dict[str, float]:
    """Return `peak_placement` of predicted peaks [N, 6] on decoded waveforms [N, T], for waves labelled in training."""
    known = np.isin(MODEL_WAVES, preprocessing.labelled_waves)
    latency_ms = peaks[:, : len(MODEL_WAVES)].numpy()
    valid = valid_waves(peaks, preprocessing).numpy()
    waves = np.array(MODEL_WAVES)[known].tolist()
    return peak_placement(waves, latency_ms[:, known], valid[:, known], signals.numpy(), preprocessing.sampling_rate_hz)
