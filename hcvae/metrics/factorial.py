"""Analysis of variance of a 2^K factorial exchange: how much each subset of K latent blocks changes the output.

Shapes: K blocks, n exchanges, D coordinates of the output.
"""

import numpy as np
from numpy.typing import ArrayLike

from hcvae.arrays import FloatArray


def factorial_variances(corners: ArrayLike) -> FloatArray:
    """Return the variance components of the Hoeffding decomposition, one for each subset of the blocks.

    With V_T the component of subset T, the contrast C_S of subset S (the sum of the corners, each with the product of
    the signs of the blocks in S) satisfies E||C_S||^2 = sum over T containing S of 2^(2K - |T|) V_T. Inverting this
    subset by subset (Moebius inversion) gives unbiased estimates; finally those below 0 are set to 0.

    Args:
        corners: [2, ..., 2, n, D], with K leading axes: the index on axis b is that of the row, of the exchange's two,
            from which block b comes. The two rows are independent samples.

    Returns:
        V, summed over the D coordinates, [2, ..., 2]: the entry with 1 on the axes of the blocks in T is V_T, so that
        for two blocks [1, 0] and [0, 1] are the main effects and [1, 1] is the interaction. The entry of the empty
        subset is 0, and the sum is the variance of the output.

    Source: Hoeffding 1948, Ann. Math. Statist. 19:293; Efron and Stein 1981, Ann. Statist. 9:586.
    """
    contrasts = np.asarray(corners, dtype=np.float64)
    blocks = contrasts.ndim - 2
    for axis in range(blocks):
        first, second = np.moveaxis(contrasts, axis, 0)
        contrasts = np.stack([first + second, first - second], axis=axis)
    variances: FloatArray = np.sum(contrasts**2, axis=(-2, -1)) / contrasts.shape[-2]
    for axis in range(blocks):
        without, within = np.moveaxis(variances, axis, 0)
        variances = np.stack([(without - within) / 4, within / 2], axis=axis)
    variances[(0,) * blocks] = 0.0
    return variances.clip(min=0.0)
