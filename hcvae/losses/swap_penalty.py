"""What both penalties of swap consistency share: the division of a waveform into its low band and the rest.

Shapes: B batch, N waveforms, T samples, K coefficients below 150 Hz (including the offset).
"""

import numpy as np
import torch
from scipy.fft import dct
from torch import Tensor, nn

from hcvae.waveform_attributes import low_band


class SwapPenalty(nn.Module):
    """A penalty on attributes of the orthonormal DCT-II of waveforms.

    Args:
        signals: normalised training waveforms [N, T]; the transform gets their length, type and device.
        sampling_rate_hz: their sampling rate.
        coarse_factor: on the errors of the coarse attributes, relative to those of the shape.
    """

    transform: Tensor

    def __init__(self, signals: Tensor, sampling_rate_hz: float, coarse_factor: float) -> None:
        super().__init__()
        self.coarse_factor = coarse_factor
        n_samples = signals.shape[1]
        self.low_band = low_band(n_samples, sampling_rate_hz)
        cosines = torch.from_numpy(dct(np.eye(n_samples), type=2, norm="ortho", axis=1))
        self.register_buffer("transform", cosines.to(signals), persistent=False)

    def _bands(self, signals: Tensor) -> tuple[Tensor, Tensor]:
        """Return the coefficients below 150 Hz [B, K] and the others [B, T - K]."""
        coefficients = signals @ self.transform
        return coefficients[:, : self.low_band], coefficients[:, self.low_band :]
