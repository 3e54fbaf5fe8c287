"""Statistical dependence between the codes, for data without known factors.

Shapes: N rows, D codes (latent dimensions).
"""

import numpy as np
from numpy.typing import ArrayLike

from hcvae.errors import UserError
from hcvae.metrics.checks import checked_table


def gaussian_total_correlation(codes: ArrayLike) -> float:
    """Return the total correlation in nats of a Gaussian with the codes' correlations R, -0.5 ln det R.

    It is 0 for uncorrelated codes and infinite if one is a linear function of the others. Constant codes add nothing.
    It is computed from the singular values of the standardised codes, which have twice as many digits as those of R.

    Args:
        codes: latent means, [N, D], with more rows than codes.

    Raises:
        UserError: no more rows than codes (R is then singular for any codes), or values that are not finite.

    Source: Watanabe 1960, IBM J. Res. Dev. 4:66; Locatello et al. 2019, arXiv 1811.12359.
    """
    table = checked_table("codes", codes)
    if len(table) <= table.shape[1]:
        raise UserError(f"codes: more rows than codes are needed, but got shape {table.shape}; give more rows")
    varying = table[:, np.ptp(table, axis=0) > 0]
    if varying.shape[1] == 0:
        return 0.0
    centred = varying - varying.mean(axis=0)
    spread = np.linalg.svd(centred / np.linalg.norm(centred, axis=0), compute_uv=False)
    if spread[-1] <= spread[0] * len(table) * np.finfo(np.float64).eps:  # as numpy.linalg.matrix_rank
        return float("inf")
    return float(-np.sum(np.log(spread)))
