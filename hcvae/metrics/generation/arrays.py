"""Checks of the arrays that the metrics of generation receive, and a common scale of real and generated features.

Shapes: N real rows, M generated rows, F features (or the T samples of a waveform).
"""

import numpy as np
from numpy.typing import ArrayLike

from hcvae.arrays import FloatArray
from hcvae.errors import UserError
from hcvae.metrics.checks import checked_table


def checked_features(real: ArrayLike, generated: ArrayLike, min_rows: int = 2) -> tuple[FloatArray, FloatArray]:
    """Return both as finite float64, [N, F] and [M, F].

    Raises:
        UserError: not two dimensions, fewer rows than `min_rows`, values that are not finite, or different numbers of
            features.
    """
    real_rows = checked_table("real", real, min_rows)
    generated_rows = checked_table("generated", generated, min_rows)
    if real_rows.shape[1] != generated_rows.shape[1]:
        raise UserError(
            f"generated: must have the {real_rows.shape[1]} features of real, but got {generated_rows.shape[1]}; "
            "compute both in the same way"
        )
    return real_rows, generated_rows


def checked_column(name: str, values: ArrayLike, length: int) -> FloatArray:
    """Return the values as finite float64 [N].

    Raises:
        UserError: another shape than (length,), or NaN or infinity; the message starts with `name`.
    """
    column = np.asarray(values, dtype=np.float64)
    if column.shape != (length,):
        raise UserError(f"{name}: must have one value for each of the {length} rows, but got shape {column.shape}")
    if not np.isfinite(column).all():
        raise UserError(f"{name}: must be finite, but got NaN or infinity in {np.sum(~np.isfinite(column))} rows")
    return column


def standardised(real: ArrayLike, generated: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return both in standard deviations of the real features from their means, so that all features are comparable.

    Args:
        real: features of recordings, [N, F].
        generated: the same features of generated waveforms, [M, F].

    Returns:
        [N, K] and [M, K]: the K features that vary among the real rows, in order.

    Raises:
        UserError: shapes that do not fit, values that are not finite, or no feature that varies.
    """
    real_rows, generated_rows = checked_features(real, generated)
    varying = np.ptp(real_rows, axis=0) > 0
    if not varying.any():
        raise UserError(f"real: features must vary, but got {len(real_rows)} equal rows; check the recordings")
    mean = real_rows[:, varying].mean(axis=0)
    deviation = real_rows[:, varying].std(axis=0)
    return (real_rows[:, varying] - mean) / deviation, (generated_rows[:, varying] - mean) / deviation
