"""The function that Ray Tune runs for a trial: one training, resuming from its checkpoint, if any.

A training that raises has an outcome too, so that Ray Tune can reuse its process and the search continues. Only the
death of a process leaves none: the searcher then hands the trial out again.
"""

from collections.abc import Sequence
from typing import Any

import ray
import ray.tune
import torch

from hcvae.config import Config
from hcvae.data.dataset import Dataset
from hcvae.metrics.registered import all_registered, register_all
from hcvae.training.precision import PrecisionChoice
from tune.early_stopping.actor import Ask, Listener, ask_of
from tune.placement.gpu_sharing import bound_memory
from tune.placement.resources import WorkerGroup, trial_resources
from tune.study.outcome import Outcome
from tune.study.repetition import training_of
from tune.trial.attempt import Attempt
from tune.trial.data_parallel import TrainingFailed, train_with_workers
from tune.trial.message import Message
from tune.trial.outcome import outcome_of_error


def make_trainable(
    config: Config,
    data: "ray.ObjectRef[Dataset]",
    workers: WorkerGroup,
    decisions: Any,
    folds: "Sequence[ray.ObjectRef[Dataset]]",
) -> Any:
    """Return the function that Ray Tune calls with the searcher's suggestion, with the resources that it needs.

    `data` lies in the object store once; the arrays that a trial sees are views of it. `decisions` is the actor that
    decides whether a trial continues, see `tune.early_stopping.actor`. `folds` are the data of repetitions by folds.
    """

    registered = all_registered()

    def run_trial(suggestion: dict[str, Any]) -> None:
        register_all(registered)
        repetition = suggestion["repetition"]
        is_limited = repetition is None
        ask = ask_of(decisions, suggestion["number"], suggestion["attempt_number"], is_limited=is_limited)
        trial = training_of(config, suggestion["params"], repetition)
        attempt = suggestion["attempt"]
        rows = data
        if repetition is not None and repetition.folds is not None:
            rows = folds[repetition.index - 1]
        if workers.size > 1:
            outcome = _train_in_parallel(trial, rows, attempt, workers, ask)
        else:
            outcome = _train_here(trial, ray.get(rows), attempt, workers, ask)
        Message(outcome=outcome).send()

    return ray.tune.with_resources(run_trial, trial_resources(workers))


def _train_in_parallel(
    config: Config, data: "ray.ObjectRef[Dataset]", attempt: Attempt, workers: WorkerGroup, ask: Ask
) -> Outcome:
    try:
        return train_with_workers(config, data, attempt, workers, _send_epoch, ask, _send_precision)
    except TrainingFailed as failed:
        return outcome_of_error(failed.error, failed.history, str(failed))


def _train_here(config: Config, data: Dataset, attempt: Attempt, workers: WorkerGroup, ask: Ask) -> Outcome:
    torch.set_num_threads(workers.cpus)
    bound_memory(workers.gpus)
    listener = Listener(_send_epoch, ask, _send_precision)
    try:
        return attempt.train(config, data, listener)
    except Exception as error:  # noqa: BLE001 - the one boundary between a training and the search
        return outcome_of_error(error, listener.history)


def _send_epoch(metrics: dict[str, float]) -> None:
    Message(epoch=metrics).send()


def _send_precision(precision: PrecisionChoice) -> None:
    Message(precision=precision).send()
