"""Waveform tables in uV and ms from the outputs of a model.

Shapes: N waveforms, T samples.
"""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from torch import Tensor

from hcvae.data.labelled_peaks import MODEL_WAVES
from hcvae.data.preprocessing import Preprocessing
from hcvae.data.table import RESIDUAL_NOISE, WAVES
from hcvae.peaks import valid_waves


def waveform_table(
    preprocessing: Preprocessing,
    conditions: pa.Table,
    columns: Mapping[str, NDArray[np.generic]],
    signals: Tensor,
    peaks: Tensor | None,
    *,
    residual_noise: bool = False,
) -> pa.Table:
    """Return normalised waveforms as a waveform table.

    Args:
        preprocessing: Scales of the waveforms, sampling rate, labelled waves.
        conditions: Static columns [N].
        columns: Columns of numbers [N] that follow them.
        signals: Normalised waveforms [N, T].
        peaks: Predicted latencies of waves I, III, V in ms, then their amplitudes in uV [N, 6]; None: no peak head.
        residual_noise: Whether the waveforms contain residual noise, for the metadata.

    Returns:
        The columns, `signal` in uV, and the peaks as `peak_latency_ms`, `peak_amplitude_uv` and `peak_valid` of waves
        I to V: NaN where no training row had a wave labelled; validity from `valid_waves`.
    """
    group = preprocessing.signal.index(conditions)
    result = conditions
    for name, values in columns.items():
        result = result.append_column(name, pa.array(values))
    result = result.append_column(
        "signal", _lists(preprocessing.signal.denormalize(signals.numpy(), group), pa.float32())
    )
    if peaks is not None:
        latency_ms, amplitude_uv, valid = _all_waves(peaks, preprocessing)
        result = result.append_column("peak_latency_ms", _lists(latency_ms, pa.float32()))
        result = result.append_column("peak_amplitude_uv", _lists(amplitude_uv, pa.float32()))
        result = result.append_column("peak_valid", _lists(valid, pa.bool_()))
    metadata: dict[str | bytes, str] = {
        "sampling_rate_hz": f"{preprocessing.sampling_rate_hz:g}",
        RESIDUAL_NOISE: str(residual_noise).lower(),
    }
    return result.replace_schema_metadata(metadata)


def _all_waves(
    peaks: Tensor, preprocessing: Preprocessing
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Return latency, amplitude, validity of waves I to V [N, 5] from predicted peaks [N, 6]; NaN if never labelled."""
    latency_ms, amplitude_uv = np.full((2, len(peaks), len(WAVES)), np.nan, dtype=np.float32)
    valid = np.zeros((len(peaks), len(WAVES)), dtype=np.bool_)
    valid_here = valid_waves(peaks, preprocessing).numpy()
    for column, wave in enumerate(MODEL_WAVES):
        if wave in preprocessing.labelled_waves:
            latency_ms[:, WAVES.index(wave)] = peaks[:, column].numpy()
            amplitude_uv[:, WAVES.index(wave)] = peaks[:, column + len(MODEL_WAVES)].numpy()
            valid[:, WAVES.index(wave)] = valid_here[:, column]
    return latency_ms, amplitude_uv, valid


def _lists(values: NDArray[np.generic], kind: pa.DataType) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel(), kind), values.shape[1])
