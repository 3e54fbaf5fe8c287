import numpy as np

from hcvae.metrics.disentanglement import active_units


def test_units_count_from_a_variance_above_the_threshold():
    signs = np.resize([-1.0, 1.0], 100)[:, None]
    means = 5 + signs * np.sqrt([0.0, 0.0099, 0.0101, 0.5, 2])  # variances in closed form
    assert active_units(means) == 3
    assert active_units(means, threshold=0.4) == 2
    assert active_units(np.ones((10, 4))) == 0
