import numpy as np
import pytest

from hcvae.metrics.disentanglement import swap_shares


def quads(y, n=200_000):
    """y11, y12, y21, y22 of independent standard normal latents."""
    g, other_g, local, other_local = np.random.default_rng(0).standard_normal((4, n))
    return y(g, local), y(g, other_local), y(other_g, local), y(other_g, other_local)


def test_shares_of_main_effects_and_product():
    # V_G = 4, V_L = 1, V_I = 0.25 in closed form
    shares = swap_shares(*quads(lambda g, local: 2 * g + local + 0.5 * g * local))
    assert shares == pytest.approx((0.762, 0.190, 0.048), abs=5e-3)


def test_coordinates_add_up():
    # a coordinate of variance 9 that follows g, and one of variance 1 that follows l
    shares = swap_shares(*quads(lambda g, local: np.column_stack([3 * g, local])))
    assert shares == pytest.approx((0.9, 0.1, 0.0), abs=5e-3)


def test_noise_of_the_decoder_is_interaction():
    noise = np.random.default_rng(1)
    shares = swap_shares(*quads(lambda g, local: np.sqrt(3) * g + noise.standard_normal(len(g))))
    assert shares == pytest.approx((0.75, 0.0, 0.25), abs=5e-3)


def test_nothing_varies():
    assert swap_shares(*np.ones((4, 10))) == (0.0, 0.0, 0.0)
