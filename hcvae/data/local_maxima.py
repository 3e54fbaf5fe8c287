"""Local maxima of waveforms.

Shapes: N waveforms, T samples.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def local_maxima(signals: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Return which samples [N, T] are above the previous and not below the next one; never the first or last one."""
    found = np.zeros(signals.shape, dtype=np.bool_)
    inner = signals[:, 1:-1]
    found[:, 1:-1] = (inner > signals[:, :-2]) & (inner >= signals[:, 2:])
    return found
