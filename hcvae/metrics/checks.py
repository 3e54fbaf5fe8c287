"""Checks of the arrays that the metrics receive.

Shapes: N rows, D codes (latent dimensions) or other columns, F factors.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hcvae.arrays import FloatArray
from hcvae.counting import counted
from hcvae.errors import UserError

if TYPE_CHECKING:
    import torch  # not imported otherwise: metrics of recordings alone do without


def to_numpy(values: "NDArray[Any] | torch.Tensor") -> FloatArray:
    """Return the values as a float64 array."""
    if isinstance(values, np.ndarray):
        return np.asarray(values, dtype=np.float64)
    tensor: FloatArray = values.detach().cpu().double().numpy()
    return tensor


def require_finite(name: str, values: FloatArray) -> FloatArray:
    """Return the values [N, D] unchanged.

    Raises:
        UserError: NaN or infinity among them; the message starts with `name`.
    """
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        raise UserError(
            f"{name}: must be finite, but got NaN or infinity in {len(bad)} of {len(values)} rows, first {bad[0]}"
        )
    return values


def checked_table(name: str, values: ArrayLike, min_rows: int = 1, min_columns: int = 1) -> FloatArray:
    """Return the values as finite float64 [N, D].

    Raises:
        UserError: not two dimensions, too few rows or columns, or values that are not finite; the message starts with
            `name`.
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2:
        raise UserError(f"{name}: must have two dimensions, rows and columns, but got the shape {table.shape}")
    for found, needed, unit in ((len(table), min_rows, "row"), (table.shape[1], min_columns, "column")):
        if found < needed:
            raise UserError(f"{name}: must have at least {counted(needed, unit)}, but got {found}")
    return require_finite(name, table)


def checked_codes_and_factors(
    codes: ArrayLike, factors: ArrayLike, min_codes: int = 1, min_factors: int = 1
) -> tuple[FloatArray, FloatArray]:
    """Return codes [N, D] and the known factors [N, F] of the same rows.

    Raises:
        UserError: not two dimensions, too few columns, different numbers of rows, values that are not finite, or a
            factor that has the same value in all rows.
    """
    code_table = checked_table("codes", codes, min_columns=min_codes)
    factor_table = checked_table("factors", factors, min_columns=min_factors)
    if len(code_table) != len(factor_table):
        raise UserError(
            f"factors: must have a row for each of the {len(code_table)} rows of codes, "
            f"but got {len(factor_table)} rows"
        )
    constant = np.flatnonzero(np.ptp(factor_table, axis=0) == 0)
    if len(constant):
        raise UserError(
            f"factors: each factor must vary, but got {factor_table[0, constant[0]]:g} in all {len(factor_table)} rows "
            f"of column {constant[0]}; leave the column out"
        )
    return code_table, factor_table
