"""Decoder: the specification's size, FiLM that works from the start, heads."""

import pytest
import torch

from hcvae.models.decoder import HierarchicalDecoder


def small(**changes):
    torch.manual_seed(0)
    return HierarchicalDecoder(50, 3, 4, 5, **{"width": 0.1, **changes}).eval()


def latents(rows=6):
    torch.manual_seed(1)
    return torch.randn(rows, 4), torch.randn(rows, 5), torch.randn(rows, 3)


def test_the_parameter_count_is_that_of_the_specification():
    assert sum(parameter.numel() for parameter in HierarchicalDecoder(200, 7, 32, 32).parameters()) == 9_479_061


def test_outputs_by_name():
    shapes = {name: tuple(value.shape) for name, value in small()(*latents()).items()}
    assert shapes == {"recon_signal": (6, 50), "recon_static_params": (6, 3), "predicted_peaks": (6, 6)}
    assert "predicted_peaks" not in small(predict_peaks=False)(*latents())


@pytest.mark.parametrize("use_film", [True, False])
def test_z_global_has_an_effect_and_a_gradient_from_the_start(use_film):
    decoder = small(use_film=use_film, width=0.25)
    z_global, z_local, static = latents()
    z_global.requires_grad_()
    for name, output in decoder(z_global, z_local, static).items():
        other = decoder(z_global.flip(0), z_local, static)[name]
        assert (output - other).abs().max() > 1e-3, name
        (gradient,) = torch.autograd.grad(output.square().sum(), z_global, retain_graph=True)
        assert gradient.abs().min(dim=0).values.max() > 0, name
        assert gradient.norm() > 1e-3, name


def test_film_modulates_after_every_layer():
    decoder = small()
    z_global, z_local, static = latents()
    h = torch.cat([z_local, static], dim=1)
    for layer, film in zip(decoder.layers, decoder.films, strict=True):
        h = film(layer(h), z_global)
    assert len(decoder.films) == 4
    torch.testing.assert_close(decoder(z_global, z_local, static)["recon_signal"], decoder.heads["recon_signal"](h))


def test_without_film_there_are_no_modulation_networks_and_the_input_is_wider():
    decoder = small(use_film=False)
    assert len(decoder.films) == 0
    assert decoder.layers[0][0].in_features == 4 + 5 + 3


def test_the_head_on_the_latents_alone_cannot_copy_the_condition():
    decoder = small(static_from_latents=True)
    z_global, z_local, static = latents()
    here, there = decoder(z_global, z_local, static), decoder(z_global, z_local, static + 1)
    assert not torch.allclose(here["recon_static_params"], there["recon_static_params"])
    assert torch.equal(here["recon_static_from_latents"], there["recon_static_from_latents"])
    moved = decoder(z_global + 1, z_local, static)["recon_static_from_latents"]
    assert not torch.allclose(here["recon_static_from_latents"], moved)
    assert here["recon_static_from_latents"].shape == static.shape
    assert "recon_static_from_latents" not in small()(z_global, z_local, static)


@pytest.mark.parametrize("dims", [(33, 1, 1, 1), (201, 7, 5, 9), (200, 13, 16, 33)])
@pytest.mark.parametrize("width", [0.05, 0.37])
def test_odd_dimensions(dims, width):
    signal_length, static_dim, global_dim, local_dim = dims
    decoder = HierarchicalDecoder(*dims, width=width)
    out = decoder(torch.randn(3, global_dim), torch.randn(3, local_dim), torch.randn(3, static_dim))
    assert out["recon_signal"].shape == (3, signal_length)
    assert out["recon_static_params"].shape == (3, static_dim)


def with_levels(levels, **changes):
    return small(intermediate_levels=levels, intermediate_latent_dim=2, **changes)


@pytest.mark.parametrize(("levels", "steering"), [(0, "gggg"), (1, "ggaa"), (2, "ggab")])
def test_coarser_levels_steer_earlier_layers(levels, steering):
    decoder = with_levels(levels)
    z_global, z_local, static = latents()
    z_intermediate = torch.randn(6, 2 * levels) if levels else None
    received = []
    for film in decoder.films:
        film.register_forward_hook(lambda _, inputs, output: received.append(inputs[1]))
    decoder(z_global, z_local, static, z_intermediate)
    named = {"g": z_global} | dict(zip("ab", z_intermediate.split(2, dim=1) if levels else [], strict=False))
    assert len(received) == 4
    assert all(torch.equal(z, named[name]) for z, name in zip(received, steering, strict=True))


@pytest.mark.parametrize(("levels", "level", "layers"), [(1, 0, [2, 3]), (2, 0, [2, 3]), (2, 1, [3])])
def test_a_level_leaves_the_layers_before_its_own_unchanged(levels, level, layers):
    decoder = with_levels(levels)
    z_intermediate = torch.randn(6, 2 * levels)
    moved = z_intermediate.clone()
    moved[:, 2 * level : 2 * level + 2] += 1
    runs = []
    for z in (z_intermediate, moved):
        features = []
        hooks = [film.register_forward_hook(lambda _, __, out, to=features: to.append(out)) for film in decoder.films]
        decoder(*latents(), z)
        runs.append(features)
        for hook in hooks:
            hook.remove()
    assert [i for i, (before, after) in enumerate(zip(*runs, strict=True)) if not torch.equal(before, after)] == layers


def test_without_film_the_levels_enter_with_the_input():
    decoder = with_levels(2, use_film=False, static_from_latents=True)
    assert decoder.layers[0][0].in_features == 4 + 2 * 2 + 5 + 3
    for column in range(4):
        z_intermediate = torch.zeros(6, 4)
        before = decoder(*latents(), z_intermediate)
        z_intermediate[:, column] = 1
        after = decoder(*latents(), z_intermediate)
        assert not any(torch.equal(before[name], after[name]) for name in before)


def in_segments(n, **changes):
    torch.manual_seed(0)
    return HierarchicalDecoder(51, 3, 4, 2 * n, local_segments=n, **{"width": 0.1, **changes}).eval()


@pytest.mark.parametrize("use_film", [True, False])
@pytest.mark.parametrize("levels", [0, 2])
@pytest.mark.parametrize("n", [2, 3, 7])
def test_the_latent_of_a_segment_changes_only_the_samples_under_its_window(n, levels, use_film):
    decoder = in_segments(n, intermediate_levels=levels, use_film=use_film)
    z_global, z_local, static = torch.randn(6, 4), torch.randn(6, 2 * n), torch.randn(6, 3)
    z_intermediate = torch.randn(6, 32) if levels else None
    before = decoder(z_global, z_local, static, z_intermediate)
    for segment in range(n):
        moved = z_local.clone()
        moved[:, 2 * segment : 2 * segment + 2] += 1
        after = decoder(z_global, moved, static, z_intermediate)
        changed = (after["recon_signal"] != before["recon_signal"]).any(dim=0)
        # Closed form: a segment of 51 / n samples and a quarter of that on either side; sample t lies at t + 1/2.
        position = (torch.arange(51) + 0.5) * n / 51 - segment
        assert torch.equal(changed, (position > -0.25) & (position < 1.25) | (segment == 0) & (position < 1))
        for name in ("recon_static_params", "predicted_peaks"):
            assert not torch.equal(after[name], before[name])


def decoded_one_by_one(decoder, z_global, z_local, static, z_levels):
    """What the decoder returns, from a loop over its three segments with two local dimensions each."""
    steering = [z_global, *z_levels]
    signal, features = 0, []
    for segment in range(3):
        one_hot = torch.eye(3, dtype=static.dtype)[segment].expand(6, 3)
        h = torch.cat([z_local[:, 2 * segment : 2 * segment + 2], one_hot, static], dim=1)
        if not decoder.use_film:
            h = torch.cat([*steering, h], dim=1)
        for i, layer in enumerate(decoder.layers):
            h = layer(h)
            if decoder.use_film:
                h = decoder.films[i](h, steering[decoder.steered_by[i]])
        signal = signal + decoder.heads["recon_signal"](h) * decoder.segments.windows[segment]
        features.append(h)
    mean = sum(features) / 3
    return {"recon_signal": signal} | {
        name: decoder.heads[name](mean) for name in ("recon_static_params", "predicted_peaks")
    }


@pytest.mark.parametrize("use_film", [True, False])
@pytest.mark.parametrize("levels", [0, 2])
def test_segments_decoded_together_are_those_decoded_one_by_one(levels, use_film):
    decoder = in_segments(3, intermediate_levels=levels, intermediate_latent_dim=2, use_film=use_film).double()
    inputs = [torch.randn(6, size, dtype=torch.float64, requires_grad=True) for size in (4, 6, 3, *[2] * levels)]
    z_global, z_local, static, *z_levels = inputs
    z_intermediate = torch.cat(z_levels, dim=1) if levels else None
    together = decoder(z_global, z_local, static, z_intermediate)
    one_by_one = decoded_one_by_one(decoder, z_global, z_local, static, z_levels)
    assert together.keys() == one_by_one.keys()
    trained = [*inputs, *decoder.parameters()]
    for name, expected in one_by_one.items():
        torch.testing.assert_close(together[name], expected, rtol=1e-12, atol=1e-12)
        for one, other in zip(
            torch.autograd.grad(together[name].square().sum(), trained, retain_graph=True, materialize_grads=True),
            torch.autograd.grad(expected.square().sum(), trained, retain_graph=True, materialize_grads=True),
            strict=True,
        ):
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_one_segment_is_the_decoder_without_segments():
    decoder = small(local_segments=1)
    assert decoder.segments is None
    assert decoder.layers[0][0].in_features == 5 + 3
    assert decoder.state_dict().keys() == small().state_dict().keys()
