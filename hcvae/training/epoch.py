"""One epoch of training steps.

Shapes: B rows of a batch over all workers, G global and L local latent dimensions.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel

from hcvae.config import Config
from hcvae.data.dataset import TrainingRows
from hcvae.losses.kl import Number
from hcvae.models import Model
from hcvae.training.batches import RngStream, epoch_batches, keyed_seed, latent_noise
from hcvae.training.step import TrainingStep
from hcvae.training.streaming import Batch, streamed_batches
from hcvae.training.tensors import PartTensors, on_device
from hcvae.training.workers import Workers


class TrainingDiverged(RuntimeError):
    """A loss is not finite."""


class EpochTrainer:
    """Steps a model through epochs of the training part, alone or with other workers."""

    def __init__(
        self,
        config: Config,
        model: Model,
        data: PartTensors,
        workers: Workers,
        sampling_rate_hz: float,
        stream: TrainingRows | None = None,
    ) -> None:
        self.config = config.training
        self.latent_dims = list(model.latent_dims.values())
        n_data = None if stream is None else len(stream)
        self.module = TrainingStep(config, model, data, sampling_rate_hz, n_data).to(data.signals.device)
        self.replica = self._replica(workers.size)
        self.data = data
        self.stream = stream
        self.workers = workers
        self.optimizer = torch.optim.AdamW(
            self.module.parameters(), lr=self.config.learning_rate, weight_decay=self.config.weight_decay, fused=True
        )

    def _replica(self, n_workers: int) -> Callable[..., Any]:
        """Return the module as `backward` calls it: sharing gradients if there are several workers; maybe compiled."""
        replica: torch.nn.Module = self.module
        if n_workers > 1:
            replica = DistributedDataParallel(replica)
        if not self.config.compile:
            return replica
        # An epoch has batches of at most two sizes, and each size is compiled to a graph of its own.
        return torch.compile(replica, mode="reduce-overhead", dynamic=False)

    def run(self, epoch: int, weights: Mapping[str, float], learning_rate: float) -> dict[str, float]:
        """Train one epoch, counted from 0, and return the steps' mean losses and gradient norm as `train_*`.

        Raises:
            TrainingDiverged: a loss or the gradient is not finite.
        """
        self.module.train()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        torch.manual_seed(keyed_seed(RngStream.DROPOUT, self.config.seed, epoch, self.workers.rank))
        # As plain numbers the weights would be constants of the compiled graph, compiled again in each warm-up epoch.
        device = self.data.signals.device
        tensors = {name: torch.full((), weight, device=device) for name, weight in weights.items()}
        losses = _RunningMean()
        for step, batch in enumerate(self.batches(epoch)):
            losses.add(self.step(*batch, epoch, step, tensors))
        means = losses.over(self.workers)
        means["train_total_kl"] = sum(means[f"train_{block}_kl"] for block in self.module.model.latent_dims)
        self._require_finite(means, epoch)
        return means

    def batches(self, epoch: int) -> Iterator[Batch]:
        """Yield the batches of an epoch, from memory or from the stream."""
        size = self.config.batch_size
        seed = self.config.seed
        device = self.data.signals.device
        if self.stream is not None:
            yield from streamed_batches(self.stream, size, seed, epoch, self.workers, device)
            return
        for rows in epoch_batches(len(self.data), size, seed, epoch):
            yield Batch(len(rows), self.data.take(on_device(rows[self.workers.own], device)))

    def step(
        self, n_rows: int, batch: PartTensors, epoch: int, step: int, weights: Mapping[str, Number]
    ) -> dict[str, torch.Tensor]:
        """Take one optimiser step on a batch of `n_rows` rows over all workers, of which this one holds `batch`.

        Returns its losses without waiting for the device.
        """
        self.optimizer.zero_grad(set_to_none=True)
        terms = self.backward(n_rows, batch, epoch, step, weights)
        gradients = [parameter.grad for parameter in self.module.parameters() if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        limit = self.config.gradient_clip_norm
        if limit is not None:
            # As clip_grad_norm_, but the fused optimiser divides, which saves a pass over the gradients.
            self.optimizer.grad_scale = ((norm + 1e-6) / limit).clamp(min=1)  # type: ignore[attr-defined]
        terms["train_gradient_norm"] = norm
        self.optimizer.step()
        return terms

    def backward(
        self, n_rows: int, batch: PartTensors, epoch: int, step: int, weights: Mapping[str, Number]
    ) -> dict[str, torch.Tensor]:
        """Add to the parameters the gradient of the mean loss over the batch of `n_rows` rows of all workers.

        Each worker has every `size`-th row, with the latent noise of that row; sums are divided by the counts of
        the whole batch, so that the gradient does not depend on the number of workers.
        """
        noise = latent_noise(n_rows, sum(self.latent_dims), self.config.seed, epoch, step)[self.workers.own]
        total, components = self.replica(
            batch,
            on_device(noise, batch.signals.device).split(self.latent_dims, dim=1),
            weights,
            n_rows=n_rows / self.workers.size,
            n_peaks=self.workers.sum(batch.peak_mask.sum()).clamp(min=1) / self.workers.size,
        )
        total.backward()
        terms = {"train_loss": total.detach()}
        for name, term in components.items():
            terms[f"train_{name}"] = term.detach()
        return terms

    def _require_finite(self, means: Mapping[str, float], epoch: int) -> None:
        if all(map(math.isfinite, means.values())):
            return
        values = ", ".join(f"{name.removeprefix('train_')} {value:.4g}" for name, value in means.items())
        raise TrainingDiverged(
            f"training diverged in epoch {epoch + 1}: {values}; lower training.learning_rate "
            f"({self.config.learning_rate:g}) or the KL weights, or set training.gradient_clip_norm"
        )


class _RunningMean:
    """The mean losses of the steps so far, summed on the device, which `add` does not wait for."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._sums: torch.Tensor | float = 0.0  # one tensor: those of 20,000 steps in a list would fill the memory
        self._steps = 0

    def add(self, losses: Mapping[str, torch.Tensor]) -> None:
        """Add the losses of a step."""
        self._names = list(losses)
        self._sums = self._sums + torch.stack(list(losses.values())).double()
        self._steps += 1

    def over(self, workers: Workers) -> dict[str, float]:
        """Return the means over all steps and workers."""
        means = workers.sum(torch.as_tensor(self._sums)) / self._steps / workers.size
        return dict(zip(self._names, means.tolist(), strict=True))
