"""How long until the first batch of a large table, and do batches keep up with training? Writes its table.

python -m benchmarks.opening     # 5 million waveforms, 5 GB of disk for a while; a quarter of an hour
"""

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from rich.progress import track

import tune.placement.streaming
from benchmarks.pages import publish, spread
from benchmarks.processor import fastest, machine
from benchmarks.streaming import GROUP_ROWS, SHARE, write
from hcvae import command_line
from hcvae.config import Config
from hcvae.data.dataset import Dataset, prepare
from hcvae.data.streaming import prepare_stream
from hcvae.models import build
from hcvae.training.configuration import resolve
from hcvae.training.epoch import EpochTrainer
from hcvae.training.memory import memory_kept
from hcvae.training.streaming import Batch
from hcvae.training.tensors import PartTensors
from hcvae.training.workers import Workers
from tune.placement.ray_connection import ray_cluster

BATCH = 256
STEPS = 60
"""Timed training steps; a third as many precede them untimed."""
WIDTHS = (0.25, 1.0)
DISK = "from the disk, by one thread"
RAY = "from the disk, through Ray Data"
MEMORY = "from memory"


class Opening(command_line.Command):
    """Time the opening of a table, its first batch and the batches after it, and compare them with a training step.

    examples:
      python -m benchmarks.opening
      python -m benchmarks.opening --rows 200000 --batches 200
    """

    rows: int = Field(5_000_000, ge=GROUP_ROWS)
    """Waveforms of the table."""
    memory_rows: int = Field(200_000, ge=GROUP_ROWS)
    """Waveforms of the table in memory."""
    batches: int = Field(800, ge=1)
    """Batches after the first that are timed."""
    rounds: int = Field(5, ge=1)
    """Rounds of batches and training steps; a table is opened once."""


@dataclass
class Source:
    """Where batches come from."""

    data: Dataset
    open_s: float
    first_s: list[float] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)

    def trainer(self, width: float) -> EpochTrainer:
        """Return a trainer on this source."""
        settings: dict[str, Any] = {
            "model": {"width": width},
            "training": {"batch_size": BATCH, "precision": fastest(), "loss_weights": {"swap": 0.0}},
        }
        config = resolve(Config.model_validate(settings), self.data, 1)
        train = PartTensors.of(self.data.train, torch.device("cpu"))
        rate = self.data.preprocessing.sampling_rate_hz
        return EpochTrainer(config, build(config.model), train, Workers.current(), rate, self.data.stream)

    def give(self, batches: int, epoch: int) -> None:
        """Time the first batch of an epoch and those after it."""
        trainer = self.trainer(WIDTHS[0])
        started = time.perf_counter()
        given = trainer.batches(epoch)
        next(given)
        first = time.perf_counter()
        rows = sum(len(batch) for _, batch in some(given, batches))
        self.first_s.append(first - started)
        self.rates.append(rows / (time.perf_counter() - first))


def some(batches: Iterator[Batch], count: int) -> Iterator[Batch]:
    """Yield at most `count` batches and read no more."""
    for _, batch in zip(range(count), batches, strict=False):
        yield batch


def run(arguments: Sequence[str]) -> int:
    """Run the benchmark."""
    command = command_line.parse(Opening, arguments)
    with tempfile.TemporaryDirectory() as folder:
        large = Path(folder) / "large.parquet"
        small = Path(folder) / "small.parquet"
        write(large, command.rows)
        write(small, command.memory_rows)
        size = large.stat().st_size / 1e9
        sources = {
            DISK: opened(large, prepare_stream),
            RAY: opened(large, tune.placement.streaming.prepare),
            MEMORY: opened(small, prepare),
        }
        needed: dict[float, list[float]] = {width: [] for width in WIDTHS}
        with ray_cluster(sources[RAY].data.nbytes):
            for number in track(range(command.rounds), "rounds"):
                for source in sources.values():
                    source.give(command.batches, number)
                for width, rates in needed.items():
                    rates.append(training_rate(sources[MEMORY].trainer(width)))
            # Ray ends the process if its context is left while Ray Data still reads ahead.
            report(command, sources, needed, size)
    return 0


def report(command: Opening, sources: dict[str, Source], needed: dict[float, list[float]], size_gb: float) -> None:
    """Write the table."""
    lines = [
        "| batches of 256 | table | opened in, s | first batch after, s | waveforms/s "
        f"| {' | '.join(f'times what width {width:g} trains on' for width in WIDTHS)} |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, source in sources.items():
        rows = command.memory_rows if name == MEMORY else command.rows
        cells = [f"{source.open_s:.1f}", spread(source.first_s), spread(source.rates)]
        for width in WIDTHS:
            cells.append(spread([given / used for given, used in zip(source.rates, needed[width], strict=True)]))
        lines.append(f"| {name} | {rows:,} | {' | '.join(cells)} |")
    trained = ", ".join(f"{spread(rates)} at width {width:g}" for width, rates in needed.items())
    lines += [
        "",
        f"The large table has {size_gb:.1f} GB, and is opened once a way; {command.rounds} rounds of batches. Training "
        f"steps from memory ({fastest()}, {torch.get_num_threads()} threads, the specification's loss), waveforms/s: "
        f"{trained}. {machine()}, load average {os.getloadavg()[0]:.1f} at the end.",
    ]
    publish("benchmarks.md", "opening", lines)


def opened(table: Path, how: Any) -> Source:
    """Prepare the data of a table; return it with the time that took."""
    data = {"tables": [str(table)], "split": {"validation": float(SHARE), "test": float(SHARE)}}
    config = Config.model_validate({"data": data | {"memory_budget_gb": None if how is prepare else 0.1}})
    started = time.perf_counter()
    return Source(how(config), time.perf_counter() - started)


def training_rate(trainer: EpochTrainer) -> float:
    """Return waveforms per second of some steps."""
    weights = trainer.module.objective.weights
    trainer.module.train()
    with memory_kept():
        for step, batch in enumerate(trainer.batches(0)):
            if step == STEPS // 3:
                started = time.perf_counter()
            if step == STEPS // 3 + STEPS:
                break
            trainer.step(*batch, 0, step, weights)
    return STEPS * BATCH / (time.perf_counter() - started)


if __name__ == "__main__":
    sys.exit(command_line.main(run))
