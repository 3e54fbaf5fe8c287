"""A part of the split on the device that trains.

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
    """Where a peak is labelled, bool [N, 6]."""
    averages: torch.Tensor
    """Normalised waveforms [M, T] that `other` points into, not copied for a batch."""
    other: torch.Tensor
    """The row of `averages` with another average of the same response, or with the waveform itself, [N]."""

    @classmethod
    def of(cls, part: Part, device: torch.device) -> Self:
        """The tensors of `part`."""
        other = np.where(part.independent >= 0, part.independent, np.arange(len(part)))
        signals = as_tensor(part.signals, device)
        static, peaks, mask = (as_tensor(array, device) for array in (part.static, part.peaks, part.peak_mask))
        return cls(signals, static, peaks, mask, averages=signals, other=as_tensor(other, device))

    @classmethod
    def of_block(cls, block: Block, device: torch.device) -> Self:
        """The tensors of rows that were read from the disk."""
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
        """Some of the rows, by number."""
        taken = {name: tensor[rows] for name, tensor in vars(self).items() if name != "averages"}
        return replace(self, **taken)


def on_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor of this process's memory on `device`; a GPU is not waited for."""
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def as_tensor(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """An array on `device`, without a copy on the CPU."""
    # Ray shares arrays read-only; torch warns that it cannot mark them so, and nothing here writes to them.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array).to(device)
