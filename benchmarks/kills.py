"""Does a search survive the death of its processes? Kills searches at random moments and repeats their commands.

python -m benchmarks.kills --rounds 20     # continues where it ended; prints the table that docs/resume.md quotes
"""

import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState
from pydantic import Field
from rich.console import Console

from benchmarks.records import RESULTS
from hcvae import command_line
from hcvae.bundle import load
from tests.fixtures.postgres import postgres_server
from tests.fixtures.running_search import RunningSearch, newest_checkpoint
from tune.report.results import SearchResult
from tune.study.folder import StudyFolder
from tune.study.leases import lease_of
from tune.study.trial_attributes import attributes_of

KILLS = RESULTS / "kills.jsonl"
EPOCHS = 6
CHECKS = ("finished", "none running", "numbers", "continued", "own folders", "histories", "bundles")

Row = dict[str, Any]


class Kills(command_line.Command):
    """Start searches of 12 trials on sqlite and on PostgreSQL, SIGKILL each once at a random moment, repeat its
    command, and check what is there in the end. Needs root and Debian's postgresql.

    examples:
      python -m benchmarks.kills --rounds 20
    """

    rounds: int = Field(20, ge=1)
    """Rounds on each database."""


def run(arguments: Sequence[str]) -> int:
    """Run the rounds that are not recorded yet, then print the table."""
    command = command_line.parse(Kills, arguments)
    rows = recorded()
    known = {(row["database"], row["round"]) for row in rows}
    with postgres_server() as server:
        os.environ["PGPASSFILE"] = str(server.password_file)
        places = {"sqlite": None, "postgresql": server.url}
        for index in range(command.rounds):
            for database, url in places.items():
                if (database, index) not in known:
                    with tempfile.TemporaryDirectory() as folder:
                        rows.append(one_round(database, index, url, Path(folder)))
                    KILLS.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
                    Console().print(rows[-1], highlight=False)
    table = make_table(rows)
    print(table)
    return 0 if all(not row["failed"] for row in rows) else 1


def recorded() -> list[Row]:
    """Return the recorded rounds."""
    return [json.loads(line) for line in KILLS.read_text().splitlines()] if KILLS.exists() else []


def one_round(database: str, index: int, url: str | None, folder: Path, trials: int = 12) -> Row:
    """Start a search, kill it after a random number of epochs, repeat its command, and check the study."""
    draw = random.Random(f"{database} {index}")
    with_ray = bool(index % 2)
    epochs = draw.randrange(1, trials * EPOCHS - 1)
    config = folder / "config.json"
    config.write_text(json.dumps(_config(f"round-{index}", folder, url, trials)))
    search = RunningSearch(config)
    try:
        search.wait_for_epochs(epochs)
        time.sleep(draw.random())
        search.kill(with_ray)
        study = folder / f"round-{index}"
        before = {
            trial.number: Interrupted(lease_of(trial).attempt, newest_checkpoint(study, trial.number))
            for trial in running_trials(study)
        }
        started = time.perf_counter()
        again = RunningSearch(config)
        first = again.first_epochs()
        code = again.process.wait()
        seconds = time.perf_counter() - started
        again.kill(True)
    finally:
        search.kill(True)
    results = dict(zip(CHECKS, check(study, trials, before, first), strict=True)) | {"exit code": code == 0}
    return {
        "database": database,
        "round": index,
        "killed": "driver and Ray" if with_ray else "driver",
        "after_epochs": epochs,
        "running": len(before),
        "with_checkpoint": sum(trial.epoch > 0 for trial in before.values()),
        "seconds_again": round(seconds, 1),
        "failed": [name for name, passed in results.items() if not passed],
    }


def check(study: Path, trials: int, before: "Mapping[int, Interrupted]", first: Mapping[int, float]) -> Iterator[bool]:
    """Yield whether each of `CHECKS` holds at the end.

    Args:
        study: its folder.
        trials: its budget.
        before: the trials that were running after the kill.
        first: the first epoch of each trial that the second process reported.
    """
    found = StudyFolder(study).load().get_trials(deepcopy=False)
    yield sum(trial.state == TrialState.COMPLETE for trial in found) == trials
    yield not running_trials(study)
    yield [trial.number for trial in found] == list(range(trials))
    # A trial whose training had ended already reports no epoch again.
    yield all(first.get(number, EPOCHS) > trial.epoch for number, trial in before.items() if trial.epoch < EPOCHS)
    own = all(_written_by_one(StudyFolder(study), attempt) for attempt in study.glob("trials/*/attempt-*"))
    yield own and all(_attempt_follows(trial, before) for trial in found)
    yield all(_epochs_of(trial) == list(range(1, EPOCHS + 1)) for trial in found)
    result = SearchResult.open(study)
    yield bool(result.pareto) and all(load(result.bundle(trial.number)) for trial in result.pareto)


@dataclass(frozen=True)
class Interrupted:
    """A trial that was running when its search was killed."""

    attempt: int
    """Its latest attempt."""
    epoch: int
    """Of its newest checkpoint; 0 for none."""


def running_trials(study: Path) -> list[FrozenTrial]:
    """Return the trials of a study that have not ended."""
    found: list[FrozenTrial] = StudyFolder(study).load().get_trials(states=(TrialState.RUNNING,))
    return found


def make_table(rows: Sequence[Row]) -> str:
    """Return the results by database and by what was killed, as a table for a page."""
    lines = [
        "| database | killed | rounds | passed | trials interrupted | with a checkpoint | seconds of the rerun |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for database, killed in sorted({(row["database"], row["killed"]) for row in rows}):
        those = [row for row in rows if (row["database"], row["killed"]) == (database, killed)]
        total = Counter[str]()
        for row in those:
            total.update(running=row["running"], with_checkpoint=row["with_checkpoint"], passed=int(not row["failed"]))
        times = [row["seconds_again"] for row in those]
        numbers = f"{len(those)} | {total['passed']} | {total['running']} | {total['with_checkpoint']}"
        lines.append(f"| {database} | {killed} | {numbers} | {min(times):.0f} to {max(times):.0f} |")
    return "\n".join(lines) + "\n"


def _config(study: str, storage: Path, url: str | None, trials: int) -> dict[str, Any]:
    return {
        "model": {"width": 0.02},
        "data": {"simulator": {"rows": 600}},
        "training": {"epochs": EPOCHS, "batch_size": 64, "early_stopping_patience": None, "checkpoint_every_epochs": 1},
        "search": {"study": study, "storage": str(storage), "database": url, "trials": trials, "max_concurrent": 2},
    }


def _attempt_follows(trial: FrozenTrial, before: "Mapping[int, Interrupted]") -> bool:
    """Return whether the last attempt of a trial is the one after its interrupted attempt, or the first."""
    interrupted = before.get(trial.number, Interrupted(0, 0))
    return lease_of(trial).attempt == interrupted.attempt + 1


def _epochs_of(trial: FrozenTrial) -> list[float]:
    return [epoch["epoch"] for epoch in attributes_of(trial)["epochs_reported"]]


def _written_by_one(folder: StudyFolder, attempt: Path) -> bool:
    """Return whether one process wrote an attempt: TensorBoard's files bear the id of their process."""
    events = folder.events(int(attempt.parent.name), int(attempt.name.removeprefix("attempt-"))).path
    return len({file.name.split(".")[-2] for file in events.glob("events.out.tfevents.*")}) <= 1


if __name__ == "__main__":
    sys.exit(command_line.main(run))
