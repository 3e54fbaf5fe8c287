"""Memory and speed of the hierarchical and the standard model; writes its table into docs/science.md.

python -m benchmarks.model_cost
"""

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from benchmarks.pages import publish
from benchmarks.processor import machine
from benchmarks.science_runs import PLAIN, RECOMMENDED, STANDARD, merged
from hcvae import command_line
from hcvae.config import Config
from hcvae.data.dataset import Dataset, prepare
from hcvae.models import build
from hcvae.training.configuration import resolve
from hcvae.training.footprint import activation_bytes
from hcvae.training.step import TrainingStep
from hcvae.training.tensors import PartTensors

MIB = 2**20
MODELS = {
    "standard": STANDARD,
    "hierarchical, the specification's loss": PLAIN,
    "hierarchical, recommended": RECOMMENDED,
}
"""The other models are compared with the first."""


class ModelCost(command_line.Command):
    """Measure what a training step stores and how long generation takes, at full width, for each model.

    examples:
      python -m benchmarks.model_cost
      python -m benchmarks.model_cost --rounds 50
    """

    batch: int = 128
    """Rows of a batch."""
    rounds: int = 20
    """Each round times every model once."""
    threads: int = 1
    """Threads."""


def run(arguments: Sequence[str]) -> int:
    """Run the benchmark."""
    command = command_line.parse(ModelCost, arguments)
    torch.set_num_threads(command.threads)
    base = {"data": {"simulator": {"rows": 2000}}, "training": {"batch_size": command.batch, "precision": "fp32"}}
    configs = {name: Config.model_validate(merged(base, changes)) for name, changes in MODELS.items()}
    data = prepare(next(iter(configs.values())))
    steps = {name: training_step(config, data) for name, config in configs.items()}
    train = PartTensors.of(data.train, torch.device("cpu"))
    memory = {name: activation_bytes(step, configs[name], train) for name, step in steps.items()}
    one, many = (inference(steps, data, rows, command.rounds) for rows in (1, command.batch))
    lines = [
        f"| model | parameters | weights, gradients, optimiser, MiB | activations of a batch of {command.batch}, MiB "
        f"| generation of 1, against standard | of {command.batch}, against standard |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, step in steps.items():
        parameters = sum(parameter.numel() for parameter in step.model.parameters())
        lines.append(
            f"| {name} | {parameters:,} | {4 * 4 * parameters / MIB:.0f} | {memory[name] / MIB:.0f} "
            f"| {ratio(one, name)} | {ratio(many, name)} |"
        )
    lines += ["", f"Measured on {machine()}, {command.threads} thread(s), {command.rounds} rounds."]
    publish("science.md", "model cost", lines)
    return 0


def training_step(config: Config, data: Dataset) -> TrainingStep:
    """Return a training step of a new model."""
    config = resolve(config, data, 1)
    train = PartTensors.of(data.train, torch.device("cpu"))
    return TrainingStep(config, build(config.model), train, data.preprocessing.sampling_rate_hz)


def inference(steps: dict[str, TrainingStep], data: Dataset, rows: int, rounds: int) -> dict[str, list[float]]:
    """Return the seconds to sample `rows` waveforms, once per round with each model."""
    static = torch.from_numpy(data.train.static[:rows])
    calls: dict[str, Callable[[], Any]] = {}
    for name, step in steps.items():
        calls[name] = partial(step.model.eval().sample, static)
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - started)
    return seconds


def ratio(seconds: dict[str, list[float]], name: str) -> str:
    """Format the median of the rounds' ratios to the first model, with the quartiles."""
    first = next(iter(seconds))
    ratios = [mine / reference for mine, reference in zip(seconds[name], seconds[first], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return "1" if name == first else f"{middle:.2f} ({low:.2f} to {high:.2f})"


if __name__ == "__main__":
    sys.exit(command_line.main(run))
