"""What Ray Tune runs for a trial: one training, from its own checkpoint where it has one, and its outcome.

A training that raises has an outcome too, so that the actor is used again and the search goes on. Only the death of
a process leaves none: Tune then starts the trial again, up to three times.
"""

from pathlib import Path
from typing import Any

import ray
import ray.tune
import torch

from hcvae.config import Config
from hcvae.data.dataset import Dataset
from hcvae.training import train_bundle
from tune.artifacts import illustrate
from tune.config import SearchSettings
from tune.decisions import Listener, ask_of
from tune.distributed import train_with_workers
from tune.outcome import Message, Outcome
from tune.resources import trial_resources
from tune.space import apply


def make_trainable(
    config: Config, data: "ray.ObjectRef[Dataset]", settings: SearchSettings, decisions: Any = None
) -> Any:
    """The function that Ray Tune calls with the searcher's suggestion, with the resources that it needs.

    `data` lies in the object store once; the arrays that a trial sees are views of it. `decisions` is the actor that
    says whether a trial goes on, see `tune.decisions`.
    """

    def run_trial(suggestion: dict[str, Any]) -> None:
        ask = ask_of(decisions, suggestion["number"])

        def tell(metrics: dict[str, float]) -> None:
            Message(epoch=metrics).send()

        folder = Path(suggestion["folder"])
        if settings.workers == 1:
            listener = Listener(tell, ask)
            arrays = ray.get(data)
            torch.set_num_threads(settings.cpus_per_worker)
            try:
                trained = train_bundle(apply(config, suggestion["params"]), arrays, folder, listener)
                outcome = Outcome.of(trained, listener.stop)
            except Exception as error:  # noqa: BLE001 - the one boundary between a training and the search
                outcome = Outcome.of_error(error, listener.history)
        else:
            outcome = train_with_workers(apply(config, suggestion["params"]), data, folder, settings, tell, ask)
        Message(outcome=illustrate(outcome, ray.get(data).validation, folder)).send()

    return ray.tune.with_resources(run_trial, trial_resources(settings))
