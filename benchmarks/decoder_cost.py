"""What the decoder's smaller heads and its time segments cost; writes its table into docs/search-space.md.

python -m benchmarks.decoder_cost     # a minute on 2 idle cores
"""

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from pydantic import Field

from benchmarks.pages import publish
from benchmarks.processor import machine
from benchmarks.training_loops import prepared
from hcvae import command_line
from hcvae.config import Config
from hcvae.data.dataset import Dataset, prepare
from hcvae.training.memory import memory_kept
from hcvae.training.step import TrainingStep

WIDTHS = (0.25, 1.0)
HEADS = {"static head": "recon_static_params", "peak head": "predicted_peaks"}
SEGMENTS = (2, 4, 8)
DECODED = 3
"""Times that a step decodes a batch: own latents, exchanged z_global, exchanged z_local."""


class DecoderCost(command_line.Command):
    """Measure the heads' shares of parameters and step time, and the step time with time segments.

    examples:
      python -m benchmarks.decoder_cost
      python -m benchmarks.decoder_cost --rounds 5
    """

    batch: int = Field(128, ge=2)
    """Rows of a batch."""
    rounds: int = Field(30, ge=3)
    """Each round times everything once; ratios are of times of one round."""
    threads: int = Field(1, ge=1)
    """Threads."""


def run(arguments: Sequence[str]) -> int:
    """Run the benchmark."""
    command = command_line.parse(DecoderCost, arguments)
    torch.set_num_threads(command.threads)
    data = prepare(configured(1.0, 1, command.batch))
    lines = [
        "| width | part | share of the parameters | time, of a step without segments |",
        "| --- | --- | --- | --- |",
    ]
    with memory_kept():
        for width in WIDTHS:
            for part, parameters, ratio in costs(width, data, command):
                lines.append(f"| {width:g} | {part} | {parameters} | {ratio} |")
    lines += [
        "",
        f"Batches of {command.batch}, default losses, medians (quartiles) of {command.rounds} rounds, "
        f"{command.threads} thread(s); {machine()}.",
    ]
    publish("search-space.md", "decoder cost", lines)
    return 0


def configured(width: float, segments: int, batch: int) -> Config:
    """Return the configuration of a model of this width and number of segments."""
    return Config.model_validate(
        {
            "model": {"width": width, "local_segments": segments},
            "data": {"simulator": {"rows": 2000}},
            "training": {"batch_size": batch, "precision": "fp32"},
        }
    )


def costs(width: float, data: Dataset, command: DecoderCost) -> list[tuple[str, str, str]]:
    """Return each part with its share of the parameters and the ratio of its time to that of a step."""
    steps = {n: one_step(configured(width, n, command.batch), data) for n in (1, *SEGMENTS)}
    model: Any = steps[1][0].model
    calls = {"step": steps[1][1]}
    shares = {}
    total = sum(parameter.numel() for parameter in model.parameters())
    for part, name in HEADS.items():
        head = model.decoder.heads[name]
        shares[part] = f"{sum(parameter.numel() for parameter in head.parameters()) / total:.1%}"
        calls[part] = one_pass(head, command.batch * DECODED)
    for n in SEGMENTS:
        calls[f"step, {n} segments"] = steps[n][1]
        shares[f"step, {n} segments"] = "-"
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for counts in [False] + [True] * command.rounds:
        for name, call in calls.items():
            started = time.perf_counter()
            call()
            if counts:
                seconds[name].append(time.perf_counter() - started)
    rows = []
    for part, share in shares.items():
        ratios = [mine / whole for mine, whole in zip(seconds[part], seconds["step"], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        rows.append((part, share, f"{middle:.2f} ({low:.2f} to {high:.2f})"))
    return rows


def one_step(config: Config, data: Dataset) -> tuple[TrainingStep, Callable[[], None]]:
    """Return a step's module, and a function that takes one step: forward, backward, optimiser."""
    step, weights, train = prepared(config, data)
    optimizer = torch.optim.AdamW(step.parameters(), fused=True)
    batch = train.take(torch.arange(config.training.batch_size))

    def call() -> None:
        noise = tuple(torch.randn(len(batch), dim) for dim in step.model.latent_dims.values())
        total, _ = step(batch, noise, weights, len(batch), batch.peak_mask.sum())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()

    return step, call


def one_pass(head: torch.nn.Module, rows: int) -> Callable[[], None]:
    """Return a function that runs a head forward, backward and through its optimiser, on features of its own."""
    features = torch.randn(rows, next(head.parameters()).shape[1], requires_grad=True)
    optimizer = torch.optim.AdamW(head.parameters(), fused=True)

    def call() -> None:
        optimizer.zero_grad()
        head(features).square().mean().backward()
        optimizer.step()

    return call


if __name__ == "__main__":
    sys.exit(command_line.main(run))
