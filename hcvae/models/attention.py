"""Cross-attention between the features of two encoders.

Shapes: B batch, F features of the attending encoder, O features of the other, K tokens, D dimensions of a token.
"""

import torch
from torch import Tensor, nn

from hcvae.models.layers import init_small

TOKENS = 8
TOKEN_DIM = 16
HEADS = 4
INITIAL_SCALE = 0.1
"""Scale of the output weights. The attended values start at about a tenth of a token's size: near the identity, but not
at it, where no gradient would reach the attention."""


class CrossAttention(nn.Module):
    """Adds to features what they attend to in the features of another encoder.

    Each token is a linear map of all features. Vaswani et al. 2017, "Attention Is All You Need", NeurIPS.
    """

    def __init__(self, features: int, other_features: int) -> None:
        super().__init__()
        self.query = nn.Linear(features, TOKENS * TOKEN_DIM)
        self.memory = nn.Linear(other_features, TOKENS * TOKEN_DIM)
        self.attention = nn.MultiheadAttention(TOKEN_DIM, HEADS, batch_first=True)
        self.output = nn.Linear(TOKENS * TOKEN_DIM, features)
        init_small(self.output, INITIAL_SCALE / (TOKENS * TOKEN_DIM) ** 0.5)

    def forward(self, features: Tensor, other: Tensor) -> Tensor:
        """Return features [B, F] plus what they attend to in other [B, O], [B, F]."""
        query = self.query(features).unflatten(1, (TOKENS, TOKEN_DIM))  # [B, K, D]
        memory = self.memory(other).unflatten(1, (TOKENS, TOKEN_DIM))
        attended, _ = self.attention(query, memory, memory, need_weights=False)
        return torch.add(features, self.output(attended.flatten(1)))


class FeatureExchange(nn.Module):
    """Cross-attention in both directions between global and local features, each reading the other's inputs."""

    def __init__(self, global_features: int, local_features: int) -> None:
        super().__init__()
        self.to_global = CrossAttention(global_features, local_features)
        self.to_local = CrossAttention(local_features, global_features)

    def forward(self, global_features: Tensor, local_features: Tensor) -> tuple[Tensor, Tensor]:
        """Return global [B, F] and local features [B, O], each with what it attends to in the other."""
        return self.to_global(global_features, local_features), self.to_local(local_features, global_features)
