"""Where waveforms have a local maximum.

Shapes: N waveforms, T samples.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def local_maxima(signals: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Samples [N, T] above the one before them and not below the one after; never the first or the last sample."""
    found = np.zeros(signals.shape, dtype=np.bool_)
    inner = signals[:, 1:-1]
    found[:, 1:-1] = (inner > signals[:, :-2]) & (inner >= signals[:, 2:])
    return found
