"""What does a search cost besides its trainings, and what grows with their number? Searches with trivial trials.

python -m benchmarks.many_trials                             # 2,000 trials that end at once, then docs/benchmarks.md
python -m benchmarks.many_trials --database postgresql       # the same in PostgreSQL
python -m benchmarks.many_trials --trials 100 --trained      # trials that train: when is their first step?
"""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

import numpy as np
import ray
import ray.tune
import sqlalchemy
from pydantic import Field
from rich.console import Console
from torch.optim.optimizer import register_optimizer_step_post_hook

import tune.search.run
from benchmarks import records
from benchmarks.many_trials_clock import Times, resident_mib, watched
from benchmarks.many_trials_report import Row, Run, Snapshot, write_report
from benchmarks.pages import ROOT
from benchmarks.processor import processor
from benchmarks.records import RESULTS
from benchmarks.science import revision
from hcvae import command_line
from hcvae.config import Config
from hcvae.data.dataset import prepare
from hcvae.training import fit
from tests.fixtures.postgres import postgres_server
from tests.fixtures.studies import SIX_PARAMETERS
from tune.config import SearchConfig
from tune.objectives import SPECIFIED, Point, names_of
from tune.placement.resources import trial_resources
from tune.space.search_space import apply
from tune.study.database import SQLITE, Database
from tune.study.folder import StudyFolder
from tune.study.outcome import Ending, Outcome
from tune.trial.message import Message
from tune.trial.trainable import make_trainable

MANY_TRIALS = RESULTS / "many-trials.jsonl"
FIRST_STEPS = "first-steps"
"""Folder with a file for each trial: the time of its first step, or of its start if it does not train."""
BASE = SearchConfig.model_validate(
    {
        "model": {"width": 0.02},
        "data": {"simulator": {"rows": 600}},
        "training": {"epochs": 1, "batch_size": 512},
        "search": {"space": SIX_PARAMETERS},
    }
)
"""What all configurations share."""


class ManyTrials(command_line.Command):
    """Run one search whose trials train little, watch its driver, then write the tables of docs/benchmarks.md.

    examples:
      python -m benchmarks.many_trials
      python -m benchmarks.many_trials --trials 100 --trained
    """

    trials: int = Field(2000, ge=2)
    """Trials of the search."""
    every: int = Field(100, ge=1)
    """Trials between two rows of the result."""
    trained: bool = False
    """Train a narrow model for one epoch, instead of ending at once with an invented outcome."""
    epochs: int = Field(1, ge=1)
    """Epochs in the history of each invented outcome."""
    sampler: Literal["tpe", "random"] = "tpe"
    """The search's sampler."""
    database: Literal["sqlite", "postgresql"] = "sqlite"
    """Where the trials are recorded; `postgresql` needs root and Debian's postgresql."""

    @property
    def name(self) -> str:
        """The name of the result."""
        kind = "trained" if self.trained else f"{self.epochs}-epochs"
        return f"{self.database}-{self.sampler}-{kind}-{self.trials}"


def run(arguments: Sequence[str]) -> int:
    """Run the benchmark."""
    command = command_line.parse(ManyTrials, arguments)
    measured_on = processor()
    measured = revision()

    def keep(rows: Sequence[Row]) -> None:
        made = Run(name=command.name, machine=measured_on, revision=measured, rows=tuple(rows))
        records.write(MANY_TRIALS, made.model_dump(mode="json"), key="name")
        Console().print(f"{rows[-1].trials} trials, {rows[-1].elapsed_ms:.0f} ms each", highlight=False)

    storage = Path(tempfile.mkdtemp(prefix="many-trials-"))
    try:
        with _database(command) as url:
            search(command, storage, url, keep)
    finally:
        shutil.rmtree(storage)
    write_report(ROOT / "docs" / "benchmarks.md", MANY_TRIALS)
    return 0


def search(command: ManyTrials, storage: Path, url: str | None, keep: Callable[[Sequence[Row]], None]) -> None:
    """Run the search; call `keep` with the rows after each `command.every` trials."""
    settings = {
        "study": "many",
        "storage": str(storage),
        "trials": command.trials,
        "database": url,
        "objectives": SPECIFIED,
    }
    config = BASE.model_copy(update={"search": BASE.search.model_copy(update=settings | {"sampler": command.sampler})})
    folder = StudyFolder(storage / "many")
    size = partial(database_mib, Database.of(config.search, folder.path), folder.path / SQLITE)
    snapshots: list[Snapshot] = []
    rows: list[Row] = []

    def tell(ended: int, times: Times, handed_out: dict[int, float]) -> None:
        snapshots.append((ended, time.perf_counter(), time.process_time(), times, resident_mib(), size()))
        if ended:
            files = {number: notes / str(number) for number in range(ended - command.every, ended)}
            starts = [float(file.read_text()) - handed_out[at] for at, file in files.items() if file.exists()]
            rows.append(Row.between(snapshots[-2], snapshots[-1], starts))
            keep(rows)

    notes = storage / FIRST_STEPS
    notes.mkdir()
    trainable = trained(notes) if command.trained else ready(example(storage), command.epochs, notes)
    with (
        patch.object(tune.search.run, "StudySearcher", watched(tell, command.every)),
        patch.object(tune.search.run, "make_trainable", trainable),
    ):
        tune.search.run_search(config)


def example(storage: Path) -> dict[str, float]:
    """Return the metrics of a real epoch."""
    return fit(apply(BASE, {}), prepare(BASE), storage / "fit").history[0]


def ready(metrics: dict[str, float], epochs: int, notes: Path) -> Callable[..., Any]:
    """Make trials that look at the data, write the folders of a training, and end with values computed from their
    parameters; replaces `tune.trial.trainable.make_trainable`."""

    def make(config: Config, data: "ray.ObjectRef[Any]", workers: Any, decisions: Any, folds: Any) -> Any:
        def run_trial(suggestion: dict[str, Any]) -> None:
            ray.get(data)
            place = suggestion["attempt"].place
            identity = suggestion["attempt"].identity
            values = made_up(suggestion["number"], suggestion["params"])
            (place.path / "checkpoint").mkdir(parents=True)
            (place.path / "checkpoint" / "file").touch()
            identity.write(place)
            identity.model_copy(update={"values": values}).write(place / "bundle")
            (notes / str(suggestion["number"])).write_text(str(time.time()))
            found = metrics | dict(zip(names_of(SPECIFIED), values, strict=True))
            history = tuple(found | {"epoch": float(epoch)} for epoch in range(1, epochs + 1))
            for epoch in history:
                Message(epoch=epoch).send()
            Message(outcome=Outcome(state=Ending.COMPLETE, values=values, best_epoch=epochs, history=history)).send()

        return ray.tune.with_resources(run_trial, trial_resources(workers))

    return make


def made_up(number: int, params: dict[str, Any]) -> Point:
    """Return two objectives that conflict over the swap weight, with noise from a seed per trial."""
    noise = np.random.default_rng(number).normal(0, 0.03, 2)
    place = (np.log10(params["training.loss_weights.swap"]) + 2) / 3
    return float(0.1 + 0.3 * place**2 + noise[0]), float(0.3 + 0.5 * place + noise[1])


def trained(notes: Path) -> Callable[..., Any]:
    """Make the trials of `tune.trial.trainable.make_trainable`, with a note of their first step."""

    def make(config: Config, data: "ray.ObjectRef[Any]", workers: Any, decisions: Any, folds: Any) -> Any:
        train = make_trainable(config, data, workers, decisions, folds)

        def run_trial(suggestion: dict[str, Any]) -> None:
            def note(*_: Any) -> None:
                hook.remove()
                (notes / str(suggestion["number"])).write_text(str(time.time()))

            hook = register_optimizer_step_post_hook(note)
            train(suggestion)

        return ray.tune.with_resources(run_trial, trial_resources(workers))

    return make


def database_mib(database: Database, file: Path) -> float:
    """Return the size of a study's database."""
    if not database.shared:
        return file.stat().st_size / 2**20
    with database._engine.connect() as connection:
        return float(connection.scalar(sqlalchemy.text("SELECT pg_database_size(current_database())"))) / 2**20


@contextmanager
def _database(command: ManyTrials) -> Iterator[str | None]:
    if command.database == "sqlite":
        yield None
        return
    with postgres_server() as server:
        os.environ["PGPASSFILE"] = str(server.password_file)
        yield server.url


if __name__ == "__main__":
    sys.exit(command_line.main(run))
