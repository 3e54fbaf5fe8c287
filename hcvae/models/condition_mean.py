"""The simplest baseline: what the condition alone says of the waveform.

Legend: N rows, T samples, S static parameters.
"""

import torch
from torch import Tensor, nn

from hcvae.models.prior import Prior

LOG_VARIANCE = -12.0
"""Added to the covariance, which nothing here uses, so that it is positive definite for band-limited waveforms, too."""


class ConditionMean(nn.Module):
    """The mean waveform given the condition: the ridge regression of `Prior`, on the waveform itself.

    Args:
        signal_length: samples in a waveform.
        static_dim: encoded static parameters.
    """

    def __init__(self, signal_length: int, static_dim: int) -> None:
        super().__init__()
        self.signal_length = signal_length
        self.regression = Prior(static_dim, signal_length)

    def fit(self, signals: Tensor, static_params: Tensor) -> "ConditionMean":
        """Learn from normalised waveforms [N, T] under conditions [N, S]; returns the model itself."""
        self.regression.fit(static_params, signals, torch.full_like(signals, LOG_VARIANCE))
        return self

    @torch.no_grad()
    def forward(self, static_params: Tensor) -> Tensor:
        """The mean waveforms [N, T] under conditions [N, S]."""
        mean: Tensor = self.regression(static_params, static_params.new_zeros(len(static_params), self.signal_length))
        return mean
