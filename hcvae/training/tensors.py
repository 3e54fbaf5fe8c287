"""The rows of a part as tensors on the training device.

Shapes: N rows, T samples, S static parameters.
"""

import warnings
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch

from hcvae.data.dataset import Part
from hcvae.data.streaming import Block


@dataclass(frozen=True)
class PartTensors:
    """Rows as tensors on one device; on the CPU they share the memory of the arrays."""

    signals: torch.Tensor
    """Normalised waveforms [N, T]."""
    static: torch.Tensor
    """Encoded static parameters [N, S]."""
    peaks: torch.Tensor
    """Labelled peaks [N, 6]."""
    peak_mask: torch.Tensor
    """Whether a peak is labelled, bool [N, 6]."""
    averages: torch.Tensor
    """Normalised waveforms [M, T] to which `other` refers; shared by all batches."""
    other: torch.Tensor
    """Row of `averages` with another average of the same response, or with the waveform itself, [N]."""

    @classmethod
    def of(cls, part: Part, device: torch.device) -> Self:
        """Put the rows of `part` on `device`."""
        signals = as_tensor(part.signals, device)
        return cls(
            signals=signals,
            static=as_tensor(part.static, device),
            peaks=as_tensor(part.peaks, device),
            peak_mask=as_tensor(part.peak_mask, device),
            averages=signals,
            other=as_tensor(part.other, device),
        )

    @classmethod
    def of_block(cls, block: Block, device: torch.device) -> Self:
        """Put rows that were read from the disk on `device`."""
        tensors = {name: as_tensor(array, device) for name, array in block.items()}
        averages = tensors.pop("response")
        return cls(**tensors, averages=averages, other=torch.arange(len(averages), device=device))

    def __len__(self) -> int:
        return len(self.signals)

    @property
    def response(self) -> torch.Tensor:
        """Another average of the same response [N, T], or the waveform itself where there is none."""
        return self.averages[self.other]

    def take(self, rows: torch.Tensor) -> Self:
        """Return the rows of these numbers."""
        taken = {name: tensor[rows] for name, tensor in vars(self).items() if name != "averages"}
        return replace(self, **taken)


def on_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Copy a tensor in this process's memory to `device`, without waiting for a GPU."""
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def as_tensor(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """Return an array as a tensor on `device`; on the CPU it shares the array's memory."""
    # Arrays shared by Ray are read-only. torch warns that tensors cannot be; nothing here writes to them.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array).to(device)
