"""The loops that `benchmarks.training_step` compares: a plain one, Lightning's Trainer, and `hcvae.training.fit`."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning
import torch

from hcvae.config import Config
from hcvae.data.dataset import Dataset
from hcvae.models import build
from hcvae.training import fit
from hcvae.training import loop as training_loop
from hcvae.training.configuration import resolve
from hcvae.training.schedule import component_weights
from hcvae.training.step import TrainingStep
from hcvae.training.tensors import PartTensors

TIMED = ("forward", "backward", "optimiser", "evaluation", "checkpoints")
"""The parts of a `fit` that are timed separately."""


def plain_loop(config: Config, data: Dataset, fused: bool = False) -> dict[str, float]:
    """Train in a minimal loop."""
    step, weights, train = prepared(config, data)
    optimizer = torch.optim.AdamW(step.parameters(), lr=config.training.learning_rate, fused=fused)
    started = time.perf_counter()
    for _ in range(config.training.epochs):
        for rows in torch.randperm(len(train)).split(config.training.batch_size):
            batch = train.take(rows)
            noise = tuple(torch.randn(len(rows), dim) for dim in step.model.latent_dims.values())
            total, _ = step(batch, noise, weights, len(rows), batch.peak_mask.sum())
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
    return {"all": time.perf_counter() - started}


def prepared(config: Config, data: Dataset) -> tuple[TrainingStep, dict[str, float], PartTensors]:
    """Return a step of a new model in train mode, the weights of its loss, and the training rows."""
    config = resolve(config, data, 1)
    torch.manual_seed(config.training.seed)
    train = PartTensors.of(data.train, torch.device("cpu"))
    step = TrainingStep(config, build(config.model), train, data.preprocessing.sampling_rate_hz).train()
    return step, component_weights(config, config.training.loss_weights), train


def timed_fit(config: Config, data: Dataset) -> dict[str, float]:
    """Run `fit` with clocks around the functions that an epoch calls."""
    seconds: dict[str, float] = dict.fromkeys(TIMED, 0.0)
    with (
        tempfile.TemporaryDirectory() as folder,
        clocked(TrainingStep, "forward", seconds, "forward"),
        clocked(torch.Tensor, "backward", seconds, "backward"),
        clocked(torch.optim.AdamW, "step", seconds, "optimiser"),
        clocked(torch.nn.utils, "get_total_norm", seconds, "optimiser"),
        clocked(training_loop, "evaluate", seconds, "evaluation"),
        clocked(training_loop, "save_checkpoint", seconds, "checkpoints"),
    ):
        started = time.perf_counter()
        fit(config, data, Path(folder))
        seconds["all"] = time.perf_counter() - started
    return seconds


@contextmanager
def clocked(owner: Any, name: str, seconds: dict[str, float], part: str) -> Iterator[None]:
    """Add the time of each call of `owner.name` to `part`; on the CPU a call returns when its work is done."""
    original = getattr(owner, name)

    def call(*args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        try:
            return original(*args, **kwargs)
        finally:
            seconds[part] += time.perf_counter() - started

    setattr(owner, name, call)
    try:
        yield
    finally:
        setattr(owner, name, original)


class Batches(torch.utils.data.IterableDataset[PartTensors]):
    """Shuffled batches from memory: loading single rows, as is common with Lightning, would cost far more."""

    def __init__(self, rows: PartTensors, size: int) -> None:
        self._rows = rows
        self._size = size

    def __iter__(self) -> Iterator[PartTensors]:
        for rows in torch.randperm(len(self._rows)).split(self._size):
            yield self._rows.take(rows)


class Lightning(lightning.LightningModule):
    """The same step as a LightningModule."""

    def __init__(self, config: Config, data: Dataset) -> None:
        super().__init__()
        self.step, self.loss_weights, self.rows = prepared(config, data)
        self.config = config.training

    def training_step(self, batch: PartTensors) -> torch.Tensor:
        """Return the loss of a batch."""
        noise = tuple(torch.randn(len(batch), dim) for dim in self.step.model.latent_dims.values())
        total: torch.Tensor = self.step(batch, noise, self.loss_weights, len(batch), batch.peak_mask.sum())[0]
        return total

    def transfer_batch_to_device(self, batch: PartTensors, *where: Any) -> PartTensors:
        """Return the batch unchanged: it is on the CPU, and Lightning cannot move a frozen dataclass."""
        return batch

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return AdamW, fused if the training is in bf16, as in the plain loop."""
        return torch.optim.AdamW(self.parameters(), lr=self.config.learning_rate, fused=self.config.precision == "bf16")


def lightning_trainer(config: Config, data: Dataset) -> dict[str, float]:
    """Train with Lightning's Trainer without its logger and checkpoints; the step itself does the autocast."""
    module = Lightning(config, data)
    off: dict[str, Any] = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    loader = torch.utils.data.DataLoader(Batches(module.rows, config.training.batch_size), batch_size=None)
    with tempfile.TemporaryDirectory() as folder:
        trainer = lightning.Trainer(
            accelerator="cpu", max_epochs=config.training.epochs, default_root_dir=folder, **off
        )
        started = time.perf_counter()
        trainer.fit(module, loader)
        return {"all": time.perf_counter() - started}
