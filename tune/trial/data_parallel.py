"""Data-parallel training of one model through Ray Train: gloo on CPUs, NCCL on GPUs.

The caller's process waits while the workers train. The first worker sends its epochs through a queue instead of
`ray.train.report`, which is a barrier for all workers, while only the first one has the metrics.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import ray
import ray.exceptions
import ray.train
import torch
from ray.train.torch import TorchTrainer
from ray.train.v2.api.exceptions import RayTrainError
from ray.util.queue import Empty, Queue

from hcvae.config import Config
from hcvae.data.dataset import Dataset
from hcvae.metrics.registered import all_registered, register_all
from hcvae.training.precision import PrecisionChoice
from tune.early_stopping.actor import Ask, Listener
from tune.internals.ray_internals import environment_defaults, release_abandoned
from tune.placement.resources import WorkerGroup, worker_resources
from tune.study.outcome import Outcome
from tune.trial.attempt import Attempt

RAY_FOLDER = ".ray-train"
"""Folder of Ray Train's own files, next to our checkpoints."""


class TrainingFailed(Exception):
    """The training raised in a worker; the message holds the worker's traceback."""

    def __init__(self, error: Exception, trace: str, history: Sequence[dict[str, float]]) -> None:
        super().__init__(trace)
        self.error = error
        """What the training raised."""
        self.history = history
        """Metrics of the epochs before."""


def train_with_workers(
    config: Config,
    data: "ray.ObjectRef[Dataset]",
    attempt: Attempt,
    workers: WorkerGroup,
    on_epoch: Callable[[dict[str, float]], object],
    ask: Ask | None = None,
    on_precision: Callable[[PrecisionChoice], object] | None = None,
) -> Outcome:
    """Train with several workers; the same attempt again continues from its checkpoint.

    `on_precision` is called in this process with the precision, `on_epoch` with each epoch's metrics. The first worker
    calls `ask` and passes the answer on to the others.

    Raises:
        TrainingFailed: the training raised in a worker.
        ray.train.TrainingFailedError: a worker's process died, or the workers could not be started.
    """
    history: list[dict[str, float]] = []
    epochs = Queue(actor_options={"num_cpus": 0})
    pool = ThreadPoolExecutor(1)
    try:
        running = pool.submit(_run_trainer, config, data, attempt, workers, epochs, ask)
        while not (running.done() and epochs.empty()):
            try:
                received = epochs.get(timeout=0.5)
            except Empty:
                if not history:  # perhaps it waits for CPUs that an earlier attempt held when its process was killed
                    release_abandoned()
                continue
            if not isinstance(received, PrecisionChoice):
                history.append(received)
                on_epoch(received)
            elif on_precision:
                on_precision(received)
        return _outcome(running, history)
    finally:
        # After Ctrl-C the thread ends when Ray is shut down: waiting for it here would wait for the whole training.
        pool.shutdown(wait=False)
        epochs.shutdown()
        (attempt.place / RAY_FOLDER).remove()


def _run_trainer(
    config: Config,
    data: "ray.ObjectRef[Dataset]",
    attempt: Attempt,
    workers: WorkerGroup,
    epochs: Queue,
    ask: Ask | None,
) -> Outcome:
    registered = all_registered()

    def run_worker() -> Outcome:
        register_all(registered)
        torch.set_num_threads(workers.cpus)
        return attempt.train(config, ray.get(data), Listener(epochs.put, ask, epochs.put))

    trainer = TorchTrainer(
        run_worker,
        scaling_config=ray.train.ScalingConfig(
            num_workers=workers.size,
            use_gpu=workers.gpus > 0,
            resources_per_worker=worker_resources(workers),
        ),
        run_config=ray.train.RunConfig(
            name=RAY_FOLDER,
            storage_path=attempt.place.key,
            storage_filesystem=attempt.place.file_system,
            # The caller restarts a training: Ray would also repeat one that raised.
            failure_config=ray.train.FailureConfig(max_failures=0, controller_failure_limit=3),
        ),
    )
    with environment_defaults(_ray_train_variables()):
        outcome: Outcome = trainer.fit().return_value
    return outcome


def _ray_train_variables() -> dict[str, str]:
    # Ray's defaults cost 14 s a trial, and more seconds after a death.
    variables = {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2"}
    if len(ray.nodes()) == 1:
        variables["RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"] = "0"  # one machine is not preempted in parts
    return variables


def _outcome(running: "Future[Outcome]", history: list[dict[str, float]]) -> Outcome:
    error = running.exception()
    if error is None:
        return running.result()
    if isinstance(error, ray.train.WorkerGroupError):
        for failure in error.worker_failures.values():
            if not _is_death(failure):
                raise TrainingFailed(failure, str(error), history) from error
    raise error


def _is_death(failure: BaseException) -> bool:
    """Return whether a process died: the worker's, or another's, whose connections are lost before Ray notices."""
    lost = (ray.exceptions.RayError, RayTrainError, torch.distributed.DistError)
    return isinstance(failure, lost) or "gloo/transport" in str(failure)
