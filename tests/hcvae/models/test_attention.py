"""Cross-attention: the published formula, near the identity at the start, widths that are no multiple of a token."""

import pytest
import torch

from hcvae.models.attention import HEADS, TOKEN_DIM, TOKENS, CrossAttention, FeatureExchange


def test_it_adds_multi_head_attention_over_tokens_of_the_other_features():
    torch.manual_seed(0)
    cross, features, other = CrossAttention(9, 13), torch.randn(5, 9), torch.randn(5, 13)
    maps = cross.attention.in_proj_weight.chunk(3), cross.attention.in_proj_bias.chunk(3)
    tokens = [layer(x).reshape(5, TOKENS, TOKEN_DIM) for layer, x in ((cross.query, features), (cross.memory, other))]
    query, key, value = (
        (x @ weight.T + bias).reshape(5, TOKENS, HEADS, -1)
        for x, weight, bias in zip((tokens[0], tokens[1], tokens[1]), *maps, strict=True)
    )
    scores = torch.einsum("bihd,bjhd->bhij", query, key) / (TOKEN_DIM / HEADS) ** 0.5  # Vaswani et al. 2017, (1)
    attended = torch.einsum("bhij,bjhd->bihd", scores.softmax(dim=-1), value).reshape(5, TOKENS, TOKEN_DIM)
    expected = features + cross.output(cross.attention.out_proj(attended).flatten(1))
    torch.testing.assert_close(cross(features, other), expected)


@pytest.mark.parametrize(("features", "other"), [(64, 128), (128, 64), (24, 47), (8, 8)])
def test_it_starts_near_the_identity_but_not_at_it(features, other):
    torch.manual_seed(0)
    x, y = torch.randn(256, features), torch.randn(256, other)
    change = (CrossAttention(features, other)(x, y) - x).std()
    assert 1e-3 < change < 0.1


def test_both_read_the_features_from_before_the_exchange():
    exchange = FeatureExchange(10, 12)
    of_global, of_local = torch.randn(4, 10), torch.randn(4, 12)
    new_global, new_local = exchange(of_global, of_local)
    assert torch.equal(new_global, exchange.to_global(of_global, of_local))
    assert torch.equal(new_local, exchange.to_local(of_local, of_global))


def test_rows_do_not_affect_each_other():
    exchange, of_global, of_local = FeatureExchange(10, 12), torch.randn(4, 10), torch.randn(4, 12)
    for together, alone in zip(exchange(of_global, of_local), exchange(of_global[:1], of_local[:1]), strict=True):
        torch.testing.assert_close(together[:1], alone)
