"""Cross-attention between the features of two encoders.

Legend: B batch, F features that read, O features that are read, K tokens, D dimensions of a token.
"""

import torch
from torch import Tensor, nn

from hcvae.models.layers import init_small

TOKENS = 8
TOKEN_DIM = 16
HEADS = 4
INITIAL_SCALE = 0.1
"""Scale of the output weights: what is heard starts at about a tenth of a token's size, near the identity but not at
it, where no gradient would reach the attention."""


class CrossAttention(nn.Module):
    """Features that read another encoder's: both become tokens, and what attention makes of them is added.

    A linear map of all features makes each token. Vaswani et al. 2017, "Attention Is All You Need", NeurIPS.
    """

    def __init__(self, features: int, other_features: int) -> None:
        super().__init__()
        self.query = nn.Linear(features, TOKENS * TOKEN_DIM)
        self.memory = nn.Linear(other_features, TOKENS * TOKEN_DIM)
        self.attention = nn.MultiheadAttention(TOKEN_DIM, HEADS, batch_first=True)
        self.output = nn.Linear(TOKENS * TOKEN_DIM, features)
        init_small(self.output, INITIAL_SCALE / (TOKENS * TOKEN_DIM) ** 0.5)

    def forward(self, features: Tensor, other: Tensor) -> Tensor:
        """features [B, F] that have heard other [B, O]: [B, F]."""
        query = self.query(features).unflatten(1, (TOKENS, TOKEN_DIM))  # [B, K, D]
        memory = self.memory(other).unflatten(1, (TOKENS, TOKEN_DIM))
        heard, _ = self.attention(query, memory, memory, need_weights=False)
        return torch.add(features, self.output(heard.flatten(1)))


class FeatureExchange(nn.Module):
    """Global and local features hear each other, both as they were before the exchange."""

    def __init__(self, global_features: int, local_features: int) -> None:
        super().__init__()
        self.to_global = CrossAttention(global_features, local_features)
        self.to_local = CrossAttention(local_features, global_features)

    def forward(self, global_features: Tensor, local_features: Tensor) -> tuple[Tensor, Tensor]:
        """Global [B, F] and local features [B, O], each with what it has heard from the other."""
        return self.to_global(global_features, local_features), self.to_local(local_features, global_features)
