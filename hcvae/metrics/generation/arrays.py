"""Checks of what a metric of generation is given, and a common scale of real and generated features.

Shapes: N real rows, M generated rows, F features (or the T samples of a waveform).
"""

import numpy as np
from numpy.typing import ArrayLike

from hcvae.arrays import FloatArray
from hcvae.errors import UserError


def checked_rows(name: str, values: ArrayLike, at_least: int = 2) -> FloatArray:
    """The values as finite float64 [N, F].

    Raises:
        UserError: not two-dimensional, fewer rows than `at_least`, or NaN or infinity; the message starts with `name`.
    """
    rows = np.asarray(values, dtype=np.float64)
    if rows.ndim != 2 or len(rows) < at_least or not rows.shape[1]:
        raise UserError(f"{name}: must have the shape [N, F] with N >= {at_least}, but got {rows.shape}")
    if not (finite := np.isfinite(rows).all(axis=1)).all():
        raise UserError(f"{name}: must be finite, but got NaN or infinity in {np.sum(~finite)} of {len(rows)} rows")
    return rows


def checked_pair(real: ArrayLike, generated: ArrayLike, at_least: int = 2) -> tuple[FloatArray, FloatArray]:
    """Both as finite float64, [N, F] and [M, F].

    Raises:
        UserError: as for `checked_rows`, or different numbers of features.
    """
    first, second = checked_rows("real", real, at_least), checked_rows("generated", generated, at_least)
    if first.shape[1] != second.shape[1]:
        raise UserError(
            f"generated: must have the {first.shape[1]} features of real, but got {second.shape[1]}; "
            "compute both in the same way"
        )
    return first, second


def checked_column(name: str, values: ArrayLike, length: int) -> FloatArray:
    """The values as finite float64 [N].

    Raises:
        UserError: another shape than (length,), or NaN or infinity; the message starts with `name`.
    """
    column = np.asarray(values, dtype=np.float64)
    if column.shape != (length,):
        raise UserError(f"{name}: one value for each of the {length} rows is needed, but got shape {column.shape}")
    if not np.isfinite(column).all():
        raise UserError(f"{name}: must be finite, but got NaN or infinity in {np.sum(~np.isfinite(column))} rows")
    return column


def standardised(real: ArrayLike, generated: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Both in units of the real features' standard deviations from their means, so that features of any unit compare.

    Args:
        real: features of recordings, [N, F].
        generated: the same features of generated waveforms, [M, F].

    Returns:
        [N, K] and [M, K]: the K features that vary among the real rows, in order.

    Raises:
        UserError: shapes that do not fit, values that are not finite, or no feature that varies.
    """
    first, second = checked_pair(real, generated)
    varying = np.ptp(first, axis=0) > 0
    if not varying.any():
        raise UserError(f"real: features must vary, but got {len(first)} equal rows; check the recordings")
    mean, deviation = first[:, varying].mean(axis=0), first[:, varying].std(axis=0)
    return (first[:, varying] - mean) / deviation, (second[:, varying] - mean) / deviation
