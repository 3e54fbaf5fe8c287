"""Confidence intervals of the reconstruction metrics: a cluster bootstrap over subjects or recordings.

Whole units are resampled with replacement, as rows of one subject (or recording) are not independent (Davison & Hinkley
1997, Bootstrap Methods and their Application, section 3.8). All metrics are functions of sums over rows, so that a
resample costs one weighted sum over the units.

Shapes: N rows, T samples, U units, D resamples.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hcvae.arrays import FloatArray

ResampledSum = Callable[[FloatArray], FloatArray]
"""From values [N, ...] to their sums over the rows of each resample, [D, ...]."""

MIN_UNITS = 5
MAX_CLUSTERS = 1000
"""More units are merged at random into this many clusters, to limit memory and time."""
DRAWS = 1000
"""Number of resamples."""
LIMITS = (0.025, 0.975)
"""Quantiles that bound a 95 % interval."""


def reconstruction_intervals(
    prediction_uv: ArrayLike,
    target_uv: ArrayLike,
    other_uv: ArrayLike,
    groups: ArrayLike,
    units: ArrayLike,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Return 95 % percentile intervals of `reconstruction_nmse`, `cross_average_nmse`, `r2` and `correlation`.

    Args:
        prediction_uv: decoded waveforms, [N, T].
        target_uv: recorded waveforms, [N, T].
        other_uv: an independent average of each, [N, T]; NaN if there is none.
        groups: normalisation group of each row, [N]; NMSE is the mean over groups.
        units: subject or recording of each row, [N].
        seed: seed of the resampling.

    Returns:
        Lower and upper limit by name. Empty with fewer than 5 units; metrics that are not defined in every resample,
        such as one that lacks a group, are left out.
    """
    predicted = np.asarray(prediction_uv, np.float64)
    target = np.asarray(target_uv, np.float64)
    other = np.asarray(other_uv, np.float64)
    unit_names, unit = np.unique(np.asarray(units), return_inverse=True)
    if len(unit_names) < MIN_UNITS:
        return {}
    resampled = _resampled_sum(unit, len(unit_names), np.random.default_rng(seed))
    values = {
        "reconstruction_nmse": _nmse(resampled, predicted, target, np.asarray(groups)),
        "cross_average_nmse": _nmse(resampled, predicted, other, np.asarray(groups)),
        "r2": _r2(resampled, predicted, target),
        "correlation": resampled(_correlations(predicted, target)) / resampled(np.ones(len(target))),
    }
    intervals = {}
    for name, of_resamples in values.items():
        if np.isfinite(of_resamples).all():
            low, high = np.quantile(of_resamples, LIMITS)
            intervals[name] = (float(low), float(high))
    return intervals


def _resampled_sum(unit: NDArray[np.intp], n_units: int, random: np.random.Generator) -> ResampledSum:
    """Return the function that sums over the rows of each resample, for the unit of each row [N]."""
    if n_units > MAX_CLUSTERS:
        unit = random.permutation(n_units)[unit] % MAX_CLUSTERS
        n_units = MAX_CLUSTERS
    counts = random.multinomial(n_units, np.full(n_units, 1 / n_units), DRAWS)  # [D, U]

    def resampled(rows: FloatArray) -> FloatArray:
        sums = np.zeros((n_units, *rows.shape[1:]))
        np.add.at(sums, unit, rows)
        return np.asarray(counts @ sums, np.float64)

    return resampled


def _nmse(
    resampled: ResampledSum, predicted: FloatArray, target: FloatArray, groups: NDArray[np.generic]
) -> FloatArray:
    """Return the NMSE of each resample, [D]; NaN for those that lack a group."""
    known = np.asarray(~np.isnan(target).all(axis=1), np.bool_)
    target = np.where(known[:, None], target, 0.0)
    if not known.any():
        return np.full(1, np.nan)
    squared_errors = np.mean((predicted - target) ** 2, axis=1)
    means = np.mean(target, axis=1)
    mean_squares = np.mean(target**2, axis=1)
    values = []
    for group in np.unique(groups[known]):
        in_group = np.asarray(known & (groups == group), np.float64)
        n_rows = resampled(in_group)
        n_rows = np.where(n_rows, n_rows, np.nan)
        error = resampled(in_group * squared_errors) / n_rows
        variance = resampled(in_group * mean_squares) / n_rows - (resampled(in_group * means) / n_rows) ** 2
        values.append(error / variance)
    return np.asarray(np.mean(values, axis=0), np.float64)


def _r2(resampled: ResampledSum, predicted: FloatArray, target: FloatArray) -> FloatArray:
    n_rows = resampled(np.ones(len(target)))
    total = resampled(np.sum(target**2, axis=1)) - np.sum(resampled(target) ** 2, axis=1) / n_rows
    return np.asarray(1 - resampled(np.sum((predicted - target) ** 2, axis=1)) / total, np.float64)


def _correlations(predicted: FloatArray, target: FloatArray) -> FloatArray:
    """Return the correlation of each row [N]; 0 if a waveform is constant."""
    predicted = predicted - predicted.mean(axis=1, keepdims=True)
    target = target - target.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(predicted, axis=1) * np.linalg.norm(target, axis=1)
    products = np.sum(predicted * target, axis=1)
    return np.asarray(np.divide(products, norms, out=np.zeros_like(products), where=norms > 0), np.float64)
