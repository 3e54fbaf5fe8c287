"""How much memory does a training from the disk take, and how fast is it? Writes its table into docs/benchmarks.md.

python -m benchmarks.streaming     # 5 million waveforms, 5 GB of disk for a while; half an hour
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from statistics import median

import psutil
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from benchmarks.pages import ROOT, publish
from benchmarks.processor import machine
from hcvae import command_line
from hcvae.data.simulator import simulate

GROUP_ROWS = 50_000
SAMPLED_EVERY_S = 1.0
MIB = 2**20
SHARE = "0.002"
"""Share of the subjects for validation and for test; both parts are in memory."""


class Streaming(command_line.Command):
    """Train one epoch of a model of width 0.25 on a large table that stays on the disk, and on a small one in memory.

    examples:
      python -m benchmarks.streaming
      python -m benchmarks.streaming --rows 200000
    """

    rows: int = Field(5_000_000, ge=GROUP_ROWS)
    """Waveforms of the large table."""
    memory_rows: int = Field(200_000, ge=GROUP_ROWS)
    """Waveforms of the small table."""


@dataclass
class Memory:
    """Unique set sizes in MiB, observed while a training ran."""

    training: list[float] = field(default_factory=list)
    """The process that trains."""
    reading: list[float] = field(default_factory=list)
    """The largest of the processes that read."""
    together: list[float] = field(default_factory=list)
    """All processes together, including those of Ray."""

    def sample(self, process: psutil.Process) -> None:
        """Record the sizes of `process` and of its descendants."""
        mine = _unique(process)
        others = [(child.name(), _unique(child)) for child in process.children(recursive=True)]
        self.training.append(mine)
        self.reading.append(max((size for name, size in others if name.startswith("ray::")), default=0))
        self.together.append(mine + sum(size for _, size in others))


def run(arguments: Sequence[str]) -> int:
    """Run the benchmark."""
    command = command_line.parse(Streaming, arguments)
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "large.parquet"
        small = Path(folder) / "small.parquet"
        write(table, command.rows)
        write(small, command.memory_rows)
        size = table.stat().st_size / 1e9
        streamed, seconds, metrics = train(table, Path(folder) / "streamed", "--data.memory_budget_gb", "0.1")
        whole, small_seconds, small_metrics = train(small, Path(folder) / "whole")
    lines = [
        "| | waveforms | waveforms/s in the epoch | s in all | training process, MiB | a reader, MiB | all, MiB |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        row("from the disk", command.rows, metrics["seconds"], seconds, streamed),
        row("in memory", command.memory_rows, small_metrics["seconds"], small_seconds, whole),
        "",
        f"Unique set size, the largest of samples every {SAMPLED_EVERY_S:g} s. The table has {size:.1f} GB. Of the "
        f"training process from the disk, medians of the quarters of its time: {quarters(streamed.training)} MiB. "
        f"{machine()}, load average {os.getloadavg()[0]:.1f} at the end.",
    ]
    publish("benchmarks.md", "streaming", lines)
    return 0


def write(path: Path, n_rows: int) -> None:
    """Write simulated waveforms in row groups, each with other subjects."""
    writer = None
    for seed, first in enumerate(range(0, n_rows, GROUP_ROWS)):
        table = simulate(min(GROUP_ROWS, n_rows - first), seed)
        position = table.schema.get_field_index("subject_id")
        subjects = pc.binary_join_element_wise(table["subject_id"], str(seed), "-")
        table = table.set_column(position, "subject_id", subjects)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table, row_group_size=GROUP_ROWS)
    if writer is not None:
        writer.close()


def train(table: Path, out: Path, *more: str) -> tuple[Memory, float, dict[str, float]]:
    """Run `jobs.train` for one epoch in a process of its own; return memory, seconds and metrics."""
    options = {
        "--data.tables": json.dumps([str(table)]),
        "--data.split.validation": SHARE,
        "--data.split.test": SHARE,
        "--model.width": "0.25",
        "--training.epochs": "1",
        "--training.precision": "fp32",
        "--out": str(out),
    }
    words = list(chain.from_iterable(options.items()))
    command = [sys.executable, "-m", "jobs.train", "--log-json", *words, *more]
    memory = Memory()
    started = time.perf_counter()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            memory.sample(watched)
            time.sleep(SAMPLED_EVERY_S)
        output = process.communicate()[0]
    if process.returncode:
        raise RuntimeError(f"jobs.train ended with exit code {process.returncode}")
    return memory, time.perf_counter() - started, json.loads(output.splitlines()[0])


def row(name: str, n_rows: int, epoch_s: float, all_s: float, memory: Memory) -> str:
    """Return a row of the table."""
    trained = n_rows * (1 - 2 * float(SHARE))
    sizes = [max(memory.training), max(memory.reading), max(memory.together)]
    reading = f"{sizes[1]:.0f}" if sizes[1] else "-"
    return (
        f"| {name} | {n_rows:,} | {trained / epoch_s:.0f} | {all_s:.0f} | {sizes[0]:.0f} | {reading} | {sizes[2]:.0f} |"
    )


def quarters(sizes: Sequence[float]) -> str:
    """Format the medians of the four quarters."""
    step = -(-len(sizes) // 4)
    return ", ".join(f"{median(sizes[start : start + step]):.0f}" for start in range(0, len(sizes), step))


def _unique(process: psutil.Process) -> float:
    try:
        return float(process.memory_full_info().uss) / MIB
    except (psutil.NoSuchProcess, psutil.ZombieProcess, psutil.AccessDenied):
        return 0.0


if __name__ == "__main__":
    sys.exit(command_line.main(run))
