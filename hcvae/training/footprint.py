"""The memory that a training needs on its device, measured by one of its steps on the CPU."""

from dataclasses import dataclass

import torch

from hcvae.config import Config
from hcvae.data.dataset import Dataset, Part
from hcvae.models import build
from hcvae.training.configuration import resolve
from hcvae.training.schedule import component_weights
from hcvae.training.step import TrainingStep
from hcvae.training.tensors import PartTensors

COPIES = 5
"""Copies of the parameters in fp32: weights, gradient, AdamW's two moments, the best epoch's weights."""


@dataclass(frozen=True)
class Footprint:
    """Bytes that a training needs."""

    parameters: int
    """The copies of the parameters."""
    activations: int
    """What a forward pass of a whole batch keeps for the backward pass, without the parameters."""
    data: int
    """The training and validation rows."""

    @property
    def total(self) -> int:
        """The sum; temporary tensors (gradients of activations, an evaluation's) count as much as the activations."""
        return self.parameters + 2 * self.activations + self.data


def footprint(config: Config, data: Dataset) -> Footprint:
    """Measure a training of `config` on `data`."""
    config = resolve(config, data, 1)
    train = PartTensors.of(data.train, torch.device("cpu"))
    step = TrainingStep(config, build(config.model), train, data.preprocessing.sampling_rate_hz)
    parameters = sum(parameter.nbytes for parameter in step.parameters())
    rows = _tensor_bytes(data.train) + _tensor_bytes(data.validation)
    return Footprint(COPIES * parameters, activation_bytes(step, config, train), rows)


def activation_bytes(step: TrainingStep, config: Config, train: PartTensors) -> int:
    """Return the bytes that the forward pass of a batch keeps for the backward pass, without parameters and buffers."""
    rows = min(config.training.batch_size, len(train))
    batch = train.take(torch.arange(rows))
    noise = tuple(torch.randn(rows, dim) for dim in step.model.latent_dims.values())
    weights = component_weights(config, config.training.loss_weights)
    owned = set(map(_address, (*step.parameters(), *step.buffers())))
    kept: dict[int, torch.UntypedStorage] = {}  # kept alive, so that no address is used twice

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if _address(tensor) not in owned:
            kept[_address(tensor)] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        step(batch, noise, weights, rows, batch.peak_mask.sum())
    return sum(map(torch.UntypedStorage.nbytes, kept.values()))


def _address(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _tensor_bytes(part: Part) -> int:
    # Other averages refer to the waveforms and need no memory of their own.
    return part.signals.nbytes + part.static.nbytes + part.peaks.nbytes + part.peak_mask.nbytes
