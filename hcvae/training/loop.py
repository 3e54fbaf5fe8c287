"""The training loop: it reports once an epoch and asks whether to continue, and does not depend on the listener."""

import logging
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from hcvae.config import Config
from hcvae.data.dataset import Dataset
from hcvae.described import Described
from hcvae.errors import UserError
from hcvae.models import Model, build, outline
from hcvae.readiness import routing_or_none
from hcvae.retrying import retry
from hcvae.storage import StoragePath
from hcvae.training.checkpoint import (
    EpochMetrics,
    Tensors,
    TrainingState,
    copy_newest,
    load_checkpoint,
    save_checkpoint,
)
from hcvae.training.configuration import identity, pick_device, resolve
from hcvae.training.epoch import EpochTrainer
from hcvae.training.evaluation import EvaluationPart, evaluate
from hcvae.training.memory import memory_kept
from hcvae.training.monitor import Monitor
from hcvae.training.objective import Objective
from hcvae.training.precision import PrecisionChoice, choose, tf32
from hcvae.training.schedule import EpochPlan, Phase, component_weights, plan_epoch
from hcvae.training.start import starting_weights
from hcvae.training.tensors import PartTensors
from hcvae.training.workers import Workers

logger = logging.getLogger("hcvae.training")

CHECKPOINTS = "checkpoint"
"""Folder of a training's checkpoints."""
TENSORBOARD = "tensorboard"
"""Folder of a training's TensorBoard events."""

Report = Callable[[EpochMetrics], bool]
"""Called on rank 0 with the metrics of each epoch; returns whether to continue."""
Saved = Callable[[Path], object]
"""Called on rank 0 with the folder of each new checkpoint."""
Chosen = Callable[[PrecisionChoice], object]
"""Called on rank 0 with the precision, before the first epoch; without it, the precision is logged."""


@dataclass(frozen=True, repr=False)
class FitResult(Described):
    """The result of a training."""

    model: Model
    """The model of the best epoch, in eval mode."""
    objective: Objective
    """What was minimised, with its learned scales."""
    config: Config
    """The configuration, completed by the data and with the `training.precision` that was used."""
    best_epoch: int
    """Epoch, from 1, with the lowest validation loss of the last phase; the last epoch, if it was not reached."""
    history: list[EpochMetrics]
    """The metrics of every epoch."""
    precision: PrecisionChoice
    """The precision that was used, and the measurements behind the choice."""
    stopped: bool = False
    """Whether the listener stopped it before it was complete; a training in the same folder continues it."""

    def facts(self) -> dict[str, object]:
        """Return the best epoch and its objectives."""
        objectives = ("reconstruction_nmse", "disentanglement")  # the second only where it can be measured
        facts: dict[str, object] = {"best_epoch": self.best_epoch, "epochs": len(self.history)}
        for name in objectives:
            if name in self.metrics:
                facts[name] = self.metrics[name]
        facts["precision"] = self.precision.used
        return facts

    @property
    def metrics(self) -> EpochMetrics:
        """The metrics of the best epoch."""
        return self.history[self.best_epoch - 1]

    @property
    def stopped_early(self) -> bool:
        """Whether training ended before its last epoch."""
        return len(self.history) < self.config.training.epochs

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device


@dataclass
class _Training:
    """A training in progress, on one of its workers."""

    config: Config
    workers: Workers
    trainer: EpochTrainer
    validation: EvaluationPart | None
    """On rank 0, which evaluates; None on the other workers."""
    checkpoints: Path
    state: TrainingState
    best: Tensors
    """The weights of the best epoch."""

    @property
    def model(self) -> Model:
        return self.trainer.module.model


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

    Continues from a checkpoint in `folder`, if any: to the same weights, bit for bit, as an uninterrupted training on
    as many threads in the same precision (see `hcvae.training.precision`). Every data-parallel worker calls it, with
    `torch.distributed` initialised; rank 0 evaluates, writes and reports.

    Raises:
        UserError: the configuration does not fit the data, the workers or the bundle that it starts from, the model is
            too large for a bundle, or `folder` holds another training.
        TrainingDiverged: a loss is not finite; the last checkpoint before it stays.
        StorageError: a checkpoint cannot be written for a long time; the one before it stays.
    """
    training = _prepare(config, data, folder)
    with ExitStack() as stack:
        if data.stream is None:  # a streamed training has a bound on the memory that it may keep
            stack.enter_context(memory_kept())
        precision = _choose_precision(training, chosen or _log)
        stack.enter_context(tf32(precision.used == "tf32"))
        monitor = None
        if training.workers.is_rank_0:
            events = events or folder / TENSORBOARD
            monitor = stack.enter_context(Monitor(events, training.config, training.state.history))
        stopped = _train_epochs(training, monitor, report, saved)
    return _finish(training, precision, stopped)


def take_over(config: Config, data: Dataset, folder: Path, earlier: Iterable[StoragePath], workers: int) -> Path | None:
    """Copy the newest checkpoint of the same training in the folders `earlier` to `folder`, for `fit` to continue.

    Returns its copy, or None where there is none.

    Raises:
        UserError: as `resolve`.
        StorageError: it cannot be copied for a long time.
    """
    wanted = identity(resolve(config, data, workers), data)
    sources = [other / CHECKPOINTS for other in earlier]
    target = folder / CHECKPOINTS
    return retry(lambda: copy_newest(sources, target, wanted), f"cannot copy a checkpoint to {target}")


def _prepare(config: Config, data: Dataset, folder: Path) -> _Training:
    """Build the model and its trainer, and load the newest checkpoint."""
    workers = Workers.current()
    config = resolve(config, data, workers.size)
    device = pick_device(config.training.device)
    model = _initial_model(config, data).to(device)
    train = PartTensors.of(data.train, device)
    trainer = EpochTrainer(config, model, train, workers, data.preprocessing.sampling_rate_hz, data.stream)
    validation = None
    if workers.is_rank_0:
        routing = routing_or_none(data.validation, data.preprocessing)
        validation = EvaluationPart.of(data.validation, device, data.preprocessing, routing)
    checkpoints = folder / CHECKPOINTS
    try:
        state, best = load_checkpoint(checkpoints, trainer.module, trainer.optimizer, identity(config, data))
    except ValueError as error:
        raise UserError(f"{error}; use an empty folder") from error
    return _Training(config, workers, trainer, validation, checkpoints, state, best)


def _initial_model(config: Config, data: Dataset) -> Model:
    outline(config.model)
    torch.manual_seed(config.training.seed)
    model = build(config.model)
    weights = starting_weights(config, data)
    if weights is not None:
        model.load_state_dict(model.state_dict() | weights)
    return model


def _choose_precision(training: _Training, chosen: Chosen) -> PrecisionChoice:
    """Choose the precision together with the other workers, report it, and set it in `training`."""
    config = training.config
    workers = training.workers
    state = training.state
    rows = config.training.batch_size // workers.size
    precision = choose(
        config.training.precision, training.model, rows, workers, state.precisions, finished=state.finished
    )
    if workers.is_rank_0:
        chosen(precision)
    training.state = replace(state, precisions=[*precision.before, precision.used])
    options = config.training.model_copy(update={"precision": precision.used})
    training.config = config.model_copy(update={"training": options})
    training.trainer.module.bf16 = precision.used == "bf16"
    return precision


def _train_epochs(training: _Training, monitor: Monitor | None, report: Report | None, saved: Saved | None) -> bool:
    """Train to the last epoch, early stopping, or a `report` that returns False; return whether `report` ended it."""
    workers = training.workers
    stopped = False
    while not (training.state.finished or stopped):
        metrics = _train_epoch(training)
        if monitor is not None:
            monitor.epoch(metrics)
            stopped = report is not None and not report(metrics) and not training.state.finished
        stopped = workers.share(stopped)
        due = training.state.epoch % training.config.training.checkpoint_every_epochs == 0
        if workers.is_rank_0 and (due or stopped or training.state.finished):
            module = training.trainer.module
            optimizer = training.trainer.optimizer
            checkpoint = save_checkpoint(training.checkpoints, training.state, module, optimizer, training.best)
            if saved is not None:
                saved(checkpoint)
    return stopped


def _train_epoch(training: _Training) -> EpochMetrics:
    """Train and evaluate one epoch, and return its metrics, on every worker those of rank 0."""
    started = time.perf_counter()
    state = training.state
    trainer = training.trainer
    plan = plan_epoch(state.epoch, training.config.training)
    metrics = trainer.run(state.epoch, component_weights(training.config, plan.weights), plan.learning_rate)
    if training.validation is not None:
        metrics |= evaluate(training.model, training.validation, trainer.module.objective, trainer.module.bf16)
        metrics |= _epoch_facts(state, plan, started)
    metrics = training.workers.share(metrics)
    training.state = _after_epoch(state, metrics, training.config)
    if training.state.best_epoch in (None, training.state.epoch):
        training.best = {name: tensor.clone() for name, tensor in trainer.module.state_dict().items()}
    return metrics


def _epoch_facts(state: TrainingState, plan: EpochPlan, started: float) -> EpochMetrics:
    seconds = time.perf_counter() - started
    return {
        "epoch": state.epoch + 1,
        "phase": int(plan.phase),
        "learning_rate": plan.learning_rate,
        "threads": torch.get_num_threads(),
        "seconds": seconds,
        "seconds_so_far": seconds + sum(epoch["seconds"] for epoch in state.history),
    }


def _after_epoch(state: TrainingState, metrics: EpochMetrics, config: Config) -> TrainingState:
    """Return the state with one more epoch, whether it is the best and whether it is the last."""
    history = [*state.history, metrics]
    epoch = len(history)
    best = state.best_epoch
    if metrics["phase"] == Phase.BALANCED and (
        best is None or metrics["validation_loss"] < history[best - 1]["validation_loss"]
    ):
        best = epoch
    patience = config.training.early_stopping_patience
    out_of_patience = patience is not None and best is not None and epoch - best >= patience
    finished = epoch == config.training.epochs or out_of_patience
    return replace(state, epoch=epoch, best_epoch=best, history=history, finished=finished)


def _finish(training: _Training, precision: PrecisionChoice, stopped: bool) -> FitResult:
    """Return the model of the best epoch with the history of the training."""
    module = training.trainer.module
    module.load_state_dict(training.best)
    state = training.state
    return FitResult(
        model=training.model.eval(),
        objective=module.objective,
        config=training.config,
        best_epoch=state.best_epoch or state.epoch,
        history=state.history,
        precision=precision,
        stopped=stopped,
    )


def _log(precision: PrecisionChoice) -> None:
    logger.info("trains in %s", precision)
    if precision.warning:
        logger.warning(precision.warning)
