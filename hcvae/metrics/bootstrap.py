"""How far the reconstruction metrics would differ with other subjects, or recordings: a cluster bootstrap.

Whole units are drawn with replacement, as rows of one subject (or recording) are not independent (Davison & Hinkley
1997, Bootstrap Methods and their Application, section 3.8). All metrics are functions of sums over rows, so that a draw
costs a weighted sum over the units.

Legend: N rows, T samples, U units, D draws.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hcvae.arrays import FloatArray

Drawn = Callable[[FloatArray], FloatArray]

MIN_UNITS = 5
MAX_CLUSTERS = 1000
"""More units are put together at random into so many clusters, to bound memory and time."""
DRAWS = 1000
LIMITS = (0.025, 0.975)
"""Of a 95 % interval."""


def reconstruction_intervals(
    prediction_uv: ArrayLike,
    target_uv: ArrayLike,
    other_uv: ArrayLike,
    groups: ArrayLike,
    units: ArrayLike,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """95 % percentile intervals of `reconstruction_nmse`, `cross_average_nmse`, `r2` and `correlation`.

    Args:
        prediction_uv: decoded waveforms, [N, T].
        target_uv: recorded waveforms, [N, T].
        other_uv: an independent average of each, [N, T]; NaN where there is none.
        groups: normalisation group of each row, [N]; NMSE is the mean over groups.
        units: subject or recording of each row, [N].
        seed: of the draws.

    Returns:
        Lower and upper limit by name; nothing with fewer than 5 units, and no entry for what is not defined in every
        draw, such as one that misses a group.
    """
    predicted, target, other = (np.asarray(values, np.float64) for values in (prediction_uv, target_uv, other_uv))
    unit = np.unique(np.asarray(units), return_inverse=True)[1]
    n_units = int(unit.max()) + 1
    if n_units < MIN_UNITS:
        return {}
    random = np.random.default_rng(seed)
    if n_units > MAX_CLUSTERS:
        unit, n_units = random.permutation(n_units)[unit] % MAX_CLUSTERS, MAX_CLUSTERS
    weights = random.multinomial(n_units, np.full(n_units, 1 / n_units), DRAWS)  # [D, U]

    def drawn(rows: FloatArray) -> FloatArray:
        """Sums [D, ...] over the drawn rows of values [N, ...]."""
        of_units = np.zeros((n_units, *rows.shape[1:]))
        np.add.at(of_units, unit, rows)
        return np.asarray(weights @ of_units, np.float64)

    found = {
        "reconstruction_nmse": _nmse(drawn, predicted, target, np.asarray(groups)),
        "cross_average_nmse": _nmse(drawn, predicted, other, np.asarray(groups)),
        "r2": _r2(drawn, predicted, target),
        "correlation": drawn(_correlations(predicted, target)) / drawn(np.ones(len(target))),
    }
    limits = {name: np.quantile(values, LIMITS) for name, values in found.items() if np.isfinite(values).all()}
    return {name: (float(low), float(high)) for name, (low, high) in limits.items()}


def _nmse(drawn: Drawn, predicted: FloatArray, target: FloatArray, groups: NDArray[np.generic]) -> FloatArray:
    known = np.asarray(~np.isnan(target).all(axis=1), np.bool_)
    target = np.where(known[:, None], target, 0.0)
    values = []
    for group in np.unique(groups[known]):
        chosen = np.asarray(known & (groups == group), np.float64)
        rows = drawn(chosen)
        error, mean, square = (
            drawn(chosen * moment) / np.where(rows, rows, np.nan)
            for moment in (
                np.mean((predicted - target) ** 2, axis=1),
                np.mean(target, axis=1),
                np.mean(target**2, axis=1),
            )
        )
        values.append(error / (square - mean**2))
    return np.mean(values, axis=0) if values else np.full(1, np.nan)


def _r2(drawn: Drawn, predicted: FloatArray, target: FloatArray) -> FloatArray:
    rows = drawn(np.ones(len(target)))
    total = drawn(np.sum(target**2, axis=1)) - np.sum(drawn(target) ** 2, axis=1) / rows
    return np.asarray(1 - drawn(np.sum((predicted - target) ** 2, axis=1)) / total, np.float64)


def _correlations(predicted: FloatArray, target: FloatArray) -> FloatArray:
    """Of each row [N]; 0 where a waveform is constant."""
    first, second = (values - values.mean(axis=1, keepdims=True) for values in (predicted, target))
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    products = np.sum(first * second, axis=1)
    return np.asarray(np.divide(products, norms, out=np.zeros_like(products), where=norms > 0), np.float64)
