"""How close decoded waveforms and predicted peaks are to the recorded ones, in physical units.

Shapes: N rows, T samples. Waveforms are in uV and not normalised. All functions take arrays or CPU tensors.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hcvae.arrays import FloatArray
from hcvae.errors import UserError

WAVES = ("I", "III", "V")


def nmse(prediction: ArrayLike, target: ArrayLike, groups: ArrayLike | None = None) -> float:
    """Mean squared error over the variance of the targets; 1 is what predicting their mean value gives.

    Args:
        prediction: decoded waveforms, [N, T].
        target: recorded waveforms, [N, T].
        groups: a name or number for each row, [N]. The result is then the mean of the groups' values, so that a
            group of small amplitude counts as much as one of large amplitude.

    Raises:
        UserError: shapes that differ, or targets (of a group) that do not vary.

    >>> nmse([[1.0, 1.0], [1.0, 1.0]], [[0.0, 2.0], [2.0, 0.0]])
    1.0
    """
    predicted, recorded = _pair(prediction, target)
    if groups is None:
        return _nmse(predicted, recorded, "target")
    of_group = np.asarray(groups)
    if of_group.shape != recorded.shape[:1]:
        raise UserError(f"groups: one for each of the {len(recorded)} rows is needed, but got shape {of_group.shape}")
    return float(
        np.mean(
            [
                _nmse(predicted[of_group == group], recorded[of_group == group], f"target of group {group}")
                for group in np.unique(of_group)
            ]
        )
    )


def r2(prediction: ArrayLike, target: ArrayLike) -> float:
    """Explained share of the waveforms' variance about their mean waveform; 0 is what the mean waveform gives.

    scikit-learn's `r2_score` with `multioutput="variance_weighted"`.

    Args:
        prediction: decoded waveforms, [N, T].
        target: recorded waveforms, [N, T].

    Raises:
        UserError: shapes that differ, or targets that are all the same.
    """
    predicted, recorded = _pair(prediction, target)
    total = np.sum((recorded - recorded.mean(axis=0)) ** 2)
    if total == 0:
        raise UserError(f"target: waveforms must differ, but got {len(recorded)} equal rows; evaluate more rows")
    return float(1 - np.sum((predicted - recorded) ** 2) / total)


def correlation(prediction: ArrayLike, target: ArrayLike) -> float:
    """Pearson correlation of each decoded waveform with its recording, averaged over the rows.

    A waveform that is constant in time follows nothing: its correlation counts as 0.

    Args:
        prediction: decoded waveforms, [N, T].
        target: recorded waveforms, [N, T].

    Raises:
        UserError: shapes that differ.
    """
    predicted, recorded = (values - values.mean(axis=1, keepdims=True) for values in _pair(prediction, target))
    products = np.sum(predicted * recorded, axis=1)
    norms = np.linalg.norm(predicted, axis=1) * np.linalg.norm(recorded, axis=1)
    return float(np.mean(np.divide(products, norms, out=np.zeros_like(products), where=norms > 0)))


def cross_average_nmse(prediction: ArrayLike, independent_signals: ArrayLike, groups: ArrayLike | None = None) -> float:
    """NMSE against another average of the same recording, which copying the encoded average's noise cannot lower.

    Args:
        prediction: waveforms decoded from one average, [N, T].
        independent_signals: the other average, [N, T]; a row of NaN where there is none.
        groups: as for `nmse`, [N].

    Returns:
        The NMSE over the rows that have another average.

    Raises:
        UserError: shapes that differ, no other average at all, or ones (of a group) that do not vary.
    """
    predicted, other = _pair(prediction, independent_signals)
    rows = ~np.isnan(other).all(axis=1)
    if not rows.any():
        raise UserError(f"independent_signals: a row must have another average, but got none in {len(other)} rows")
    return nmse(predicted[rows], other[rows], None if groups is None else np.asarray(groups)[rows])


def peak_errors(predicted: ArrayLike, target: ArrayLike, mask: ArrayLike) -> dict[str, float]:
    """Mean absolute errors of the labelled peaks, by wave.

    Args:
        predicted: latencies of waves I, III, V in ms, then their amplitudes in uV, [N, 6].
        target: the labels in the same order, [N, 6]; any value where the mask is false.
        mask: true where a label is there, [N, 6].

    Returns:
        `peak_latency_error_ms_I`, ..., `peak_amplitude_error_uv_V`; no entry for what is labelled in no row.

    Raises:
        UserError: shapes that differ or are not [N, 6].
    """
    predictions, labels = _pair(predicted, target)
    labelled = np.asarray(mask, dtype=bool)
    if labels.shape != (len(labels), 2 * len(WAVES)) or labelled.shape != labels.shape:
        raise UserError(
            f"peaks: labels and mask must have the shape [N, {2 * len(WAVES)}], "
            f"but got {labels.shape} and {labelled.shape}"
        )
    names = [f"peak_latency_error_ms_{wave}" for wave in WAVES] + [f"peak_amplitude_error_uv_{wave}" for wave in WAVES]
    return {
        name: float(np.mean(np.abs(predictions[rows, column] - labels[rows, column])))
        for column, (name, rows) in enumerate(zip(names, labelled.T, strict=True))
        if rows.any()
    }


def _nmse(predicted: NDArray[Any], recorded: NDArray[Any], where: str) -> float:
    variance = np.var(recorded)
    if variance == 0:
        raise UserError(f"{where}: waveforms must vary, but got variance 0 in {len(recorded)} rows; check the rows")
    return float(np.mean((predicted - recorded) ** 2) / variance)


def _pair(prediction: ArrayLike, target: ArrayLike) -> tuple[FloatArray, FloatArray]:
    first, second = np.asarray(prediction, dtype=np.float64), np.asarray(target, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 2:
        raise UserError(
            f"prediction: it must have the two dimensions of the target {second.shape}, but got {first.shape}"
        )
    return first, second
