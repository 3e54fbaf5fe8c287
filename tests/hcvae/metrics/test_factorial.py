"""Latents of two values, with every pair of rows enumerated: expectations are exact."""

from itertools import product

import numpy as np
import pytest

from hcvae.metrics.factorial import factorial_variances


def every_exchange(y, blocks):
    """Corners [2, ..., 2, 4^K, D] of y(x_1, ..., x_K) [n, D], for all pairs of rows of latents -1 or 1."""
    pairs = np.array(list(product([-1, 1], repeat=2 * blocks))).reshape(-1, 2, blocks)
    corners = [y(*(pairs[:, row, block] for block, row in enumerate(rows))) for rows in product([0, 1], repeat=blocks)]
    return np.reshape(corners, (2,) * blocks + np.shape(corners[0]))


@pytest.mark.parametrize("blocks", [1, 2, 3, 4])
def test_components_of_a_polynomial(blocks):
    # y = mean + sum over subsets T of a_T prod(x_b for b in T), whose variance components are ||a_T||^2
    amplitudes = np.random.default_rng(blocks).standard_normal((*(2,) * blocks, 3))

    def y(*x):
        terms = [amplitudes[t] * np.prod(np.transpose(x) ** t, axis=1)[:, None] for t in np.ndindex((2,) * blocks)]
        return np.sum(terms, axis=0)

    expected = np.sum(amplitudes**2, axis=-1)
    expected[(0,) * blocks] = 0
    variances = factorial_variances(every_exchange(y, blocks))
    assert variances == pytest.approx(expected, abs=1e-12)


def test_they_add_up_to_the_variance():
    def y(g, z, m):
        return np.exp(0.3 * g + z * m)[:, None]

    values = y(*np.transpose(list(product([-1, 1], repeat=3))))
    assert np.sum(factorial_variances(every_exchange(y, 3))) == pytest.approx(np.var(values), rel=1e-12)


def test_two_blocks_by_the_formulas_of_the_2_x_2_swap():
    y11, y12, y21, y22 = corners = np.random.default_rng(0).standard_normal((4, 50, 7)) + np.arange(4)[:, None, None]
    energy_g, energy_l, energy_i = (
        np.mean(np.sum((contrast / 2) ** 2, axis=1))
        for contrast in (y11 + y12 - y21 - y22, y11 - y12 + y21 - y22, y11 - y12 - y21 + y22)
    )
    variances = factorial_variances(corners.reshape(2, 2, 50, 7))
    expected = [[0, (energy_l - energy_i) / 2], [(energy_g - energy_i) / 2, energy_i]]
    assert variances == pytest.approx(np.array(expected), rel=1e-12)


def test_noise_at_every_corner_is_the_interaction_of_all():
    noise = np.random.default_rng(0).standard_normal((2, 2, 2, 100_000, 1))
    expected = np.zeros((2, 2, 2))
    expected[1, 1, 1] = 1
    assert factorial_variances(noise) == pytest.approx(expected, abs=0.02)


def test_a_negative_estimate_is_0():
    corners = np.reshape([1.0, 0, 0, 1], (2, 2, 1, 1))  # E_G = E_L = 0, E_I = 1: (0 - 1) / 2 for the main effects
    assert (factorial_variances(corners) == [[0, 0], [0, 1]]).all()
