"""Checks of the arrays that the metrics are given.

Shapes: N rows, D codes (latent dimensions), F factors.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hcvae.errors import UserError

if TYPE_CHECKING:
    import torch  # what looks at recordings alone does without


def to_numpy(values: "NDArray[Any] | torch.Tensor") -> NDArray[np.float64]:
    """The values in float64."""
    if isinstance(values, np.ndarray):
        return np.asarray(values, dtype=np.float64)
    tensor: NDArray[np.float64] = values.detach().cpu().double().numpy()
    return tensor


def require_finite(where: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The values [N, D] themselves.

    Raises:
        UserError: NaN or infinity among them.
    """
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        raise UserError(f"{where}: values must be finite, but got NaN or infinity in {len(bad)} rows, first {bad[0]}")
    return values


def checked_codes(codes: ArrayLike, at_least: int = 1) -> NDArray[np.float64]:
    """Codes as an array [N, D].

    Raises:
        UserError: not two dimensions, no row, fewer codes than `at_least`, or values that are not finite.
    """
    return _table("codes", codes, at_least)


def checked_pair(
    codes: ArrayLike, factors: ArrayLike, codes_at_least: int = 1, factors_at_least: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Codes [N, D] and the known factors [N, F] of the same rows.

    Raises:
        UserError: not two dimensions, too few columns, different numbers of rows, values that are not finite, or a
            factor that has one value in all rows.
    """
    code_table = _table("codes", codes, codes_at_least)
    factor_table = _table("factors", factors, factors_at_least)
    if len(code_table) != len(factor_table):
        raise UserError(
            f"factors: there must be a row for each of the {len(code_table)} rows of codes, "
            f"but got {len(factor_table)} rows"
        )
    constant = np.flatnonzero(np.ptp(factor_table, axis=0) == 0)
    if len(constant):
        raise UserError(
            f"factors: each factor must vary, but got {factor_table[0, constant[0]]:g} in all {len(factor_table)} rows "
            f"of column {constant[0]}; leave the column out"
        )
    return code_table, factor_table


def _table(where: str, values: ArrayLike, at_least: int) -> NDArray[np.float64]:
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or len(table) == 0 or table.shape[1] < at_least:
        raise UserError(
            f"{where}: a table with a row for each waveform and {at_least} or more columns is needed, "
            f"but got shape {table.shape}"
        )
    return require_finite(where, table)
