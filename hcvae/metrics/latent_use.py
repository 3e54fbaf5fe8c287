"""How many of its latent dimensions a model uses.

Shapes: N waveforms, D latent dimensions.
"""

import numpy as np


def active_units(means: np.ndarray, threshold: float = 0.01) -> int:
    """Return the number of latent dimensions whose posterior means [N, D] have a variance above `threshold`.

    The prior's variance is 1, and the means of a collapsed dimension have a variance near 0 (Burda et al. 2016, arXiv
    1509.00519).
    """
    return int(np.count_nonzero(np.var(means, axis=0) > threshold))
