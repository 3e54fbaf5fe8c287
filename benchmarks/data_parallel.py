"""Two gloo workers against one process with two threads. Writes its table into docs/benchmarks.md.

python -m benchmarks.data_parallel     # five minutes on 2 idle cores

Both train an epoch of the full-width model with the specification's loss on the same rows at the same global batch.
Each round starts both ways anew, in turn; ratios are taken within a round.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # imported once there is a process group, it would keep that alive past its end
import torch.distributed
from pydantic import Field
from rich.console import Console
from rich.progress import track

from benchmarks.pages import ROOT, publish, spread
from benchmarks.processor import machine, without_slow
from benchmarks.science_runs import PLAIN, merged
from hcvae import command_line
from hcvae.config import Config
from hcvae.data.dataset import prepare
from hcvae.models import build
from hcvae.training.configuration import resolve
from hcvae.training.epoch import EpochTrainer
from hcvae.training.memory import memory_kept
from hcvae.training.schedule import component_weights
from hcvae.training.tensors import PartTensors
from hcvae.training.workers import Workers

WORKERS = 2
BATCHES = (256, 512, 1024)
PRECISIONS = {"fp32": "fp32", "bf16": "bf16"}
WORKER_FILE = "HCVAE_BENCHMARK_FILE"
"""Environment variable: the file to which the first worker writes its result."""


class DataParallel(command_line.Command):
    """Time epochs of two gloo workers of one thread each, and of one process with two threads.

    examples:
      python -m benchmarks.data_parallel
      python -m benchmarks.data_parallel --rounds 1 --rows 6000
    """

    rounds: int = Field(5, ge=1)
    """Each round runs both ways once."""
    rows: int = Field(12_000, ge=2000)
    """Simulated waveforms, of which 70 % are trained on."""
    precisions: tuple[str, ...] = ()
    """Precisions to train in; by default fp32, and bf16 if it is not slower here."""


def run(arguments: Sequence[str]) -> int:
    """Run the benchmark, or a worker of it."""
    command = command_line.parse(DataParallel, arguments)
    if file := os.environ.get(WORKER_FILE):
        answer(Path(file), lambda workers: epoch_rates(command.rows, workers, command.precisions))
        return 0
    console = Console()
    found: dict[str, list[tuple[float, float]]] = defaultdict(list)
    precisions = command.precisions or without_slow(PRECISIONS, PRECISIONS, console)
    words = ["--rows", str(command.rows), "--precisions", json.dumps([*precisions])]
    for _ in track(range(command.rounds), "rounds", console=console):
        alone, together = (answer_of("benchmarks.data_parallel", words, workers) for workers in (1, WORKERS))
        for name in alone:
            found[name].append((alone[name], together[name]))
    lines = [
        f"| precision, global batch | one process, {WORKERS} threads, waveforms/s | {WORKERS} workers | ratio |",
        "| --- | --- | --- | --- |",
    ]
    for name, rates in found.items():
        one, two = zip(*rates, strict=True)
        ratios = [pair / single for single, pair in rates]
        lines.append(f"| {name} | {spread(one)} | {spread(two)} | {spread(ratios)} |")
    lines += ["", f"{command.rounds} rounds; {machine()}."]
    publish("benchmarks.md", "data parallel", lines)
    return 0


def answer_of(module: str, words: Sequence[str], workers: int) -> dict[str, float]:
    """Run `module` in new processes that share two threads; return what rank 0 writes to its file."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "answer.json"
        variables = {
            "WORLD_SIZE": str(workers),
            "OMP_NUM_THREADS": str(WORKERS // workers),
            WORKER_FILE: str(file),
        }
        command = [sys.executable, "-m", module, *words]
        processes = [
            subprocess.Popen(command, cwd=ROOT, env=os.environ | variables | {"RANK": str(rank)})
            for rank in range(workers)
        ]
        codes = [process.wait() for process in processes]
        if any(codes):
            raise RuntimeError(f"a worker of {workers} failed; see its message above")
        return dict(json.loads(file.read_text()))


def answer(file: Path, measure: Callable[[Workers], dict[str, float]]) -> None:
    """Measure as one worker of the group; rank 0 writes the result to `file`.

    No object of the measurement outlives `measure`, so that the threads of the group end with it: a thread that still
    runs while Python exits may abort the process (PyTorch issue 190489).
    """
    torch.distributed.init_process_group(
        "gloo",
        init_method=file.with_name("store").as_uri(),
        rank=int(os.environ["RANK"]),
        world_size=int(os.environ["WORLD_SIZE"]),
    )
    workers = Workers.current()
    found = measure(workers)
    if workers.is_rank_0:
        file.write_text(json.dumps(found))
    torch.distributed.destroy_process_group()


def epoch_rates(rows: int, workers: Workers, precisions: Sequence[str]) -> dict[str, float]:
    """Return waveforms/s of an epoch of each kind, after a first epoch that is not timed."""
    base: dict[str, Any] = merged(PLAIN, {"data": {"simulator": {"rows": rows}}})
    data = prepare(Config.model_validate(base))
    train = PartTensors.of(data.train, torch.device("cpu"))
    rates = {}
    with memory_kept():
        for precision in precisions:
            for batch in BATCHES:
                changed = merged(base, {"training": {"batch_size": batch, "precision": precision}})
                config = resolve(Config.model_validate(changed), data, workers.size)
                torch.manual_seed(0)
                trainer = EpochTrainer(config, build(config.model), train, workers, data.preprocessing.sampling_rate_hz)
                weights = component_weights(config, config.training.loss_weights)
                trainer.run(0, weights, config.training.learning_rate)
                torch.distributed.barrier()
                started = time.perf_counter()
                trainer.run(1, weights, config.training.learning_rate)
                torch.distributed.barrier()
                rates[f"{precision}, {batch}"] = data.n_train / (time.perf_counter() - started)
    return rates


if __name__ == "__main__":
    sys.exit(command_line.main(run))
