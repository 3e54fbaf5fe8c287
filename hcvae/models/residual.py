"""The noise that averages of a recorder hold beside the response.

Legend: N rows, T samples, S static parameters.
"""

import torch
from torch import Tensor, nn

from hcvae.models.condition import ConditionRegression

SMALLEST_RMS = 1e-6
"""In units of the normalised waveforms: keeps the logarithm of a perfect reconstruction finite."""


class ResidualNoise(nn.Module):
    """What waveforms hold beyond the decoder's output: x | z, c is normal around it, with covariance s(c)^2 C.

    s(c) is a log-linear regression on the condition: fewer averages, more noise. C [T, T] is one for all conditions.
    None until it is fitted.

    Args:
        static_dim: encoded static parameters.
        signal_length: samples of a waveform.
    """

    factor: Tensor

    def __init__(self, static_dim: int, signal_length: int) -> None:
        super().__init__()
        self.log_rms = ConditionRegression(static_dim, 1)
        self.register_buffer("factor", torch.zeros(signal_length, signal_length))

    def forward(self, static_params: Tensor, noise: Tensor) -> Tensor:
        """Residual noise [N, T] under the conditions [N, S], from standard-normal noise [N, T]."""
        rms: Tensor = self.log_rms(static_params).exp()
        return rms * (noise @ self.factor.T)

    @torch.no_grad()
    def fit(self, static_params: Tensor, signals: Tensor, decoded: Tensor) -> None:
        """Make decoder's output plus noise match recordings in their second moments.

        s(c) is learned from the residuals. C is not their covariance but that of the waveforms less that of the decoded
        draws, each row over s(c)^2: the two differ by twice the covariance of residual and decoded draw. It is negative
        where the encoder copied noise, which draws from the prior bring back, and positive where a strong KL weight
        shrank the responses. Row by row the response cancels in the difference, and with it most of the sampling error.
        Directions with more variance decoded than recorded get none.

        Args:
            static_params: conditions of the training part, [N, S].
            signals: its waveforms, [N, T].
            decoded: the decoder's output for draws from their posteriors, [N, T]; from the posteriors' means it would
                lack the variance of the draws.
        """
        rms = (signals - decoded).square().mean(dim=1, keepdim=True).sqrt()
        self.log_rms.fit(static_params, rms.clamp(min=SMALLEST_RMS).log())
        expected = self.log_rms(static_params).exp()
        recorded, drawn = (signals / expected).double(), (decoded / expected).double()
        excess = (recorded.T @ recorded - drawn.T @ drawn) / len(signals)
        variances, directions = torch.linalg.eigh(excess)
        self.factor.copy_(directions * variances.clamp(min=0).sqrt())
