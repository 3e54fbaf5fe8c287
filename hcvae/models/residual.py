"""The noise that recorded averages contain besides the response.

Shapes: N rows, T samples, S static parameters.
"""

import torch
from torch import Tensor, nn

from hcvae.models.condition import ConditionRegression, Rows

MIN_RMS = 1e-6
"""Floor of an RMS, in units of the normalised waveforms: keeps the logarithm of a perfect reconstruction finite."""


class ResidualNoise(nn.Module):
    """Waveforms minus the decoder's output: normal with mean 0 and covariance r^2 s(c)^2 C under the condition c.

    s(c) is a log-linear regression on the condition, as fewer averages contain more noise. r is log-normal and differs
    between waveforms, as recordings under one condition are not equally quiet. C [T, T] is the same for all conditions.
    Before `fit` there is no noise.

    Args:
        static_dim: encoded static parameters.
        signal_length: samples in a waveform.
    """

    spread: Tensor
    factor: Tensor

    def __init__(self, static_dim: int, signal_length: int) -> None:
        super().__init__()
        self.log_rms = ConditionRegression(static_dim, 1)
        self.register_buffer("spread", torch.zeros(()))
        self.register_buffer("factor", torch.zeros(signal_length, signal_length))

    def forward(self, static_params: Tensor, noise: Tensor) -> Tensor:
        """Return noise [N, T] under the conditions [N, S]; `noise` [N, 1 + T] is standard normal, that of r first."""
        log_r = self.spread * noise[:, :1] - self.spread**2  # r^2 is 1 on average
        rms: Tensor = (self.log_rms(static_params) + log_r).exp()
        return rms * (noise[:, 1:] @ self.factor.T)

    @torch.no_grad()
    def fit(
        self,
        static_params: Tensor,
        signals: Tensor,
        decoded: Tensor,
        held_out: tuple[Tensor, Tensor, Tensor] | None = None,
    ) -> None:
        """Match the second moments of the decoder's output plus noise to those of recordings.

        s(c) and the spread of r are fitted to the residuals. C is not their covariance but that of the waveforms minus
        that of the decoded samples, each row over s(c)^2: the two differ by twice the covariance of residual and
        decoded sample. It is negative where the encoder copied noise, which samples from the prior contain again, and
        positive where a strong KL weight shrank the responses. The response cancels in the difference of each row, and
        with it most of the sampling error. Directions with more variance decoded than recorded get no noise.

        Args:
            static_params: conditions of the training part, [N, S].
            signals: its waveforms, [N, T].
            decoded: the decoder's output for samples from their posteriors, [N, T]; that for the posteriors' means
                would lack the variance of the samples.
            held_out: the same three of other rows, for `ConditionRegression`.
        """
        residual = signals - decoded
        held_out_rows: Rows | None = None
        if held_out is not None:
            held_out_static, held_out_signals, held_out_decoded = held_out
            held_out_rows = (held_out_static, _log_rms(held_out_signals - held_out_decoded))
        self.log_rms.fit(static_params, _log_rms(residual), held_out_rows)
        expected = self.log_rms(static_params).exp()
        self.spread.copy_(_spread_beyond_chance(residual / expected))
        recorded = signals.double() / expected
        sampled = decoded.double() / expected
        excess = (recorded.T @ recorded - sampled.T @ sampled) / len(signals)
        variances, directions = torch.linalg.eigh(excess)
        self.factor.copy_(directions * variances.clamp(min=0).sqrt())


def _log_rms(residual: Tensor) -> Tensor:
    """Return the logarithm [N, 1] of the RMS of each residual [N, T]."""
    return residual.square().mean(dim=1, keepdim=True).sqrt().clamp(min=MIN_RMS).log()


def _spread_beyond_chance(unit: Tensor) -> Tensor:
    """Return the standard deviation of log r, by fourth moments of the residuals [N, T] over s(c).

    The mean square q of T samples of Gaussian noise varies by chance, E q^2 / (E q)^2 = 1 + 2 tr C^2 / (tr C)^2, and a
    log-normal r multiplies that by E r^4 / (E r^2)^2 = exp(4 sd^2).
    """
    unit = unit.double()
    q = unit.square().mean(dim=1)
    covariance = unit.T @ unit / len(unit)
    chance = 1 + 2 * covariance.square().sum() / covariance.trace().square().clamp(min=MIN_RMS)
    ratio = q.square().mean() / q.mean().square().clamp(min=MIN_RMS)
    return (ratio / chance).log().clamp(min=0).sqrt() / 2
