"""Layers: widths, batch normalisation of one row, the log-variance bound, FiLM."""

import pytest
import torch

from hcvae.errors import UserError
from hcvae.models.layers import (
    LOGVAR_LIMIT,
    BatchNorm,
    Dropout,
    FiLM,
    GaussianHead,
    check_arguments,
    encoder_layers,
    full_precision,
    scaled,
)


@pytest.mark.parametrize(
    ("features", "width", "expected"), [(640, 1.0, 640), (640, 0.5, 320), (192, 0.33, 63), (64, 0.1, 8), (64, 4.0, 256)]
)
def test_hidden_widths_scale_rounded_and_never_below_eight(features, width, expected):
    assert scaled(features, width) == expected


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({"static_dim": 0}, ["static_dim", "0"]),
        ({"signal_length": 200.0}, ["signal_length", "200.0"]),
        ({"global_latent_dim": True}, ["global_latent_dim", "True"]),
        ({"width": 0.0}, ["width", "0.0"]),
        ({"width": float("nan")}, ["width", "nan"]),
        ({"dropout": 1.0}, ["dropout", "1.0"]),
        ({"dropout": -0.1}, ["dropout", "-0.1"]),
        ({"intermediate_levels": 3}, ["intermediate_levels", "0 to 2", "3"]),
    ],
)
def test_bad_arguments_are_named_with_their_value(arguments, names):
    with pytest.raises(UserError) as error:
        check_arguments(**arguments)
    assert all(name in str(error.value) for name in names)


def test_batch_norm_of_several_rows_is_pytorchs_own():
    torch.manual_seed(0)
    ours, theirs = BatchNorm(5), torch.nn.BatchNorm1d(5)
    rows = torch.randn(9, 5) * 3 + 1
    assert torch.equal(ours(rows), theirs(rows))
    assert torch.equal(ours.running_var, theirs.running_var)


def test_batch_norm_of_one_row_uses_the_running_statistics_and_leaves_them():
    norm = BatchNorm(2)
    norm.running_mean.copy_(torch.tensor([1.0, -2.0]))
    norm.running_var.copy_(torch.tensor([4.0, 9.0]))
    out = norm(torch.tensor([[5.0, 4.0]]))
    torch.testing.assert_close(out, torch.tensor([[2.0, 2.0]]))  # (5 - 1) / 2 and (4 + 2) / 3
    assert norm.running_mean.tolist() == [1.0, -2.0]
    assert norm.training


def test_without_batch_norm_rows_do_not_depend_on_one_another():
    layers = encoder_layers(4, [8, 8], dropout=0.0, batch_norm=False)
    rows = torch.randn(6, 4)
    torch.testing.assert_close(layers(rows)[:1], layers(rows[:1]))
    assert not any(isinstance(module, torch.nn.BatchNorm1d) for module in layers.modules())


def test_logvar_is_bounded_and_a_runaway_value_is_pulled_back():
    head = GaussianHead(3, 2)
    torch.nn.init.ones_(head.logvar.weight)
    features = torch.tensor([[1e5, 1e5, 1e5], [-1e5, -1e5, -1e5], [0.1, 0.1, 0.1]])
    _, logvar = head(features)
    torch.testing.assert_close(logvar[:2], torch.tensor([[LOGVAR_LIMIT] * 2, [-LOGVAR_LIMIT] * 2]))
    torch.testing.assert_close(logvar[2], 0.3 + head.logvar.bias)
    assert torch.isfinite(logvar.exp()).all()
    (gradient,) = torch.autograd.grad(logvar.sum(), head.logvar.bias)
    assert gradient.tolist() == [3.0, 3.0]  # every row passes its gradient on, also beyond the bound


def test_film_is_an_affine_map_of_each_feature_with_networks_of_its_own():
    film = FiLM(3, 5, hidden=4)
    z, h = torch.randn(7, 3), torch.randn(7, 5)
    weight, bias = film.hidden.weight, film.hidden.bias
    gamma = torch.relu(z @ weight[:4].T + bias[:4]) @ film.gamma.weight.T + film.gamma.bias
    beta = torch.relu(z @ weight[4:].T + bias[4:]) @ film.beta.weight.T + film.beta.bias
    torch.testing.assert_close(film(h, z), (1 + gamma) * h + beta)


def test_film_starts_near_the_identity_but_not_at_it():
    torch.manual_seed(0)
    film = FiLM(32, 512)
    z, h = torch.randn(256, 32), torch.randn(256, 512)
    change = (film(h, z) - h).std()
    assert 0.02 < change < 0.4


def test_full_precision_widens_bfloat16_only():
    assert full_precision(torch.zeros(1, dtype=torch.bfloat16)).dtype == torch.float32
    assert full_precision(torch.zeros(1, dtype=torch.float64)).dtype == torch.float64


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_drops_at_its_rate_scales_the_rest_and_its_gradient_alike(dtype):
    torch.manual_seed(0)
    rows = torch.ones(501, 999, dtype=dtype, requires_grad=True)  # not a multiple of four
    out = Dropout(0.3)(rows)
    out.sum().backward()
    assert torch.equal(rows.grad, out)
    dropped = out == 0
    assert out[~dropped].unique().tolist() == pytest.approx([1 / 0.7], rel=1e-2 if dtype == torch.bfloat16 else 1e-4)
    assert dropped.float().mean().item() == pytest.approx(0.3, abs=4 * (0.3 * 0.7 / rows.numel()) ** 0.5)
    for shift in range(1, 9):  # features that share a drawn number are as independent as others
        both = (dropped.flatten()[shift:] & dropped.flatten()[:-shift]).float().mean().item()
        assert both == pytest.approx(0.09, abs=4 * (0.09 * 0.91 / rows.numel()) ** 0.5)


def test_dropout_is_the_identity_in_eval_mode_and_at_rate_0():
    rows = torch.randn(7, 5)
    assert Dropout(0.5).eval()(rows) is rows
    assert torch.equal(Dropout(0.0)(rows), rows)


def test_dropout_follows_the_seed():
    def drawn(seed):
        torch.manual_seed(seed)
        return Dropout(0.5)(torch.ones(64, 64))

    assert torch.equal(drawn(1), drawn(1))
    assert not torch.equal(drawn(1), drawn(2))
