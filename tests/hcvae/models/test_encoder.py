"""Encoders: the specification's sizes, what each sees, odd dimensions."""

import pytest
import torch

from hcvae.errors import UserError
from hcvae.models.encoder import GlobalEncoder, HierarchicalEncoder, LocalEncoder, early_length


def parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_parameter_counts_are_those_of_the_specification():
    assert parameters(GlobalEncoder(200, 7, 32)) == 418_816
    assert parameters(LocalEncoder(200, 7, 32)) == 626_624


@pytest.mark.parametrize(
    ("signal_length", "ratio", "samples"), [(200, 0.3, 60), (201, 0.1, 20), (37, 0.33, 12), (50, 1.0, 50)]
)
def test_early_segment_is_the_whole_part_of_the_share(signal_length, ratio, samples):
    assert early_length(signal_length, ratio) == samples


@pytest.mark.parametrize("ratio", [0.0, -0.1, 1.01, float("nan")])
def test_a_share_outside_its_range_is_refused(ratio):
    with pytest.raises(UserError, match="early_signal_ratio: must be above 0 and at most 1"):
        LocalEncoder(200, 7, 32, ratio)


def test_an_empty_early_segment_is_refused_with_the_smallest_share_that_works():
    with pytest.raises(UserError, match=r"early_signal_ratio: 0\.01 of 50 samples .* at least 0\.02"):
        LocalEncoder(50, 7, 32, 0.01)
    assert LocalEncoder(50, 7, 32, 0.02).early_signal_length == 1


def test_the_local_encoder_sees_the_start_of_the_waveform_twice():
    local = LocalEncoder(10, 1, 2, 0.4, width=0.1, dropout=0.0, batch_norm=False).eval()
    first = local.local_layers[0]
    assert first.in_features == 10 + 4 + 1
    with torch.no_grad():
        first.weight.zero_()
        first.weight[0, 10] = 1.0  # reads only the first sample of the early segment
        first.bias.zero_()
    signals, static = torch.arange(10.0).repeat(2, 1) + 1, torch.zeros(2, 1)
    signals[1, 1:] = 0.0
    assert torch.equal(first(torch.cat([signals, signals[:, :4], static], 1))[:, 0], torch.ones(2))
    mu, _ = local(signals, static)
    torch.testing.assert_close(mu[0], mu[1])
    signals[1, 0] = 5.0
    mu, _ = local(signals, static)
    assert not torch.allclose(mu[0], mu[1])


@pytest.mark.parametrize("static_dim", [1, 7, 13])
@pytest.mark.parametrize(
    ("signal_length", "dims", "width"), [(201, (5, 9), 0.37), (33, (1, 1), 0.05), (200, (17, 33), 1.0)]
)
def test_odd_dimensions(signal_length, static_dim, dims, width):
    encoder = HierarchicalEncoder(signal_length, static_dim, *dims, early_signal_ratio=0.27, width=width)
    out = encoder(torch.randn(3, signal_length), torch.randn(3, static_dim))
    assert {name: tuple(value.shape) for name, value in out.items()} == {
        "mu_global": (3, dims[0]),
        "logvar_global": (3, dims[0]),
        "mu_local": (3, dims[1]),
        "logvar_local": (3, dims[1]),
    }


def test_each_latent_comes_from_its_own_encoder():
    encoder = HierarchicalEncoder(40, 3, 4, 5, width=0.1).eval()
    signals, static = torch.randn(2, 40), torch.randn(2, 3)
    out = encoder(signals, static)
    assert torch.equal(out["mu_global"], encoder.global_encoder(signals, static)[0])
    assert torch.equal(out["logvar_local"], encoder.local_encoder(signals, static)[1])


@pytest.mark.parametrize("levels", [1, 2])
def test_each_intermediate_level_has_an_encoder_like_the_global_one(levels):
    encoder = HierarchicalEncoder(40, 3, 4, 5, width=0.1, intermediate_levels=levels, intermediate_latent_dim=6).eval()
    signals, static = torch.randn(2, 40), torch.randn(2, 3)
    out = encoder(signals, static)
    assert list(out) == [
        f"{name}_{block}" for block in ("global", "intermediate", "local") for name in ("mu", "logvar")
    ]
    assert len(encoder.intermediate_encoders) == levels
    for level, alone in enumerate(encoder.intermediate_encoders):
        assert parameters(alone) == parameters(GlobalEncoder(40, 3, 6, width=0.1))
        dims = slice(6 * level, 6 * (level + 1))
        mu, logvar = alone(signals, static)
        assert torch.equal(out["mu_intermediate"][:, dims], mu)
        assert torch.equal(out["logvar_intermediate"][:, dims], logvar)
    assert out["mu_intermediate"].shape == (2, 6 * levels)


@pytest.mark.parametrize("attention", [True, False])
def test_with_attention_each_latent_depends_on_the_features_of_the_other_encoder(attention):
    encoder = HierarchicalEncoder(40, 3, 4, 5, width=0.1, attention=attention, intermediate_levels=1).eval()
    signals, static = torch.randn(2, 40), torch.randn(2, 3)
    before = encoder(signals, static)
    for changed, other in (("global", "local"), ("local", "global")):
        alone = getattr(encoder, f"{changed}_encoder")
        moved = alone.features(signals, static) + 1
        alone.features = lambda signals, static, moved=moved: moved
        after = encoder(signals, static)
        del alone.features
        assert not torch.allclose(after[f"mu_{changed}"], before[f"mu_{changed}"])
        assert torch.equal(after[f"mu_{other}"], before[f"mu_{other}"]) is not attention
        assert torch.equal(after["mu_intermediate"], before["mu_intermediate"])


def test_with_attention_the_encoders_still_work_alone_and_give_nearly_the_same():
    torch.manual_seed(0)
    encoder = HierarchicalEncoder(200, 7, 8, 8, attention=True).eval()
    signals, static = torch.randn(64, 200), torch.randn(64, 7)
    together, (alone, _) = encoder(signals, static)["mu_global"], encoder.global_encoder(signals, static)
    assert 0 < (together - alone).std() < 0.1 * alone.std()
