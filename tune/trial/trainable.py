"""What Ray Tune runs for a trial: one training, from its own checkpoint where it has one, and its outcome.

A training that raises has an outcome too, so that the actor is used again and the search goes on. Only the death of
a process leaves none: the searcher then hands the trial out again.
"""

from typing import Any

import ray
import ray.tune
import torch

from hcvae.config import Config
from hcvae.data.dataset import Dataset
from hcvae.training.precision import PrecisionChoice
from tune.config import SearchSettings
from tune.early_stopping.actor import Listener, ask_of
from tune.placement.gpu_sharing import bound_memory
from tune.placement.resources import trial_resources
from tune.space.search_space import apply
from tune.trial.attempt import Attempt
from tune.trial.data_parallel import train_with_workers
from tune.trial.outcome import Message, Outcome


def make_trainable(config: Config, data: "ray.ObjectRef[Dataset]", settings: SearchSettings, decisions: Any) -> Any:
    """The function that Ray Tune calls with the searcher's suggestion, with the resources that it needs.

    `data` lies in the object store once; the arrays that a trial sees are views of it. `decisions` is the actor that
    decides whether a trial goes on, see `tune.early_stopping.actor`.
    """

    def run_trial(suggestion: dict[str, Any]) -> None:
        ask = ask_of(decisions, suggestion["number"], suggestion["attempt_number"])

        def tell(metrics: dict[str, float]) -> None:
            Message(epoch=metrics).send()

        def chosen(precision: PrecisionChoice) -> None:
            Message(precision=precision).send()

        trial, attempt = apply(config, suggestion["params"]), suggestion["attempt"]
        if settings.workers > 1:
            outcome = train_with_workers(trial, data, attempt, settings, tell, ask, chosen)
        else:
            outcome = train_alone(trial, ray.get(data), attempt, settings, Listener(tell, ask, chosen))
        Message(outcome=outcome).send()

    return ray.tune.with_resources(run_trial, trial_resources(settings))


def train_alone(
    config: Config, data: Dataset, attempt: Attempt, settings: SearchSettings, listener: Listener
) -> Outcome:
    """Train in this process; a training that raises has an outcome, too."""
    torch.set_num_threads(settings.cpus_per_worker)
    bound_memory(settings)
    try:
        return attempt.train(config, data, listener)
    except Exception as error:  # noqa: BLE001 - the one boundary between a training and the search
        return Outcome.of_error(error, listener.history)
