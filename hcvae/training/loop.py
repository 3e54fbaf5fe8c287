"""The training loop. It reports once an epoch and asks whether to go on; it knows nothing of who listens."""

import logging
import math
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from hcvae.config import Config
from hcvae.data.dataset import Dataset
from hcvae.described import Described
from hcvae.errors import UserError
from hcvae.models import Model, build, outline
from hcvae.readiness import routing_or_none
from hcvae.retrying import retry
from hcvae.storage import StoragePath
from hcvae.training.checkpoint import TrainingState, copy_newest, load_checkpoint, save_checkpoint
from hcvae.training.epoch import EpochTrainer
from hcvae.training.evaluation import evaluate
from hcvae.training.memory import memory_kept
from hcvae.training.monitor import Monitor
from hcvae.training.objective import Objective
from hcvae.training.precision import PrecisionChoice, choose, tf32
from hcvae.training.schedule import Phase, component_weights, plan_epoch
from hcvae.training.start import starting_weights
from hcvae.training.tensors import PartTensors
from hcvae.training.workers import Workers

logger = logging.getLogger("hcvae.training")

CHECKPOINTS, TENSORBOARD = "checkpoint", "tensorboard"
"""Folders of the checkpoints of a training, and of its events."""

Report = Callable[[dict[str, float]], bool]
"""Called on rank 0 with the metrics of each epoch; returns whether to go on."""
Saved = Callable[[Path], object]
"""Called on rank 0 with the folder of each new checkpoint."""
Chosen = Callable[[PrecisionChoice], object]
"""Called on rank 0 with the precision, before the first epoch; without it, the log has the precision."""


@dataclass(frozen=True, repr=False)
class FitResult(Described):
    """What a training came to."""

    model: Model
    """The model of the best epoch, in eval mode."""
    objective: Objective
    """What was minimised, with its learned scales."""
    config: Config
    """The configuration, with all that the data decides, and `training.precision`, filled in."""
    best_epoch: int
    """Epoch, from 1, with the lowest validation loss of the last phase (the last one, where it was not reached)."""
    history: list[dict[str, float]]
    """The metrics of every epoch."""
    precision: PrecisionChoice
    """In which it was trained, with what was measured for the choice."""
    stopped: bool = False
    """Whether the listener ended it before it was complete; the same folder again goes on with it."""

    def facts(self) -> dict[str, object]:
        """The best epoch and its objectives."""
        objectives = ("reconstruction_nmse", "disentanglement")  # the second only where the data show it
        shown = {name: self.metrics[name] for name in objectives if name in self.metrics}
        return {"best_epoch": self.best_epoch, "epochs": len(self.history), **shown, "precision": self.precision.used}

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics of the best epoch."""
        return self.history[self.best_epoch - 1]

    @property
    def stopped_early(self) -> bool:
        """Whether training ended before its last epoch."""
        return len(self.history) < self.config.training.epochs


def fit(
    config: Config,
    data: Dataset,
    folder: Path,
    report: Report | None = None,
    saved: Saved | None = None,
    chosen: Chosen | None = None,
    events: Path | None = None,
) -> FitResult:
    """Train a model on `data`; checkpoints go under `folder`, TensorBoard events to `events` or `folder`/tensorboard.

    Goes on from the checkpoint in `folder` where there is one: to the same weights, bit for bit, as an uninterrupted
    training on as many threads in the same precision (see `hcvae.training.precision`). Every data-parallel worker calls
    it, with `torch.distributed` initialised; rank 0 evaluates, writes and reports.

    Raises:
        UserError: the configuration does not fit the data, the workers or the bundle that it starts from, the model is
            too large for a bundle, or `folder` holds another training.
        TrainingDiverged: a loss is not finite; the last checkpoint before it stays.
        StorageError: a checkpoint cannot be written for a long time; the one before it stays.
    """
    workers = Workers.current()
    config = resolve(config, data, workers.size)
    device = pick_device(config.training.device)
    outline(config.model)
    torch.manual_seed(config.training.seed)
    model = build(config.model)
    if (weights := starting_weights(config, data)) is not None:
        model.load_state_dict(model.state_dict() | weights)
    model = model.to(device)
    train, rate = PartTensors.of(data.train, device), data.preprocessing.sampling_rate_hz
    trainer = EpochTrainer(config, model, train, workers, rate, data.stream)
    validation = PartTensors.of(data.validation, device)
    routing = routing_or_none(data.validation, data.preprocessing) if workers.first else None

    checkpoints = folder / CHECKPOINTS
    identity = _identity(config, data)
    try:
        state, best = load_checkpoint(checkpoints, trainer.module, trainer.optimizer, identity)
    except ValueError as error:
        raise UserError(f"{error}; use an empty folder") from error

    with ExitStack() as stack:
        if data.stream is None:  # there is a bound on what a streamed training may keep
            stack.enter_context(memory_kept())
        rows = config.training.batch_size // workers.size
        precision = choose(config.training.precision, model, rows, workers, state.precisions, finished=state.finished)
        if workers.first:
            (chosen or _log)(precision)
        state = replace(state, precisions=[*precision.before, precision.used])
        config = _with(config, precision)
        trainer.module.bf16 = precision.used == "bf16"
        stack.enter_context(tf32(precision.used == "tf32"))
        tensorboard = Monitor(events or folder / TENSORBOARD, config, state.history) if workers.first else None
        monitor = stack.enter_context(tensorboard) if tensorboard else None
        stopped = False
        while not (state.finished or stopped):
            started = time.perf_counter()
            plan = plan_epoch(state.epoch, config.training)
            metrics = trainer.run(state.epoch, component_weights(config, plan.weights), plan.learning_rate)
            if monitor is not None:
                metrics |= evaluate(
                    model,
                    data.validation,
                    validation,
                    data.preprocessing,
                    trainer.module.objective,
                    routing,
                    trainer.module.bf16,
                )
                metrics |= {
                    "epoch": state.epoch + 1,
                    "phase": int(plan.phase),
                    "learning_rate": plan.learning_rate,
                    "threads": torch.get_num_threads(),
                    "seconds": time.perf_counter() - started,
                }
                metrics["seconds_so_far"] = metrics["seconds"] + sum(epoch["seconds"] for epoch in state.history)
            state = _after_epoch(state, workers.share(metrics), config)
            if state.best_epoch in (None, state.epoch):
                best = {name: tensor.clone() for name, tensor in trainer.module.state_dict().items()}
            if monitor is not None:
                monitor.epoch(metrics)
                stopped = report is not None and not report(metrics) and not state.finished
            stopped = workers.share(stopped)
            due = state.epoch % config.training.checkpoint_every_epochs == 0
            if workers.first and (due or stopped or state.finished):
                checkpoint = save_checkpoint(checkpoints, state, trainer.module, trainer.optimizer, best)
                if saved is not None:
                    saved(checkpoint)
    trainer.module.load_state_dict(best)
    best_epoch = state.best_epoch or state.epoch
    return FitResult(model.eval(), trainer.module.objective, config, best_epoch, state.history, precision, stopped)


def take_over(config: Config, data: Dataset, folder: Path, earlier: Iterable[StoragePath], workers: int) -> Path | None:
    """Copy the newest checkpoint of the same training in the folders `earlier` to `folder`: `fit` goes on from it.

    Its copy, or None where there is none.

    Raises:
        UserError: as `resolve`.
        StorageError: it cannot be copied for a long time.
    """
    identity = _identity(resolve(config, data, workers), data)
    places, target = [other / CHECKPOINTS for other in earlier], folder / CHECKPOINTS
    return retry(lambda: copy_newest(places, target, identity), f"cannot copy a checkpoint to {target}")


def resolve(config: Config, data: Dataset, workers: int) -> Config:
    """`config` with what the data decides filled in.

    Raises:
        UserError: the batches are too small to be shared out among the workers, or the wanted target is not there.
    """
    if config.training.target == "other_average" and not (data.train.independent >= 0).any():
        raise UserError(
            "training.target: 'other_average' needs several averages of a response, but the training part has one of "
            "each; name what averages of one response share in data.average_columns, or use 'same_average'"
        )
    smallest = data.n_train // math.ceil(data.n_train / config.training.batch_size)
    if smallest < workers:
        raise UserError(
            f"training.batch_size: batches of {smallest} rows cannot be shared out among {workers} workers; "
            f"use {2 * workers} or more and a training part ({data.n_train} rows) that allows it"
        )
    resolved = {"static_dim": data.preprocessing.static.dim, "peak_window_ms": data.preprocessing.window_ms}
    model = config.model.model_copy(update=resolved)
    described = config.data.model_copy(update={"licence": data.licence})
    return config.model_copy(update={"model": model, "data": described})


def pick_device(device: str) -> torch.device:
    """The device that `training.device` names; `auto` is this worker's GPU where it has one.

    Raises:
        UserError: `cuda` is asked for and there is no GPU.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("training.device: no GPU on this machine, but got 'cuda'; use 'cpu' or 'auto'")
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")


def _log(precision: PrecisionChoice) -> None:
    logger.info("trains in %s", precision)
    if precision.warning:
        logger.warning(precision.warning)


def _with(config: Config, precision: PrecisionChoice) -> Config:
    training = config.training.model_copy(update={"precision": precision.used})
    return config.model_copy(update={"training": training})


def _identity(config: Config, data: Dataset) -> dict[str, Any]:
    # A licence changes no number.
    return {"config": config.model_dump(mode="json", exclude={"data": {"licence"}}), "data": data.fingerprint}


def _after_epoch(state: TrainingState, metrics: dict[str, float], config: Config) -> TrainingState:
    history = [*state.history, metrics]
    epoch, best = len(history), state.best_epoch
    if metrics["phase"] == Phase.BALANCED and (
        best is None or metrics["validation_loss"] < history[best - 1]["validation_loss"]
    ):
        best = epoch
    patience = config.training.early_stopping_patience
    out_of_patience = patience is not None and best is not None and epoch - best >= patience
    return replace(
        state,
        epoch=epoch,
        best_epoch=best,
        history=history,
        finished=epoch == config.training.epochs or out_of_patience,
    )
