"""Swap consistency: a waveform keeps its shape if z_global is exchanged, and its coarse attributes if z_local is.

Shapes: B batch, N waveforms, T samples, K coefficients below 150 Hz (including the offset).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from hcvae.losses.kl import Number
from hcvae.losses.swap_penalty import SwapPenalty
from hcvae.waveform_attributes import COARSE, FINE, NEGLIGIBLE_BAND

MIN_VARIANCE = 1e-6
"""Added to the residual's variance before its logarithm; normalised waveforms have variance 1."""


class SwapConsistency(SwapPenalty):
    """The penalty: errors of the attributes of `hcvae.waveform_attributes`, in units of the attributes' variance.

    Each waveform is decoded again with another row's z_global: its shape must still be that of the row's own response.
    And with another row's z_local: offset, trend and gain must still be the row's own. The targets are computed from
    recorded averages, not from the reconstruction: so the penalty also requires that each block carries its attributes,
    and a model that carries nothing does not satisfy it. All averages of the response are targets with equal weight,
    including the encoded one: an independent one alone would not reward the noise of the encoded average (Lehtinen et
    al. 2018, "Noise2Noise", ICML), nor the details that only the encoded average contains. The intervention follows Hu
    et al. 2018, "Disentangling Factors of Variation by Mixing Them", CVPR, and Locatello et al. 2020,
    "Weakly-Supervised Disentanglement Without Compromises", ICML.

    Args:
        signals: normalised training waveforms [N, T], which determine the attributes' variances.
        sampling_rate_hz: their sampling rate.
        coarse_factor: on the errors of the coarse attributes, relative to those of the shape.
    """

    def __init__(self, signals: Tensor, sampling_rate_hz: float, coarse_factor: float = 1.0) -> None:
        super().__init__(signals, sampling_rate_hz, coarse_factor)
        # As in the score: a band that a filter has emptied must not count as much as a full one.
        floor = NEGLIGIBLE_BAND * signals.var(dim=0).sum().item()
        self.variances = {}
        for name, values in self.attributes(signals).items():
            self.variances[name] = max(values.var(dim=0).sum().item(), floor)

    def forward(
        self, swapped_global: Tensor, swapped_local: Tensor, averages: Sequence[Tensor], n_rows: Number
    ) -> Tensor:
        """Return the penalty of B rows over `n_rows`, a scalar.

        It is 0 if all is kept. If each attribute is the average, the shape adds 1 and the coarse attributes add
        `coarse_factor`.

        Args:
            swapped_global: decoded with another row's z_global, [B, T].
            swapped_local: decoded with another row's z_local, [B, T].
            averages: recorded waveforms of the rows' own responses, each [B, T].
            n_rows: denominator of the mean over rows.
        """
        fine = self.attributes(swapped_global)
        coarse = self.attributes(swapped_local)
        errors = []
        for average in averages:
            target = self.attributes(average)
            errors.append(self._errors(FINE, fine, target) + self.coarse_factor * self._errors(COARSE, coarse, target))
        return torch.stack(errors).mean(dim=0).sum() / n_rows

    def attributes(self, signals: Tensor) -> dict[str, Tensor]:
        """Return offset [B, 1], trend [B, K - 1], gain [B, 1] and shape [B, T - K] of waveforms [B, T]."""
        low, residual = self._bands(signals)
        variance = residual.square().sum(dim=1, keepdim=True) / signals.shape[1] + MIN_VARIANCE
        return {
            "offset": low[:, :1],
            "trend": low[:, 1:],
            "gain": 0.5 * variance.log(),
            "shape": residual * variance.rsqrt(),
        }

    def _errors(self, group: tuple[str, ...], attributes: dict[str, Tensor], target: dict[str, Tensor]) -> Tensor:
        """Return the squared error of each row [B] in units of the attribute's variance, averaged over the group."""
        errors = [(attributes[name] - target[name]).square().sum(dim=1) / self.variances[name] for name in group]
        return torch.stack(errors).mean(dim=0)
