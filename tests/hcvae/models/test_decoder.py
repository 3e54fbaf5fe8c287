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


def test_parameter_count_is_the_specifications():
    assert sum(parameter.numel() for parameter in HierarchicalDecoder(200, 7, 32, 32).parameters()) == 9_479_061


def test_outputs_by_name():
    shapes = {name: tuple(value.shape) for name, value in small()(*latents()).items()}
    assert shapes == {"recon_signal": (6, 50), "recon_static_params": (6, 3), "predicted_peaks": (6, 6)}
    assert "predicted_peaks" not in small(predict_peaks=False)(*latents())


@pytest.mark.parametrize("use_film", [True, False])
def test_z_global_is_heard_from_the_start_and_its_gradient_lives(use_film):
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
