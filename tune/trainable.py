"""What Ray Tune runs for a trial: one training, from its own checkpoint where it has one, and its outcome.

A training that raises has an outcome too, so that the actor is used again and the search goes on. Only the death of
a process leaves none: the searcher then hands the trial out again.
"""

from pathlib import Path
from typing import Any

import ray
import ray.tune
import torch

from hcvae.config import Config
from hcvae.data.dataset import Dataset
from hcvae.training import take_over, train_bundle
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
        trial, arrays, listener = apply(config, suggestion["params"]), ray.get(data), Listener(tell, ask)
        try:
            take_over(trial, arrays, folder, map(Path, suggestion["earlier"]), settings.workers)
            if settings.workers == 1:
                torch.set_num_threads(settings.cpus_per_worker)
                outcome = Outcome.of(train_bundle(trial, arrays, folder, listener), listener.stop)
        except Exception as error:  # noqa: BLE001 - the one boundary between a training and the search
            outcome = Outcome.of_error(error, listener.history)
        else:
            if settings.workers > 1:
                outcome = train_with_workers(trial, data, folder, settings, tell, ask)
        Message(outcome=illustrate(outcome, arrays.validation, folder)).send()

    return ray.tune.with_resources(run_trial, trial_resources(settings))
