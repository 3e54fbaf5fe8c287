"""Does the short measurement of `training.precision` auto predict the speed of training steps? Writes a table.

python -m benchmarks.precision     # half a minute on an idle core
"""

import sys
import time
from collections.abc import Sequence

import torch
from pydantic import Field
from rich.console import Console
from rich.progress import track

from benchmarks.pages import publish, spread
from benchmarks.processor import machine
from benchmarks.training_loops import prepared
from hcvae import command_line
from hcvae.config import Config
from hcvae.data.dataset import prepare
from hcvae.training import precision as precisions
from hcvae.training.memory import memory_kept
from hcvae.training.precision import decide, measure

SIZES = ((0.1, 128), (0.25, 64), (0.25, 128), (0.25, 256), (0.5, 128), (1.0, 256))
"""Width and batch."""


class PrecisionBenchmark(command_line.Command):
    """Time training steps in fp32 and bf16, on one thread, and the measurement that chooses between them.

    examples:
      python -m benchmarks.precision
      python -m benchmarks.precision --rounds 1
    """

    rounds: int = Field(3, ge=1)
    """Each round measures everything once; ratios are taken within a round."""
    steps: int = Field(5, ge=1)
    """Timed steps of each precision, in turn; the fastest counts."""


def run(arguments: Sequence[str]) -> int:
    """Run the benchmark."""
    command = command_line.parse(PrecisionBenchmark, arguments)
    console = Console()
    torch.set_num_threads(1)
    found: dict[tuple[float, int], list[tuple[float, float, str]]] = {size: [] for size in SIZES}
    with memory_kept():
        for _ in track(range(command.rounds), "rounds", console=console):
            for size in SIZES:
                found[size].append(compared(*size, command.steps))
    lines = [
        "| model width, batch | bf16 against fp32, miniature | bf16 against fp32, training step | `auto` |",
        "| --- | --- | --- | --- |",
    ]
    for (width, batch), rounds in found.items():
        miniature, step, used = zip(*rounds, strict=True)
        chosen = " or ".join(sorted(set(used), reverse=True))
        lines.append(f"| {width:g}, {batch} | {spread(miniature)} | {spread(step)} | {chosen} |")
    lines += ["", f"Measured by `python -m benchmarks.precision`, {command.rounds} rounds, one thread; {machine()}."]
    publish("training.md", "precision", lines)
    return 0


def compared(width: float, batch: int, steps: int) -> tuple[float, float, str]:
    """Return the speed-up of bf16 in the measurement and in whole steps, and the precision that `auto` chooses."""
    configs = {
        precision: Config.model_validate(
            {
                "model": {"width": width},
                "data": {"simulator": {"rows": 2000}},
                "training": {"batch_size": batch, "precision": precision},
            }
        )
        for precision in ("fp32", "bf16")
    }
    data = prepare(configs["fp32"])
    ways = {precision: prepared(config, data) for precision, config in configs.items()}
    seconds = dict.fromkeys(ways, float("inf"))
    for _ in range(steps + 1):
        for precision, (step, weights, train) in ways.items():
            rows = train.take(torch.arange(batch))
            noise = tuple(torch.randn(batch, dim) for dim in step.model.latent_dims.values())
            started = time.perf_counter()
            total, _ = step(rows, noise, weights, batch, rows.peak_mask.sum())
            total.backward()
            seconds[precision] = min(seconds[precision], time.perf_counter() - started)
            step.zero_grad()
    precisions._rates.cache_clear()  # once in a process is enough for trainings
    gflops = measure(ways["fp32"][0].model, batch)
    return gflops["bf16"] / gflops["fp32"], seconds["fp32"] / seconds["bf16"], decide("auto", gflops).used


if __name__ == "__main__":
    sys.exit(command_line.main(run))
