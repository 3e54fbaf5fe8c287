"""How much memory a training takes on its device, measured by a step of it on the CPU."""

from dataclasses import dataclass

import torch

from hcvae.config import Config
from hcvae.data.dataset import Dataset
from hcvae.models import build
from hcvae.training.configuration import resolve
from hcvae.training.schedule import component_weights
from hcvae.training.step import TrainingStep
from hcvae.training.tensors import PartTensors

COPIES = 5
"""Of the parameters, in fp32: the weights, their gradient, AdamW's two moments, the best epoch's weights."""


@dataclass(frozen=True)
class Footprint:
    """Bytes of a training."""

    parameters: int
    """The copies of the parameters."""
    activations: int
    """What a forward pass of a whole batch keeps for the backward pass, the parameters apart."""
    data: int
    """The training and validation rows."""

    @property
    def total(self) -> int:
        """All together; what passes through (gradients of activations, an evaluation's) counts as once more the
        activations."""
        return self.parameters + 2 * self.activations + self.data


def footprint(config: Config, data: Dataset) -> Footprint:
    """Measure a training of `config` on `data`."""
    config = resolve(config, data, 1)
    train = PartTensors.of(data.train, torch.device("cpu"))
    step = TrainingStep(config, build(config.model), train, data.preprocessing.sampling_rate_hz)
    parameters = sum(parameter.nbytes for parameter in step.parameters())
    # A part's other averages point into its waveforms.
    rows = sum(
        array.nbytes
        for part in (data.train, data.validation)
        for array in (part.signals, part.static, part.peaks, part.peak_mask)
    )
    return Footprint(COPIES * parameters, activation_bytes(step, config, train), rows)


def activation_bytes(step: TrainingStep, config: Config, train: PartTensors) -> int:
    """Bytes that the forward pass of a batch keeps for the backward pass, parameters and buffers themselves apart."""
    rows = min(config.training.batch_size, len(train))
    batch = train.take(torch.arange(rows))
    noise = tuple(torch.randn(rows, dim) for dim in step.model.latent_dims.values())
    weights = component_weights(config, config.training.loss_weights)
    owned = {tensor.untyped_storage().data_ptr() for tensor in (*step.parameters(), *step.buffers())}
    kept: dict[int, torch.UntypedStorage] = {}  # held, so that no address is used twice

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in owned:
            kept[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        step(batch, noise, weights, rows, batch.peak_mask.sum())
    return sum(storage.nbytes() for storage in kept.values())
