"""Swap consistency with targets that the noise of the recorded averages does not bias.

Shapes: B batch, N waveforms, T samples, K coefficients below 150 Hz (including the offset).
"""

import math

import torch
from torch import Tensor

from hcvae.losses.kl import Number
from hcvae.losses.swap_penalty import SwapPenalty
from hcvae.waveform_attributes import NEGLIGIBLE_BAND

MAX_ROWS = 32_768
"""Rows from which the units of the errors are computed: more change them little, and need memory."""
SMALL_POWER = 0.05
"""Share of the mean power below which a relative error of the power counts less."""
MIN_SQUARED_NORM = 1e-4
"""Added to a squared norm before a division; normalised waveforms have squared norms of about T."""


class DenoisedSwapConsistency(SwapPenalty):
    """The penalty of `hcvae.losses.swap_consistency`, with other errors and units.

    For given latents, independent noise of the averages shifts no optimum (Lehtinen et al. 2018, "Noise2Noise", ICML).
    With r and r' the parts of two averages above 150 Hz, u the decoded part divided by its norm, p the decoded power
    and [p] the same without a gradient:

    - shape: |r| - u r, linear in r. A response counts in proportion to its size, so that noise alone counts little.
    - gain: ((p - r r') / 2 [p + c])^2, about the squared error of the logarithm of the RMS. The product of two
      independent averages has the power of the response as its mean; the power of one average also contains that of its
      noise. The constant c is the standard deviation of r r' where there is noise alone, and a share of the mean power:
      rows without a response do not dominate.
    - offset and trend: squared errors of the coefficients.

    Both averages count equally: the other one alone would not reward the details that only the encoded average
    contains. A row without another average is its own other average; the gain of its target then contains its noise.

    Args:
        signals: normalised training waveforms [N, T]. They determine the units: predicting the mean of an attribute,
            for the gain the mean power, costs 1.
        others: another average of the same response for each, or the waveform itself, [N, T].
        sampling_rate_hz: their sampling rate.
        coarse_factor: on the errors of the coarse attributes, relative to those of the shape.
    """

    low_weights: Tensor

    def __init__(self, signals: Tensor, others: Tensor, sampling_rate_hz: float, coarse_factor: float = 1.0) -> None:
        super().__init__(signals, sampling_rate_hz, coarse_factor)
        step = math.ceil(len(signals) / MAX_ROWS)
        self._set_units(signals[::step], others[::step])

    def _set_units(self, signals: Tensor, others: Tensor) -> None:
        low, residual = self._bands(signals)
        _, other = self._bands(others)
        # As in the score: a band that a filter has emptied must not count as much as a full one.
        total = signals.var(dim=0).sum()
        self.register_buffer("low_weights", _low_weights(low, NEGLIGIBLE_BAND * total), persistent=False)
        norm = _norms(residual).mean().item()
        mean_norm = _norms(residual.mean(dim=0, keepdim=True)).item()
        self.shape_scale = max(norm - mean_norm, NEGLIGIBLE_BAND * norm)
        is_paired = (signals != others).any(dim=1)  # a sample of a streamed table holds few of its pairs
        if is_paired.any():
            residual = residual[is_paired]
            other = other[is_paired]
        power = _product(residual, other)
        mean_power = max(power.mean().item(), NEGLIGIBLE_BAND * total.item())
        noise_variances = (residual - other).square().mean(dim=0) / 2
        self.small_power = SMALL_POWER * mean_power + noise_variances.norm().item()
        gain_error = self._relative(power - mean_power, mean_power).square().mean().item()
        self.gain_scale = max(gain_error, NEGLIGIBLE_BAND)

    def forward(
        self, swapped_global: Tensor, swapped_local: Tensor, averages: tuple[Tensor, Tensor], n_rows: Number
    ) -> Tensor:
        """Return the penalty of B rows over `n_rows`, a scalar.

        If each attribute is the average, the shape adds 1 and the coarse attributes add `coarse_factor`.

        Args:
            swapped_global: decoded with another row's z_global, [B, T].
            swapped_local: decoded with another row's z_local, [B, T].
            averages: recorded waveforms, and other averages of their responses or the waveforms again, each [B, T].
            n_rows: denominator of the mean over rows.
        """
        own, other = map(self._bands, averages)
        _, shape = self._bands(swapped_global)
        low, residual = self._bands(swapped_local)
        weight = self.coarse_factor / self.n_coarse
        errors = weight * self._gain_error(residual, own[1], other[1])
        for recorded_low, recorded in (own, other):
            low_error = (low - recorded_low).square() @ self.low_weights
            errors = errors + (self._shape_error(shape, recorded) + weight * low_error) / 2
        total: Tensor = errors.sum() / n_rows
        return total

    @property
    def n_coarse(self) -> int:
        """Number of coarse attributes: short waveforms have no trend."""
        return 3 if self.low_band > 1 else 2

    def _shape_error(self, decoded: Tensor, recorded: Tensor) -> Tensor:
        direction = decoded * (decoded.square().sum(dim=1, keepdim=True) + MIN_SQUARED_NORM).rsqrt()
        return (_norms(recorded) - _product(direction, recorded)) / self.shape_scale

    def _gain_error(self, decoded: Tensor, recorded: Tensor, other: Tensor) -> Tensor:
        power = _product(decoded, decoded)
        difference = power - _product(recorded, other)
        return self._relative(difference, power.detach()).square() / self.gain_scale

    def _relative(self, difference: Tensor, power: Number) -> Tensor:
        relative: Tensor = difference / (2 * (power + self.small_power))
        return relative


def _norms(waveforms: Tensor) -> Tensor:
    """Return the norm of each waveform [B, T - K], [B]."""
    norms: Tensor = torch.linalg.vector_norm(waveforms, dim=1)
    return norms


def _product(first: Tensor, second: Tensor) -> Tensor:
    """Return the product of two waveforms [B, T - K], summed over their coefficients, [B]."""
    return (first * second).sum(dim=1)


def _low_weights(low: Tensor, smallest_variance: Tensor) -> Tensor:
    """Return the weight of each coefficient below 150 Hz [K]: offset and trend each add 1 if they are the average."""
    variances = low.var(dim=0)
    trend = variances[1:].sum().expand(low.shape[1] - 1)
    return 1 / torch.cat([variances[:1], trend]).clamp(min=smallest_variance)
