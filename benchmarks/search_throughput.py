"""Speed of the same trials, two at once: in a search, in stock Ray Tune and in two plain processes. Writes its table.

python -m benchmarks.search_throughput     # 5 rounds, a quarter of an hour on 2 idle cores

Stock: a Tuner with OptunaSearch, a fresh process for each trial, which reads the data itself. Plain: two processes that
read the data once and train one after another; no Ray, no study, no bundles. Ratios are taken within a round.
"""

import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from itertools import chain
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import optuna
import psutil
import ray.tune
import torch
from pydantic import Field
from ray.tune.search.optuna import OptunaSearch
from rich.progress import track

from benchmarks.pages import publish, spread
from benchmarks.processor import machine
from hcvae import command_line
from hcvae.config import Config
from hcvae.data.dataset import prepare
from hcvae.data.simulator import simulate
from hcvae.data.table import write_table
from hcvae.training import fit
from tune.config import SearchConfig
from tune.objectives import SPECIFIED, names_of
from tune.search import run_search
from tune.space.search_space import apply
from tune.study.artifacts import history_of
from tune.study.folder import StudyFolder

AT_ONCE = 2
SEARCHED = "training.loss_weights.swap"
BETWEEN = (0.5, 2.0)
SAMPLED_EVERY_S = 0.5
MIB = 2**20

Params = dict[str, float]
Epochs = list[dict[str, Any]]
"""The metrics of a training's epochs."""


class SearchThroughput(command_line.Command):
    """Train the same trials, two at once, in three ways, and compare speed and memory.

    examples:
      python -m benchmarks.search_throughput
      python -m benchmarks.search_throughput --rounds 1 --trials 2 --rows 6000
    """

    rounds: int = Field(5, ge=1)
    """Each round runs every way once."""
    trials: int = Field(6, ge=AT_ONCE)
    """Trials of each way."""
    rows: int = Field(40_000, ge=2000)
    """Simulated waveforms, of which 70 % are trained on."""
    epochs: int = Field(2, ge=1)
    """Epochs of each trial."""


@dataclass(frozen=True)
class Task:
    """The work of all ways."""

    table: Path
    """Table of the waveforms."""
    folder: Path
    """A new one for each way."""
    epochs: int
    params: tuple[Params, ...]
    """Parameters of each trial."""

    def config(self) -> dict[str, Any]:
        """Return the configuration that the trials share."""
        return {
            "model": {"width": 0.25},
            "data": {"tables": [str(self.table)]},
            "training": {"epochs": self.epochs, "batch_size": 256, "precision": "fp32"},
        }


@dataclass
class Measured:
    """Speed and memory of a way in one round."""

    seconds: float = 0.0
    """Total time, from the start of its first process."""
    rate: float = 0.0
    """Waveforms per second of the trials that run at once, within their epochs."""
    pss_mib: float = 0.0
    """Proportional set size of a trial's process, the largest observed: shared memory is divided among the
    processes that share it."""
    rss_mib: float = 0.0
    """Resident set size: shared memory counts in full."""


def search(task: Task) -> list[Epochs]:
    """Use `tune.search.run_search`, which keeps the data in the object store once and reuses its processes."""
    low, high = BETWEEN
    settings = {
        "study": "throughput",
        "storage": str(task.folder),
        "trials": len(task.params),
        "max_concurrent": AT_ONCE,
        "objectives": names_of(SPECIFIED),
        "sampler": "random",
        "first_trials": task.params,
        "space": {SEARCHED: {"type": "float", "low": low, "high": high}},
    }
    run_search(SearchConfig.model_validate(task.config() | {"search": settings}))
    folder = StudyFolder(task.folder / "throughput")
    study = folder.load()
    return [history_of(folder, study, trial) for trial in study.get_trials()]


def stock(task: Task) -> list[Epochs]:
    """Use a Tuner with OptunaSearch, as in the documentation of Ray."""
    config = Config.model_validate(task.config())
    histories = task.folder

    def run_trial(params: Params) -> None:
        torch.set_num_threads(1)
        chosen = apply(config, params)
        folder = Path.cwd()
        data = prepare(chosen)

        def report(metrics: dict[str, float]) -> bool:
            ray.tune.report({name: metrics[name] for name in names_of(SPECIFIED)})
            return True

        history = fit(chosen, data, folder, report).history
        (histories / f"{os.getpid()}.json").write_text(json.dumps(history))

    searcher = OptunaSearch(
        {SEARCHED: optuna.distributions.FloatDistribution(*BETWEEN)},
        metric=list(names_of(SPECIFIED)),
        mode=["min", "max"],
        points_to_evaluate=[dict(params) for params in task.params],
    )
    ray.init("local", include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    tuner = ray.tune.Tuner(
        run_trial,
        tune_config=ray.tune.TuneConfig(
            search_alg=searcher, num_samples=len(task.params), max_concurrent_trials=AT_ONCE
        ),
        run_config=ray.tune.RunConfig(storage_path=str(task.folder / "ray"), verbose=0),
    )
    results = tuner.fit()
    if results.errors:
        raise RuntimeError(f"a stock trial failed: {results.errors[0]}")
    return [json.loads(file.read_text()) for file in task.folder.glob("*.json")]


def plain(task: Task) -> list[Epochs]:
    """Use two processes, each with every second trial."""
    context = multiprocessing.get_context("spawn")
    files = [task.folder / f"{first}.json" for first in range(AT_ONCE)]
    processes = [
        context.Process(target=train_one_after_another, args=(task, task.params[first::AT_ONCE], file))
        for first, file in enumerate(files)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return list(chain.from_iterable(json.loads(file.read_text()) for file in files))


def train_one_after_another(task: Task, params: Sequence[Params], file: Path) -> None:
    """Train some trials, in one of the plain processes."""
    torch.set_num_threads(1)
    config = Config.model_validate(task.config())
    data = prepare(config)
    histories = []
    for each in params:
        with tempfile.TemporaryDirectory() as folder:
            histories.append(fit(apply(config, each), data, Path(folder)).history)
    file.write_text(json.dumps(histories))


WAYS: dict[str, Callable[[Task], list[Epochs]]] = {"search": search, "stock": stock, "plain": plain}


def run(arguments: Sequence[str]) -> int:
    """Run the benchmark."""
    command = command_line.parse(SearchThroughput, arguments)
    low, high = BETWEEN
    params = tuple({SEARCHED: low + (high - low) * (n + 0.5) / command.trials} for n in range(command.trials))
    found: dict[str, list[Measured]] = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory() as scratch:
        table = Path(scratch) / "table.parquet"
        write_table(simulate(command.rows, 0), table)
        data = prepare(Config.model_validate({"data": {"tables": [str(table)]}}))
        size = sum(part.signals.nbytes for part in (data.train, data.validation, data.test)) / MIB
        for number in track(range(command.rounds), "rounds"):
            for name in WAYS:
                folder = Path(scratch) / f"{name}-{number}"
                folder.mkdir()
                found[name].append(measure(name, Task(table, folder, command.epochs, params), data.n_train))
    write_report(command, found, size)
    return 0


def measure(name: str, task: Task, n_train: int) -> Measured:
    """Run a way in a process of its own, and watch the memory of its trials."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    measured = Measured()
    started = time.perf_counter()
    process = context.Process(target=run_way, args=(name, task, theirs))
    process.start()
    theirs.close()
    while not ours.poll(SAMPLED_EVERY_S):
        if not process.is_alive():
            raise RuntimeError(f"{name}: its process ended with exit code {process.exitcode}")
        for trial in trial_processes(psutil.Process(process.pid)):
            try:
                memory = trial.memory_full_info()
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
            measured.pss_mib = max(measured.pss_mib, memory.pss / MIB)
            measured.rss_mib = max(measured.rss_mib, memory.rss / MIB)
    histories = ours.recv()
    measured.seconds = time.perf_counter() - started
    process.join()
    epochs = list(chain.from_iterable(histories))
    if len(histories) != len(task.params) or len(epochs) != len(histories) * task.epochs:
        raise RuntimeError(f"{name}: not all trials trained to their end")
    measured.rate = AT_ONCE * len(epochs) * n_train / sum(epoch["seconds"] for epoch in epochs)
    return measured


def run_way(name: str, task: Task, answer: Connection) -> None:
    """Run a way in its process, and send the histories."""
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        answer.send(WAYS[name](task))
    answer.close()


def trial_processes(way: psutil.Process) -> Iterator[psutil.Process]:
    """Yield the processes that train: Ray's actors, or the plain processes."""
    for child in way.children(recursive=True):
        try:
            words = child.cmdline()
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
        if words and ("spawn_main" in " ".join(words) or (words[0].startswith("ray::") and "IDLE" not in words[0])):
            yield child


def write_report(command: SearchThroughput, found: dict[str, list[Measured]], size_mib: float) -> None:
    """Write the table."""
    names = {
        "search": "`run_search`",
        "stock": "stock: Tuner, OptunaSearch, a process a trial",
        "plain": "two plain processes",
    }
    lines = [
        "| way | waveforms/s in the epochs, both trials | ratio to plain | trials/hour, start and all | ratio to stock "
        "| a trial's memory, PSS, MiB | RSS, MiB |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for way, title in names.items():
        mine = found[way]
        rates = [one.rate for one in mine]
        hourly = [3600 * command.trials / one.seconds for one in mine]
        to_plain = [one.rate / other.rate for one, other in zip(mine, found["plain"], strict=True)]
        to_stock = [other.seconds / one.seconds for one, other in zip(mine, found["stock"], strict=True)]
        cells = [rates, to_plain, hourly, to_stock, [one.pss_mib for one in mine], [one.rss_mib for one in mine]]
        lines.append(f"| {title} | {' | '.join(map(spread, cells))} |")
    lines += [
        "",
        f"{command.rounds} rounds of {command.trials} trials, {command.epochs} epochs of {command.rows:,} waveforms "
        f"({size_mib:.0f} MiB), one thread a trial; {machine()}.",
    ]
    publish("benchmarks.md", "search throughput", lines)


if __name__ == "__main__":
    sys.exit(command_line.main(run))
