"""A part of the split on the device that trains.

Legend: N rows, T samples, S static parameters.
"""

import warnings
from dataclasses import dataclass

import numpy as np
import torch

from hcvae.data.dataset import Part


@dataclass(frozen=True)
class PartTensors:
    """Rows as tensors on one device; on the CPU they share the memory of the arrays, all but `response`."""

    signals: torch.Tensor
    """Normalised waveforms [N, T]."""
    static: torch.Tensor
    """Encoded static parameters [N, S]."""
    peaks: torch.Tensor
    """Labelled peaks [N, 6]."""
    peak_mask: torch.Tensor
    """Where a peak is labelled, bool [N, 6]."""
    response: torch.Tensor
    """Another average of the same response [N, T], or the waveform itself where there is none."""

    @classmethod
    def of(cls, part: Part, device: torch.device) -> "PartTensors":
        """The tensors of `part`."""
        own = np.arange(len(part))
        response = part.signals[np.where(part.independent >= 0, part.independent, own)]
        arrays = (part.signals, part.static, part.peaks, part.peak_mask, response)
        return cls(*(as_tensor(array, device) for array in arrays))

    def __len__(self) -> int:
        return len(self.signals)

    def take(self, rows: torch.Tensor) -> "PartTensors":
        """Some of the rows, by number."""
        return PartTensors(*(tensor[rows] for tensor in vars(self).values()))


def as_tensor(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """An array on `device`, without a copy on the CPU."""
    # Ray shares arrays read-only; torch warns that it cannot mark them so, and nothing here writes to them.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array).to(device)
