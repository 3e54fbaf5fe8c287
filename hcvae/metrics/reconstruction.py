"""Errors of decoded waveforms and predicted peaks against recordings, in physical units.

Shapes: N rows, T samples. Waveforms are in uV and not normalised. All functions accept arrays or CPU tensors.
"""

from itertools import product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hcvae.arrays import FloatArray
from hcvae.errors import UserError

WAVES = ("I", "III", "V")
MIN_RELIABILITY = 0.1
"""Least share of response in the variance of averages: with less, a correction for the noise is mostly noise."""


def nmse(prediction: ArrayLike, target: ArrayLike, groups: ArrayLike | None = None) -> float:
    """Return the mean squared error over the variance of the targets; the prediction of their mean value has 1.

    Args:
        prediction: decoded waveforms, [N, T].
        target: recorded waveforms, [N, T].
        groups: a name or number for each row, [N]. The result is then the mean of the groups' values, so that groups
            of small and of large amplitude count equally.

    Raises:
        UserError: shapes that differ, or targets (of a group) that do not vary.

    >>> nmse([[1.0, 1.0], [1.0, 1.0]], [[0.0, 2.0], [2.0, 0.0]])
    1.0
    """
    return float(np.mean(_group_values(prediction, target, groups)))


def r2(prediction: ArrayLike, target: ArrayLike) -> float:
    """Return the explained share of the waveforms' variance about their mean waveform, for which it is 0.

    The same as scikit-learn's `r2_score` with `multioutput="variance_weighted"`.

    Args:
        prediction: decoded waveforms, [N, T].
        target: recorded waveforms, [N, T].

    Raises:
        UserError: shapes that differ, or targets that are all equal.
    """
    predicted, recorded = _pair(prediction, target)
    total = np.sum((recorded - recorded.mean(axis=0)) ** 2)
    if total == 0:
        raise UserError(f"target: waveforms must differ, but got {len(recorded)} equal rows; evaluate more rows")
    return float(1 - np.sum((predicted - recorded) ** 2) / total)


def correlation(prediction: ArrayLike, target: ArrayLike) -> float:
    """Return the Pearson correlation of each decoded waveform with its recording, averaged over the rows.

    The correlation of a waveform that is constant in time counts as 0.

    Args:
        prediction: decoded waveforms, [N, T].
        target: recorded waveforms, [N, T].

    Raises:
        UserError: shapes that differ.
    """
    predicted, recorded = _pair(prediction, target)
    predicted = predicted - predicted.mean(axis=1, keepdims=True)
    recorded = recorded - recorded.mean(axis=1, keepdims=True)
    products = np.sum(predicted * recorded, axis=1)
    norms = np.linalg.norm(predicted, axis=1) * np.linalg.norm(recorded, axis=1)
    return float(np.mean(np.divide(products, norms, out=np.zeros_like(products), where=norms > 0)))


def cross_average_nmse(prediction: ArrayLike, independent_signals: ArrayLike, groups: ArrayLike | None = None) -> float:
    """Return the NMSE against another average of the same recording, which copied noise does not lower.

    Args:
        prediction: waveforms decoded from one average, [N, T].
        independent_signals: the other average, [N, T]; a row of NaN if there is none.
        groups: as for `nmse`, [N].

    Returns:
        The NMSE over the rows that have another average.

    Raises:
        UserError: shapes that differ, no other average at all, or other averages (of a group) that do not vary.
    """
    predicted, other = _pair(prediction, independent_signals)
    rows = _with_other_average(other)
    if groups is not None:
        groups = np.asarray(groups)[rows]
    return nmse(predicted[rows], other[rows], groups)


def reliability(signals: ArrayLike, independent_signals: ArrayLike, groups: ArrayLike | None = None) -> FloatArray:
    """Return the share of the variance of averages that is response, for each group in rising order, [K].

    Two independent averages of one response differ by their noise alone: half the mean square of the difference is the
    variance of the noise of one.

    Args:
        signals: averages, [N, T].
        independent_signals: the other average of each, [N, T].
        groups: as for `nmse`, [N].

    Raises:
        UserError: shapes that differ, or averages (of a group) that do not vary.
    """
    return 1 - _group_values(signals, independent_signals, groups) / 2


def denoised_nmse(
    prediction: ArrayLike, signals: ArrayLike, independent_signals: ArrayLike, groups: ArrayLike | None = None
) -> float:
    """Return the error of decoded waveforms about the responses without noise, over the variance of the responses.

    An ideal denoiser has 0, the mean of the responses 1. The responses are not known: the error about an independent
    average contains its noise, whose share of the variance is 1 - `reliability`, and is corrected for it. The estimate
    may be slightly below 0.

    Args:
        prediction: waveforms decoded from `signals`, [N, T].
        signals: averages, [N, T].
        independent_signals: the other average of each, [N, T]; a row of NaN if there is none.
        groups: as for `nmse`, [N]; the mean of the groups' values.

    Raises:
        UserError: shapes that differ, no other average at all, averages (of a group) that do not vary, or a reliability
            below `MIN_RELIABILITY`.
    """
    predicted, other = _pair(prediction, independent_signals)
    rows = _with_other_average(other)
    if groups is not None:
        groups = np.asarray(groups)[rows]
    of_response = reliability(np.asarray(signals)[rows], other[rows], groups)
    if not (of_response >= MIN_RELIABILITY).all():
        raise UserError(
            f"signals: independent averages must have a reliability of {MIN_RELIABILITY} or more, but got "
            f"{of_response.min():.3g}; use averages of more sweeps"
        )
    errors = _group_values(predicted[rows], other[rows], groups)
    return float(np.mean((errors - (1 - of_response)) / of_response))


def peak_errors(predicted: ArrayLike, target: ArrayLike, mask: ArrayLike) -> dict[str, float]:
    """Return the mean absolute errors of the labelled peaks, by wave.

    Args:
        predicted: latencies of waves I, III, V in ms, then their amplitudes in uV, [N, 6].
        target: the labels in the same order, [N, 6]; ignored where the mask is false.
        mask: true for labelled values, [N, 6].

    Returns:
        `peak_latency_error_ms_I`, ..., `peak_amplitude_error_uv_V`; values without labels have no entry.

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
    names = map("_".join, product(("peak_latency_error_ms", "peak_amplitude_error_uv"), WAVES))
    errors = {}
    for column, name in enumerate(names):
        rows = labelled[:, column]
        if rows.any():
            errors[name] = float(np.mean(np.abs(predictions[rows, column] - labels[rows, column])))
    return errors


def _with_other_average(independent_signals: FloatArray) -> NDArray[np.bool_]:
    """Return which rows of `independent_signals` [N, T] have another average, [N]; the others are NaN.

    Raises:
        UserError: none has one.
    """
    rows: NDArray[np.bool_] = np.asarray(~np.isnan(independent_signals).all(axis=1))
    if not rows.any():
        raise UserError(
            f"independent_signals: at least one row must have another average, but got none in {len(rows)} rows"
        )
    return rows


def _group_values(prediction: ArrayLike, target: ArrayLike, groups: ArrayLike | None) -> FloatArray:
    """Return the NMSE of each group in rising order, [K]; of all rows as one group without `groups`."""
    predicted, recorded = _pair(prediction, target)
    if groups is None:
        return np.array([_nmse(predicted, recorded, "target")])
    labels = np.asarray(groups)
    if labels.shape != recorded.shape[:1]:
        raise UserError(f"groups: must have one for each of the {len(recorded)} rows, but got shape {labels.shape}")
    values = []
    for group in np.unique(labels):
        rows = labels == group
        values.append(_nmse(predicted[rows], recorded[rows], f"target of group {group}"))
    return np.array(values)


def _nmse(predicted: NDArray[Any], recorded: NDArray[Any], where: str) -> float:
    variance = np.var(recorded)
    if variance == 0:
        raise UserError(f"{where}: waveforms must vary, but got variance 0 in {len(recorded)} rows; check the rows")
    return float(np.mean((predicted - recorded) ** 2) / variance)


def _pair(prediction: ArrayLike, target: ArrayLike) -> tuple[FloatArray, FloatArray]:
    predicted = np.asarray(prediction, dtype=np.float64)
    recorded = np.asarray(target, dtype=np.float64)
    if predicted.shape != recorded.shape or predicted.ndim != 2:
        raise UserError(
            f"prediction: must have the two dimensions of the target, {recorded.shape}, but got {predicted.shape}"
        )
    return predicted, recorded
