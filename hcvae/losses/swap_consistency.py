"""Swap consistency: a waveform keeps its shape when z_global is exchanged, and its coarse attributes when z_local is.

Legend: B batch, N waveforms, T samples, K coefficients below 150 Hz (the offset among them).
"""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.fft import dct
from torch import Tensor, nn

from hcvae.losses.kl import Number
from hcvae.metrics.attributes import COARSE, FINE, low_band
from hcvae.metrics.routing_data import NEGLIGIBLE_BAND

MIN_VARIANCE = 1e-6
"""Added to the residual's variance before its logarithm; normalised waveforms have variance 1."""


class SwapConsistency(nn.Module):
    """The penalty: errors of the attributes of `hcvae.metrics.attributes`, in units of the attributes' variance.

    Waveforms are decoded once more with another row's z_global: their shape must still be that of the row's own
    response. And with another row's z_local: offset, trend and gain must still be the row's own. What is wanted is
    read from recorded averages, not from the reconstruction: so the penalty also asks that each block carries its
    attributes, and cannot be met by carrying nothing. Every average of the response is wanted equally, the encoded
    one included: an independent one alone would give the noise of the encoded average no reward (Lehtinen et al.
    2018, "Noise2Noise", ICML), and with it the details that only the encoded average shows. In kind the intervention
    of Hu et al. 2018, "Disentangling Factors of Variation by Mixing Them", CVPR, and of Locatello et al. 2020,
    "Weakly-Supervised Disentanglement Without Compromises", ICML.

    Args:
        signals: training waveforms [N, T], normalised: they give the attributes' variances.
        sampling_rate_hz: their sampling rate.
    """

    transform: Tensor

    def __init__(self, signals: Tensor, sampling_rate_hz: float) -> None:
        super().__init__()
        n_samples = signals.shape[1]
        self.low_band = low_band(n_samples, sampling_rate_hz)
        cosines = torch.from_numpy(dct(np.eye(n_samples), type=2, norm="ortho", axis=1))
        self.register_buffer("transform", cosines.to(signals), persistent=False)
        variances = {name: values.var(dim=0).sum().item() for name, values in self.attributes(signals).items()}
        # As in the score: a band that a filter has emptied is not worth the attention of a full one.
        floor = NEGLIGIBLE_BAND * signals.var(dim=0).sum().item()
        self.variances = {name: max(variance, floor) for name, variance in variances.items()}

    def forward(
        self, swapped_global: Tensor, swapped_local: Tensor, averages: Sequence[Tensor], n_rows: Number
    ) -> Tensor:
        """The penalty of B rows over `n_rows`, a scalar: 0 where all is kept, 2 where each is the average one.

        Args:
            swapped_global: decoded with another row's z_global, [B, T].
            swapped_local: decoded with another row's z_local, [B, T].
            averages: recorded waveforms of the rows' own responses, each [B, T].
            n_rows: denominator of the mean over rows.
        """
        fine, coarse = self.attributes(swapped_global), self.attributes(swapped_local)
        wanted = [self.attributes(average) for average in averages]
        errors = [self._errors(FINE, fine, each) + self._errors(COARSE, coarse, each) for each in wanted]
        return torch.stack(errors).mean(dim=0).sum() / n_rows

    def attributes(self, signals: Tensor) -> dict[str, Tensor]:
        """Waveforms [B, T] to offset [B, 1], trend [B, K - 1], gain [B, 1] and shape [B, T - K]."""
        coefficients = signals @ self.transform
        residual = coefficients[:, self.low_band :]
        variance = residual.square().sum(dim=1, keepdim=True) / signals.shape[1] + MIN_VARIANCE
        return {
            "offset": coefficients[:, :1],
            "trend": coefficients[:, 1 : self.low_band],
            "gain": 0.5 * variance.log(),
            "shape": residual * variance.rsqrt(),
        }

    def _errors(self, group: tuple[str, ...], attributes: dict[str, Tensor], wanted: dict[str, Tensor]) -> Tensor:
        """Squared error of each row [B] in units of the attribute's variance, averaged over the group."""
        errors = [(attributes[name] - wanted[name]).square().sum(dim=1) / self.variances[name] for name in group]
        return torch.stack(errors).mean(dim=0)
