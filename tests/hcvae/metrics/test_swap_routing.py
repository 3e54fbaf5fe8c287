"""The oracles of the score: waveforms composed in the DCT basis from known offset, trend, gain and shape latents."""

from dataclasses import FrozenInstanceError, astuple
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.fft import idct

from hcvae.errors import UserError
from hcvae.metrics.disentanglement import SwapRouting, swap_routing_score

N, T = 1500, 200
COARSE_DIMS, SHAPE_DIMS = 4, 6
NOISE_UV = 0.3

random = np.random.default_rng(7)
SHAPE_BASIS = random.standard_normal((SHAPE_DIMS, T - 3)) * np.exp(-np.arange(T - 3) / 20)
SHAPE_OF_CONDITION = 0.5 * random.standard_normal((5, SHAPE_DIMS))


def compose(coarse, shape, condition):
    """Waveforms [n, T] in uV: offset, two trend coefficients and log gain from `coarse` [n, 4]."""
    residual = (shape + condition @ SHAPE_OF_CONDITION + np.r_[2.0, np.zeros(SHAPE_DIMS - 1)]) @ SHAPE_BASIS
    residual /= np.sqrt(np.sum(residual**2, axis=1, keepdims=True) / T)
    gain = np.exp(0.5 * coarse[:, 3:] + 0.3 * condition[:, :1])
    low = coarse[:, :3] * [4, 3, 2] + condition[:, 1:2]
    return idct(np.hstack([low, gain * residual]), norm="ortho", axis=1)


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(0)
    female = random.integers(0, 2, (N, 1))
    condition = np.hstack([random.standard_normal((N, 3)), female, 1 - female])
    coarse, shape = random.standard_normal((N, COARSE_DIMS)), random.standard_normal((N, SHAPE_DIMS))
    clean = compose(coarse, shape, condition)
    first, second = clean + NOISE_UV * random.standard_normal((2, N, T))
    return SimpleNamespace(coarse=coarse, shape=shape, condition=condition, clean=clean, first=first, second=second)


@pytest.fixture(params=["input", "independent"])
def score(request, data):
    """Scores a model on the data, with fidelity against the clean input or against an independent noisy average."""

    def score_model(decode, z_global, z_local, **changes) -> SwapRouting:
        noisy = {"signals": data.first, "independent_signals": data.second}
        arguments = {"condition": data.condition} | ({"signals": data.clean} if request.param == "input" else noisy)
        return swap_routing_score(decode, z_global, z_local, **(arguments | changes))

    return score_model


def test_exact_routing_scores_1(score, data):
    result = score(compose, data.coarse, data.shape)
    assert result.signed == result.score == pytest.approx(1, abs=1e-9)
    for name, attribute in result.attributes.items():
        assert attribute.shares == pytest.approx((0, 1, 0) if name == "shape" else (1, 0, 0), abs=1e-9)
        assert attribute.fidelity == pytest.approx(1, abs=0.05)  # of the truth and noisy pairs: 1 within the noise
    assert list(result.attributes) == ["offset", "trend", "gain", "shape"]
    assert not result.left_out


def test_exchanged_roles_score_minus_1(score, data):
    result = score(lambda g, z, c: compose(z, g, c), data.shape, data.coarse)
    assert result.signed == pytest.approx(-1, abs=1e-9)
    assert result.score == 0


def test_gain_alone_routed_wrongly_scores_two_thirds(score, data):
    def decode(g, z, c):
        return compose(np.hstack([g, z[:, :1]]), z[:, 1:], c)

    result = score(decode, data.coarse[:, :3], np.hstack([data.coarse[:, 3:], data.shape]))
    assert result.signed == pytest.approx(2 / 3, abs=1e-9)
    assert (result.selectivity_coarse, result.selectivity_fine) == pytest.approx((1 / 3, 1))


def random_network(dims_in, dims_out, seed):
    random = np.random.default_rng(seed)
    hidden, out = random.standard_normal((dims_in, 64)) / np.sqrt(dims_in), random.standard_normal((64, dims_out)) / 8
    return lambda x: np.maximum(x @ hidden, 0) @ out


CHEATS = {
    "constant output": lambda d: (lambda g, z, c: np.tile(d.clean[:1], (len(g), 1)), d.coarse, d.shape),
    "constant in time": lambda d: (lambda g, z, c: np.tile(g[:, :1], (1, T)), d.coarse, d.shape),
    "condition only": lambda d: (lambda g, z, c: compose(0 * g, 0 * z, c), d.coarse, d.shape),
    "ignores z_global": lambda d: (lambda g, z, c: compose(0 * g, z, c), d.coarse, d.shape),
    "ignores z_local": lambda d: (lambda g, z, c: compose(g, 0 * z, c), d.coarse, d.shape),
    "everything in z_global": lambda d: (
        lambda g, z, c: compose(g[:, :COARSE_DIMS], g[:, COARSE_DIMS:], c),
        np.hstack([d.coarse, d.shape]),
        d.shape,
    ),
    "everything in z_local": lambda d: (
        lambda g, z, c: compose(z[:, :COARSE_DIMS], z[:, COARSE_DIMS:], c),
        d.coarse,
        np.hstack([d.coarse, d.shape]),
    ),
    "collapsed": lambda d: (compose, 1e-3 * d.coarse, 1e-3 * d.shape),
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_cheats_score_0(score, data, cheat):
    decode, z_global, z_local = CHEATS[cheat](data)
    assert score(decode, z_global, z_local).signed == pytest.approx(0, abs=1e-6)


def test_shuffled_codes_score_0(score, data):
    random = np.random.default_rng(1)
    for rows in (random.permutation(N) for _ in range(10)):
        assert score(compose, data.coarse[rows], data.shape[rows], pairs=32).signed == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize("seed", range(5))
def test_an_untrained_model_scores_0(score, data, seed):
    encode_global, encode_local, network = (
        random_network(dims_in, dims_out, 3 * seed + k)
        for k, (dims_in, dims_out) in enumerate([(205, 8), (205, 16), (29, T)])
    )
    inputs = np.hstack([data.first, data.condition])
    result = score(lambda g, z, c: network(np.hstack([g, z, c])), encode_global(inputs), encode_local(inputs))
    assert result.signed == pytest.approx(0, abs=0.02)


def test_an_ideal_denoiser_has_fidelity_1_and_copying_the_noise_earns_nothing(data):
    pairs = {"condition": data.condition, "signals": data.first, "independent_signals": data.second}
    denoised = swap_routing_score(compose, data.coarse, data.shape, **pairs)
    copied = swap_routing_score(lambda g, z, c: z, data.coarse, data.first, **pairs)
    for name in ("offset", "trend", "gain", "shape"):
        assert denoised.attributes[name].fidelity == pytest.approx(1, abs=0.01)
        assert copied.attributes[name].fidelity == pytest.approx(1, abs=1e-9)
    # the same denoiser, measured against its noisy input, looks worse: noise is 0.3^2 of the shape's variance of 1
    against_input = swap_routing_score(compose, data.coarse, data.shape, data.condition, data.first)
    assert against_input.attributes["shape"].fidelity < 0.95


def test_what_was_reconstructed_already_counts_as_if_it_were_decoded(data):
    arguments = (compose, data.coarse, data.shape, data.condition, data.first)
    assert swap_routing_score(*arguments, reconstructed=data.clean) == swap_routing_score(*arguments)
    assert swap_routing_score(*arguments, reconstructed=0 * data.clean).signed < 0.5
    with pytest.raises(ValueError, match="the shape must be"):
        swap_routing_score(*arguments, reconstructed=data.clean[:-1])


@pytest.mark.parametrize("factor", [0.5, 0.1])
def test_fidelity_and_weight_of_a_shrunken_offset(score, request, data, factor):
    def decode(g, z, c):
        shrunken = g * [factor, 1, 1, 1]
        return compose(shrunken, z, c)

    offset = score(decode, data.coarse, data.shape).attributes["offset"]
    against_input = "[input" in request.node.name
    expected = 1 - (1 - factor) ** 2 if against_input else factor
    assert offset.fidelity == pytest.approx(expected, abs=0.01)
    assert offset.weight == pytest.approx(min(1, expected / 0.25), abs=0.04)


def test_weights_and_guards_enter_as_documented(data):
    def decode(g, z, c):  # a gain routed wrongly and shrunken: fidelity 0.1, weight 0.4
        return compose(np.hstack([g, 0.1 * z[:, :1]]), z[:, 1:], c)

    local = np.hstack([data.coarse[:, 3:], data.shape])
    pairs = {"condition": data.condition, "signals": data.clean, "independent_signals": data.clean}
    result = swap_routing_score(decode, data.coarse[:, :3], local, **pairs)
    assert result.selectivity_coarse == pytest.approx((1 + 1 - 0.4) / 2.4, abs=1e-6)
    assert (result.guard_coarse, result.guard_fine) == pytest.approx((2.4 / 3, 1), abs=1e-6)
    assert result.signed == pytest.approx((1.6 / 2.4 + 1) / 2 * np.sqrt(0.8), abs=1e-6)


@pytest.mark.parametrize(("factor", "shares"), [(0.05, (0, 1, 0)), (0.002, (0, 0, 0))])
def test_effects_below_a_ten_thousandth_of_the_variance_are_none(score, data, factor, shares):
    shape = score(lambda g, z, c: compose(g, factor * z, c), data.coarse, data.shape).attributes["shape"]
    assert shape.shares == pytest.approx(shares, abs=1e-9)


def test_noise_at_the_output_is_interaction(score, data):
    random = np.random.default_rng(0)

    def decode(g, z, c):
        return compose(g, z, c) + 4 * idct(random.standard_normal((len(g), 1)) * np.eye(1, T), norm="ortho", axis=1)

    # noise of standard deviation 4 on the offset, which z_global moves with standard deviation 4
    assert score(decode, data.coarse, data.shape).attributes["offset"].shares == pytest.approx((0.5, 0, 0.5), abs=0.05)


def test_the_scale_of_the_signals_does_not_matter(data):
    def decode(g, z, c):
        return compose(g, 0.7 * z + 0.5 * g[:, :1], c)

    def scaled(factor):
        return swap_routing_score(
            lambda g, z, c: factor * decode(g, z, c),
            data.coarse,
            data.shape,
            data.condition,
            factor * data.first,
            independent_signals=factor * data.second,
        )

    assert 0.1 < scaled(1).signed < 0.9
    assert astuple(scaled(1000))[:6] == pytest.approx(astuple(scaled(1))[:6], rel=1e-9)
    assert astuple(scaled(1e-6))[:6] == pytest.approx(astuple(scaled(1))[:6], rel=1e-9)


def test_band_passed_attributes_are_left_out(score, data):
    def band_passed(g, z, c):
        return compose(g * [1e-3, 1, 1, 1], z, c) - compose(0 * g, 0 * z, c).mean(axis=1, keepdims=True)

    signals = band_passed(data.coarse, data.shape, data.condition)
    result = score(band_passed, data.coarse, data.shape, signals=signals, independent_signals=None)
    assert list(result.left_out) == ["offset"]
    assert "below 0.001" in result.left_out["offset"]
    assert list(result.attributes) == ["trend", "gain", "shape"]
    assert result.signed == pytest.approx(1, abs=1e-9)


def test_attributes_that_two_averages_do_not_share_are_left_out(data):
    random = np.random.default_rng(5)
    drifting = [signals + 2 * random.standard_normal((N, 1)) for signals in (data.first, data.second)]
    without = [signals - signals.mean(axis=1, keepdims=True) for signals in drifting]
    own = [signals + 2 * random.standard_normal((N, 1)) for signals in without]
    result = swap_routing_score(compose, data.coarse, data.shape, data.condition, own[0], independent_signals=own[1])
    assert list(result.left_out) == ["offset"]
    assert "chance" in result.left_out["offset"]
    assert result.signed == pytest.approx(1, abs=1e-9)
    assert result.attributes["shape"].reliability.correlation == pytest.approx(0.85, abs=0.1)


def test_a_group_without_attributes_is_an_error(data):
    noise = np.random.default_rng(5).standard_normal((2, N, T))
    with pytest.raises(
        UserError, match=r"no coarse attribute .* is distinguishable from noise \(offset: .*gain: averages"
    ):
        swap_routing_score(compose, data.coarse, data.shape, data.condition, noise[0], independent_signals=noise[1])


def test_rows_without_an_independent_average(data):
    some = data.second.copy()
    some[::3] = np.nan
    rows = np.arange(N) % 3 > 0
    result = swap_routing_score(compose, data.coarse, data.shape, data.condition, data.first, independent_signals=some)
    paired = swap_routing_score(
        compose,
        data.coarse[rows],
        data.shape[rows],
        data.condition[rows],
        data.first[rows],
        independent_signals=data.second[rows],
    )
    for name, attribute in result.attributes.items():
        assert attribute.fidelity == pytest.approx(paired.attributes[name].fidelity)
    none = swap_routing_score(
        compose, data.coarse, data.shape, data.condition, data.first, independent_signals=np.full((N, T), np.nan)
    )
    assert none == swap_routing_score(compose, data.coarse, data.shape, data.condition, data.first)


def test_swaps_exchange_latents_under_one_condition(data):
    calls = []

    def decode(g, z, c):
        calls.append((g[:, 0].astype(int), z[:, 0].astype(int), c[:, 0].astype(int)))
        return data.clean[g[:, 0].astype(int)]

    rows = np.arange(N, dtype=float)[:, None]
    swap_routing_score(decode, rows, rows, rows, data.clean, pairs=100, repeats=3)
    (reconstruct, *swaps) = calls
    assert all((part == np.arange(N)).all() for part in reconstruct)
    assert len(swaps) == 3
    for call in swaps:
        g, z, c = (part.reshape(4, 100) for part in call)
        i, j = g[0], g[2]
        assert (g == [i, i, j, j]).all()
        assert (z == [i, j, i, j]).all()
        assert (c == c[0]).all()
        assert (i != j).all()
        assert len(np.unique(c)) > 80  # drawn for each swap
    assert (swaps[0][0] != swaps[1][0]).any()


def test_three_latents_are_exchanged_at_eight_corners(data):
    calls = []

    def decode(g, z, c, m):
        calls.append([part[:, 0].astype(int).reshape(-1, 100) for part in (g, z, m, c)])
        return data.clean[g[:, 0].astype(int)]

    rows = np.arange(N, dtype=float)[:, None]
    swap_routing_score(decode, rows, rows, rows, data.clean, z_intermediate=rows, pairs=100, repeats=2)
    assert all((part.ravel() == np.arange(N)).all() for part in calls[0])
    for g, z, m, c in calls[1:]:
        i, j = g[0], g[4]
        assert (g == [i, i, i, i, j, j, j, j]).all()
        assert (z == [i, i, j, j, i, i, j, j]).all()
        assert (m == [i, j, i, j, i, j, i, j]).all()
        assert (c == c[0]).all()


def test_everything_in_the_intermediate_latent_scores_0(score, data):
    def decode(g, z, c, m):
        return compose(m[:, :COARSE_DIMS], m[:, COARSE_DIMS:], c)

    result = score(decode, data.coarse, data.shape, z_intermediate=np.hstack([data.coarse, data.shape]))
    assert result.signed == pytest.approx(0, abs=1e-9)
    assert result.guard_coarse == result.guard_fine == pytest.approx(1)
    assert result.attributes["shape"].shares == pytest.approx((0, 0, 1, 0), abs=1e-9)
    assert result.waveform.intermediate_share == pytest.approx(1, abs=1e-9)


def test_attributes_of_the_intermediate_latent_count_for_neither_side(score, data):
    def decode(g, z, c, m):  # offset and trend from z_global, gain from the intermediate latent
        return compose(np.hstack([g, m]), z, c)

    result = score(decode, data.coarse[:, :3], data.shape, z_intermediate=data.coarse[:, 3:])
    assert result.attributes["gain"].shares.intermediate_share == pytest.approx(1, abs=1e-9)
    assert result.selectivity_coarse == pytest.approx(2 / 3, abs=0.01)
    assert result.signed == pytest.approx(5 / 6, abs=0.01)


def test_an_intermediate_latent_without_effect_changes_nothing(score, data):
    def decode(g, z, c, *ignored):
        return compose(g, 0.7 * z + 0.5 * g[:, :1], c)

    two, three = (score(decode, data.coarse, data.shape, z_intermediate=m) for m in (None, data.coarse[:, :1]))
    assert astuple(three)[:6] == pytest.approx(astuple(two)[:6], abs=1e-12)
    assert 0.1 < three.signed < 0.9
    g, z, m, interaction = three.waveform
    assert (g, z, interaction) == pytest.approx(two.waveform, abs=1e-12)
    assert m == pytest.approx(0, abs=1e-12)
    assert two.waveform.intermediate_share == 0


@pytest.mark.parametrize(("scales", "shares"), [((3, 2, 1), (9, 4, 1, 0)), ((0.5, 4, 0), (0.25, 16, 0, 0))])
def test_waveform_shares_of_a_linear_decoder(data, scales, shares):
    random = np.random.default_rng(3)
    g, z, m = random.standard_normal((3, N, 2))
    on_g, on_z, on_m = (s * np.eye(T)[[sample, sample + 1]] for s, sample in zip(scales, (20, 90, 190), strict=True))
    condition = random.standard_normal((N, 1))

    def decode(g, z, c, m):
        return g @ on_g + z @ on_z + m @ on_m + 100 * c

    signals = decode(g, z, condition, m)
    result = swap_routing_score(decode, g, z, condition, signals, z_intermediate=m, repeats=10)
    assert result.waveform == pytest.approx(np.array(shares) / sum(shares), abs=0.03)


@pytest.mark.parametrize("factor", [0, 0.002])
def test_a_decoder_that_no_latent_steers_has_no_waveform_shares(score, data, factor):
    result = score(lambda g, z, c: compose(factor * g, factor * z, c), data.coarse, data.shape)
    assert result.waveform == (0, 0, 0)


def test_a_row_is_never_exchanged_with_itself(data):
    """With three rows a draw that allowed i == j would do so in a third of the swaps."""
    rows = np.arange(3.0)[:, None]
    drawn = []

    def decode(g, z, c):
        drawn.append(g[:, 0])
        return data.clean[: len(g)] if len(g) == 3 else np.resize(data.clean, (len(g), T))

    swap_routing_score(decode, rows, rows, np.ones((3, 1)), data.clean[:3], pairs=200)
    assert len(drawn) > 1
    for g in drawn[1:]:
        assert (g[:200] != g[400:600]).all()
        assert len(np.unique(g[:200] * 3 + g[400:600])) == 6


def test_the_seed_decides(data):
    def decode(g, z, c):
        return compose(g, 0.7 * z + 0.5 * g[:, :1], c)

    arguments = (decode, data.coarse, data.shape, data.condition, data.clean)
    assert swap_routing_score(*arguments, seed=3) == swap_routing_score(*arguments, seed=3)
    assert swap_routing_score(*arguments, seed=3).signed != swap_routing_score(*arguments, seed=4).signed


def test_tensors_reach_the_decoder_as_float32_tensors(data):
    def decode(g, z, c):
        assert {part.dtype for part in (g, z, c)} == {torch.float32}
        return torch.from_numpy(compose(g.numpy(), z.numpy(), c.numpy()).astype(np.float32))

    tensors = [torch.from_numpy(part) for part in (data.coarse, data.shape, data.condition, data.first, data.second)]
    result = swap_routing_score(decode, *tensors[:4], independent_signals=tensors[4])
    assert result.signed == pytest.approx(1, abs=1e-6)


def test_the_result_cannot_be_changed(data):
    result = swap_routing_score(compose, data.coarse, data.shape, data.condition, data.clean)
    with pytest.raises(FrozenInstanceError):
        result.signed = 2.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"z_global": np.ones((5, 2))}, "z_global: .* 1500 signals, but got 5 rows"),
        ({"z_intermediate": np.ones((7, 2))}, "z_intermediate: .* 1500 signals, but got 7 rows"),
        ({"condition": np.full((N, 1), np.nan)}, "condition: .* NaN or infinity in 1500 of 1500 rows, first 0"),
        ({"independent_signals": np.ones((N, 10))}, r"independent_signals: .* \(1500, 200\), but got \(1500, 10\)"),
        ({"independent_signals": np.where(np.arange(T) > 5, 1.0, np.nan) * np.ones((N, 1))}, "independent_signals: "),
    ],
)
def test_input_that_does_not_fit_is_refused(data, changes, message):
    arguments = {"z_global": data.coarse, "z_local": data.shape, "condition": data.condition, "signals": data.clean}
    with pytest.raises(UserError, match=message):
        swap_routing_score(compose, **(arguments | changes))


def test_too_few_rows_for_the_condition_are_refused(data):
    rows = slice(0, 40)  # rank 14: intercept, 4 linear terms, 3 squares, 6 products
    with pytest.raises(UserError, match=r"40 waveforms are too few .* 14 independent terms .*: 42 are needed"):
        swap_routing_score(compose, data.coarse[rows], data.shape[rows], data.condition[rows], data.clean[rows])


def test_invalid_output_of_a_decoder_is_refused(data):
    arguments = (data.coarse, data.shape, data.condition, data.clean)
    with pytest.raises(ValueError, match=r"decode: the shape must be \(1500, 200\), but got \(1500, 199\)"):
        swap_routing_score(lambda g, z, c: compose(g, z, c)[:, 1:], *arguments)
    with pytest.raises(ValueError, match=r"decode: .* NaN or infinity in 1500 of 1500"):
        swap_routing_score(lambda g, z, c: compose(g, z, c) * np.nan, *arguments)
