"""The noise that averages of a recorder hold beside the response.

Legend: N rows, T samples, S static parameters.
"""

import torch
from torch import Tensor, nn

from hcvae.models.condition import ConditionRegression

MIN_RMS = 1e-6
"""In units of the normalised waveforms: keeps the logarithm of a perfect reconstruction finite."""


class ResidualNoise(nn.Module):
    """What waveforms hold beyond the decoder's output: x | z, c is normal around it, with covariance r^2 s(c)^2 C.

    s(c) is a log-linear regression on the condition: fewer averages, more noise. r varies from waveform to waveform,
    log-normally: recordings of one condition are not equally quiet. C [T, T] is one for all conditions. None until it
    is fitted.

    Args:
        static_dim: encoded static parameters.
        signal_length: samples of a waveform.
    """

    spread: Tensor
    factor: Tensor

    def __init__(self, static_dim: int, signal_length: int) -> None:
        super().__init__()
        self.log_rms = ConditionRegression(static_dim, 1)
        self.register_buffer("spread", torch.zeros(()))
        self.register_buffer("factor", torch.zeros(signal_length, signal_length))

    def forward(self, static_params: Tensor, noise: Tensor) -> Tensor:
        """Residual noise [N, T] under the conditions [N, S], from standard-normal noise [N, 1 + T], r's first."""
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
        """Make decoder's output plus noise match recordings in their second moments.

        s(c) and the spread of r are learned from the residuals. C is not their covariance but that of the waveforms
        less that of the decoded draws, each row over s(c)^2: the two differ by twice the covariance of residual and
        decoded draw. It is negative where the encoder copied noise, which draws from the prior bring back, and positive
        where a strong KL weight shrank the responses. Row by row the response cancels in the difference, and with it
        most of the sampling error. Directions with more variance decoded than recorded get none.

        Args:
            static_params: conditions of the training part, [N, S].
            signals: its waveforms, [N, T].
            decoded: the decoder's output for draws from their posteriors, [N, T]; from the posteriors' means it would
                lack the variance of the draws.
            held_out: the same three of other rows, for `ConditionRegression`.
        """
        residual = signals - decoded
        others = None if held_out is None else (held_out[0], _log_rms(held_out[1] - held_out[2]))
        self.log_rms.fit(static_params, _log_rms(residual), others)
        expected = self.log_rms(static_params).exp()
        self.spread.copy_(_spread_beyond_chance(residual / expected))
        recorded, drawn = (rows.double() / expected for rows in (signals, decoded))
        excess = (recorded.T @ recorded - drawn.T @ drawn) / len(signals)
        variances, directions = torch.linalg.eigh(excess)
        self.factor.copy_(directions * variances.clamp(min=0).sqrt())


def _log_rms(residual: Tensor) -> Tensor:
    """[N, T] to [N, 1]."""
    return residual.square().mean(dim=1, keepdim=True).sqrt().clamp(min=MIN_RMS).log()


def _spread_beyond_chance(unit: Tensor) -> Tensor:
    """Standard deviation of log r, from the residuals [N, T] over s(c).

    By fourth moments. The mean square q of T samples of Gaussian noise varies by chance, E q^2 / (E q)^2 =
    1 + 2 tr C^2 / (tr C)^2, and a log-normal r multiplies that by E r^4 / (E r^2)^2 = exp(4 sd^2).
    """
    unit = unit.double()
    q = unit.square().mean(dim=1)
    covariance = unit.T @ unit / len(unit)
    chance = 1 + 2 * covariance.square().sum() / covariance.trace().square().clamp(min=MIN_RMS)
    ratio = q.square().mean() / q.mean().square().clamp(min=MIN_RMS)
    return (ratio / chance).log().clamp(min=0).sqrt() / 2
