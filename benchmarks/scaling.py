"""Predicted speed of 8 to 64 workers: a cost model from measured compute and bytes. Writes its table.

python -m benchmarks.scaling     # a few minutes on 2 idle cores

Measured: a step of each of two processes at once, one thread each, without communication; the same two as data-parallel
gloo workers; an all-reduce of as many bytes as the gradient has. Modelled: a ring of n workers, each on a core of its
own, over a network of an assumed speed (Patarasuk & Yuan 2009, J. Parallel Distrib. Comput. 69:117).
"""

import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import torch
import torch.distributed
from pydantic import Field
from rich.progress import track

from benchmarks.data_parallel import WORKER_FILE, WORKERS, answer, answer_of
from benchmarks.pages import publish, spread
from benchmarks.processor import machine
from benchmarks.science_runs import PLAIN, merged
from benchmarks.training_loops import clocked
from hcvae import command_line
from hcvae.config import Config
from hcvae.data.dataset import prepare
from hcvae.models import build
from hcvae.training.configuration import resolve
from hcvae.training.epoch import EpochTrainer
from hcvae.training.memory import memory_kept
from hcvae.training.tensors import PartTensors
from hcvae.training.workers import Workers

BATCHES = (64, 256)
"""Rows of a worker's share of a batch."""
STEPS = 12
"""Timed steps."""
UNTIMED = 2
"""Steps before them."""
NETWORKS = {"10 Gbit/s, 50 us": (1.25e9, 50e-6), "100 Gbit/s, 10 us": (12.5e9, 10e-6)}
"""Assumed: bytes a second and seconds of a message."""
MODELLED = (8, 16, 32, 64)


class Scaling(command_line.Command):
    """Measure two gloo workers, and predict from that how fast more of them would be on a network.

    examples:
      python -m benchmarks.scaling
      python -m benchmarks.scaling --rounds 1
    """

    rounds: int = Field(5, ge=1)
    """Each starts two new processes."""


def run(arguments: Sequence[str]) -> int:
    """Run the benchmark, or a worker of it."""
    command = command_line.parse(Scaling, arguments)
    if file := os.environ.get(WORKER_FILE):
        answer(Path(file), step_and_reduce_seconds)
        return 0
    found: dict[str, list[float]] = defaultdict(list)
    for _ in track(range(command.rounds), "rounds"):
        for name, value in answer_of("benchmarks.scaling", [], WORKERS).items():
            found[name].append(value)
    lines = [
        "| rows of a worker | step alone, ms | its backward pass, ms | all-reduce of the gradient, ms "
        "| step of 2 workers, ms, measured | modelled | network | "
        + " | ".join(f"{n} workers" for n in MODELLED)
        + " |",
        "| --- | --- | --- | --- | --- | --- | --- |" + " --- |" * len(MODELLED),
    ]
    n_bytes = found["bytes"][0]
    for batch in BATCHES:
        alone, together, backward = (found[f"{name} {batch}"] for name in ("alone", "together", "alone backward"))
        least = [hidden(*each) for each in zip(alone, backward, found["reduced"], strict=True)]
        most = [one + other for one, other in zip(alone, found["reduced"], strict=True)]
        modelled = f"{in_ms(most)} to {in_ms(least)}"
        for name, network in NETWORKS.items():
            shares = [efficiency(mean(alone), mean(backward), ring_seconds(n_bytes, n, *network)) for n in MODELLED]
            cells = [*map(in_ms, (alone, backward, found["reduced"], together)), modelled, name, *shares]
            lines.append(f"| {batch} | {' | '.join(cells)} |")
    lines += [
        "",
        f"{command.rounds} rounds, fp32; the gradient has {n_bytes / 1e6:.0f} MB. Modelled: with "
        "nothing of the all-reduce hidden behind the backward pass, and with as much as there is time for; so are the "
        f"last columns, the share of n times one worker's speed. {machine()}.",
    ]
    publish("benchmarks.md", "scaling", lines)
    return 0


def ring_seconds(n_bytes: float, workers: int, bytes_per_s: float, message_s: float) -> float:
    """Return the seconds of an all-reduce in a ring: 2 (n - 1) messages of 1 / n of the bytes."""
    return 2 * (workers - 1) * (n_bytes / workers / bytes_per_s + message_s)


def hidden(alone: float, backward: float, communication: float) -> float:
    """Return the seconds of a step that hides as much communication as possible behind the backward pass."""
    return alone + max(0.0, communication - backward)


def efficiency(alone: float, backward: float, ring: float) -> str:
    """Return the share of n times one worker's speed, without and with hidden communication."""
    return f"{alone / (alone + ring):.2f} to {alone / hidden(alone, backward, ring):.2f}"


def in_ms(seconds: Sequence[float]) -> str:
    """Format mean and spread in milliseconds."""
    return spread([1e3 * each for each in seconds])


def step_and_reduce_seconds(workers: Workers) -> dict[str, float]:
    """Return the seconds of a step, of its backward pass and of an all-reduce, as one of two workers measures them."""
    base: dict[str, Any] = merged(PLAIN, {"data": {"simulator": {"rows": 12_000}}})
    data = prepare(Config.model_validate(base))
    train = PartTensors.of(data.train, torch.device("cpu"))
    found: dict[str, float] = {}
    with memory_kept():
        for batch in BATCHES:
            for name, company in (("alone", Workers(0, 1)), ("together", workers)):
                config = Config.model_validate(
                    merged(base, {"training": {"batch_size": batch * company.size, "precision": "fp32"}})
                )
                config = resolve(config, data, company.size)
                torch.manual_seed(0)
                trainer = EpochTrainer(config, build(config.model), train, company, data.preprocessing.sampling_rate_hz)
                backward = {"backward": 0.0}
                with clocked(torch.Tensor, "backward", backward, "backward"):
                    found[f"{name} {batch}"] = step_seconds(trainer)
                found[f"{name} backward {batch}"] = backward["backward"] / (UNTIMED + STEPS)
        gradient = torch.zeros(sum(parameter.numel() for parameter in trainer.module.parameters()))
        found["bytes"] = float(gradient.nbytes)
        found["reduced"] = seconds_of(lambda: torch.distributed.all_reduce(gradient))
    return found


def step_seconds(trainer: EpochTrainer) -> float:
    """Return the mean seconds of a step."""
    trainer.module.train()
    batches = trainer.batches(0)
    weights = trainer.module.objective.weights
    return seconds_of(lambda: trainer.step(*next(batches), 0, 0, weights))


def seconds_of(call: Callable[[], object]) -> float:
    """Return the mean seconds of a call that both processes start together."""
    for _ in range(UNTIMED):
        call()
    torch.distributed.barrier()
    started = time.perf_counter()
    for _ in range(STEPS):
        call()
    return (time.perf_counter() - started) / STEPS


if __name__ == "__main__":
    sys.exit(command_line.main(run))
