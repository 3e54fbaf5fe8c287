"""Waveforms per second of several training loops. Writes its table into docs/benchmarks.md.

python -m benchmarks.training_step     # ten minutes on 2 idle cores

Every way trains the same network (full width, the specification's loss) from the same weights on the same simulated
rows, in batches of the same size. `fit` is hcvae.training.fit with all that it does besides: metrics and evaluation of
every epoch, TensorBoard, checkpoints. Each round runs every way once, in turn; ratios are taken within a round.
"""

import logging
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from pydantic import Field
from rich.console import Console
from rich.progress import track

from benchmarks.ceilings import product_gflops
from benchmarks.pages import publish, spread
from benchmarks.processor import machine, without_slow
from benchmarks.science_runs import PLAIN, merged
from benchmarks.training_loops import TIMED, lightning_trainer, plain_loop, timed_fit
from hcvae import command_line
from hcvae.config import Config
from hcvae.data.dataset import Dataset, prepare
from hcvae.models import build
from hcvae.training.configuration import resolve

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
PLAIN_256 = "plain loop, fp32, unfused AdamW"


class TrainingSpeed(command_line.Command):
    """Time hcvae's training, a plain loop and Lightning's Trainer on the same model, data and batches.

    examples:
      python -m benchmarks.training_step
      python -m benchmarks.training_step --rounds 1 --rows 4000
    """

    rounds: int = Field(5, ge=1)
    """Each round runs every way once."""
    rows: int = Field(33_000, ge=2000)
    """Simulated waveforms, of which 15 % are for validation and 15 % for the test."""
    epochs: int = Field(2, ge=1)
    """Epochs of a run."""


@dataclass(frozen=True)
class Way:
    """A loop that trains."""

    batch: int
    precision: str
    run: Callable[[Config, Dataset], dict[str, float]]
    """Trains, and gives the seconds by part; `all` is all of them."""
    lines: list[dict[str, float]] = field(default_factory=list)


def run(arguments: Sequence[str]) -> int:
    """Run the benchmark."""
    command = command_line.parse(TrainingSpeed, arguments)
    console = Console()
    base = merged(
        PLAIN,
        {"data": {"simulator": {"rows": command.rows}}, "training": {"epochs": command.epochs, "device": "cpu"}},
    )
    data = prepare(Config.model_validate(base))
    ways = {
        PLAIN_256: Way(256, "fp32", plain_loop),
        "plain loop, bf16, fused AdamW": Way(256, "bf16", partial(plain_loop, fused=True)),
        "Lightning's Trainer, fp32": Way(256, "fp32", lightning_trainer),
        "Lightning's Trainer, bf16, fused AdamW": Way(256, "bf16", lightning_trainer),
        "fit, fp32": Way(256, "fp32", timed_fit),
        "fit, bf16": Way(256, "bf16", timed_fit),
        "plain loop, bf16, fused AdamW, 512": Way(512, "bf16", partial(plain_loop, fused=True)),
        "fit, bf16, 512": Way(512, "bf16", timed_fit),
    }
    ways = without_slow(ways, {name: way.precision for name, way in ways.items()}, console)
    ceilings: dict[str, list[float]] = {way.precision: [] for way in ways.values()}
    for _ in track(range(command.rounds), "rounds", console=console):
        for precision, rates in ceilings.items():
            rates.append(product_gflops(DTYPES[precision]))
        for way in ways.values():
            settings = {"training": {"batch_size": way.batch, "precision": way.precision}}
            way.lines.append(way.run(Config.model_validate(merged(base, settings)), data))
    report(command, ways, ceilings, data)
    return 0


def report(command: TrainingSpeed, ways: dict[str, Way], ceilings: dict[str, list[float]], data: Dataset) -> None:
    """Write both tables."""
    rows = data.n_train * command.epochs
    model = build(resolve(Config(), data, 1).model)
    matrices = sum(parameter.numel() for parameter in model.parameters() if parameter.ndim == 2)
    flop = 6 * matrices  # a product forward, two backward
    lines = [
        "| way | waveforms/s | ratio to the plain loop | GFLOP/s | share of the ceiling |",
        "| --- | --- | --- | --- | --- |",
    ]
    reference = [line["all"] for line in ways[PLAIN_256].lines]
    for name, way in ways.items():
        seconds = [line["all"] for line in way.lines]
        rates = [rows / each for each in seconds]
        gflops = [rate * flop / 1e9 for rate in rates]
        shares = [own / limit for own, limit in zip(gflops, ceilings[way.precision], strict=True)]
        ratios = [other / own for own, other in zip(seconds, reference, strict=True)]
        lines.append(f"| {name} | {spread(rates)} | {spread(ratios)} | {spread(gflops)} | {spread(shares)} |")
    lines += [
        "",
        f"{command.rounds} rounds of {rows:,} waveforms, {command.epochs} epoch(s), {torch.get_num_threads()} threads; "
        f"ceilings: {', '.join(f'{name} {spread(rates)}' for name, rates in ceilings.items())} GFLOP/s. {machine()}.",
    ]
    fits = {name: way for name, way in ways.items() if name.startswith("fit")}
    parts = [f"| part of the time | {' | '.join(fits)} |", "| --- |" + " --- |" * len(fits)]
    for part in (*TIMED, "all the rest"):
        cells = []
        for way in fits.values():
            cells.append(spread([share(line, part) for line in way.lines]))
        parts.append(f"| {part} | {' | '.join(cells)} |")
    publish("benchmarks.md", "training step", lines)
    publish("benchmarks.md", "training step parts", parts)


def share(line: dict[str, float], part: str) -> float:
    """Return the share of a part in the total time."""
    rest = line["all"] - sum(line[name] for name in TIMED)
    return (rest if part == "all the rest" else line[part]) / line["all"]


if __name__ == "__main__":
    warnings.filterwarnings("ignore", module="lightning")
    for logger in ("lightning.pytorch", "hcvae.training"):
        logging.getLogger(logger).setLevel(logging.ERROR)
    sys.exit(command_line.main(run))
