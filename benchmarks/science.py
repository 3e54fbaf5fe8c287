"""Train and evaluate what docs/science.md reports. Each run is recorded at its end, so that the command can continue.

python -m benchmarks.science --tier quick     # under 15 minutes on 2 cores
python -m benchmarks.science --tier full      # under 6 hours; can be stopped and started again
python -m benchmarks.science --tier full --only quarter
python -m benchmarks.science --report         # only rewrite docs/science.md from the results
"""

import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import ValidationError
from rich.console import Console
from rich.progress import Progress

from benchmarks import records
from benchmarks.pages import ROOT
from benchmarks.processor import processor, without_slow
from benchmarks.records import RESULTS, Record
from benchmarks.science_report import write_report
from benchmarks.science_runs import Run, runs
from hcvae import command_line
from hcvae.bundle import load
from hcvae.config import Config
from hcvae.data.dataset import prepare
from hcvae.evaluation import (
    Findings,
    evaluate_bundle,
    evaluate_condition_mean,
    evaluate_oracle,
    evaluate_principal_components,
    evaluate_recordings,
    own_rows,
)
from hcvae.training import train_bundle

SCIENCE = RESULTS / "science.jsonl"
BASELINE_OF = "recommended"
"""The run of a group, with seed 0, beside which the group's baselines are measured."""


class Science(command_line.Command):
    """Train and evaluate the models of docs/science.md, then write its tables. Continues where it was interrupted.

    examples:
      python -m benchmarks.science --tier quick
      python -m benchmarks.science --tier full --only quarter
    """

    tier: Literal["quick", "full"] = "quick"
    """`quick`: small models, under 15 minutes on 2 cores; `full`: everything."""
    only: str | None = None
    """Only the runs of this group, or of this name."""
    recordings: str = "../shared/data"
    """Folder of the real recordings; without it their runs are left out, visibly."""
    trainings: int = 2
    """Trainings at a time, each in a process of its own."""
    threads: int = 1
    """Threads of a training."""
    report: bool = False
    """Train nothing; write the tables of the recorded runs."""


def run(arguments: Sequence[str]) -> int:
    """Run the benchmark."""
    command = command_line.parse(Science, arguments)
    console = Console()
    started = time.perf_counter()
    recordings = Path(os.environ.get("HCVAE_REAL_DATA", command.recordings))
    chosen = [r for r in runs(command.tier, recordings) if not command.only or command.only in (r.group, r.name)]
    if not recordings.is_dir():
        left_out = [r for r in chosen if r.group.startswith("recordings")]
        chosen = [r for r in chosen if r not in left_out]
        console.print(f"{recordings}: no such folder; {len(left_out)} runs on recordings are left out")
    if not command.report:
        done = records.read(SCIENCE)
        train_all([r for r in chosen if not is_done(r, done)], command, console)
    write_report(SCIENCE, ROOT / "docs" / "science.md")
    minutes = (time.perf_counter() - started) / 60
    console.print(f"{minutes:.1f} min; results in {SCIENCE.relative_to(ROOT)}, tables in docs/science.md")
    return 0


def train_all(todo: Sequence[Run], command: Science, console: Console) -> None:
    """Train and evaluate runs, several at a time, and record each; runs in a slow precision are left out."""
    if not todo:
        return
    by_key = {r.key: r for r in todo}
    precisions = {key: r.config["training"]["precision"] for key, r in by_key.items()}
    fast = without_slow(by_key, precisions, console).values()
    processes = ProcessPoolExecutor(command.trainings, multiprocessing.get_context("spawn"))
    with processes, Progress(console=console) as progress:
        task = progress.add_task(f"{len(fast)} trainings", total=len(fast))
        for future in as_completed([processes.submit(measure, item, command.threads) for item in fast]):
            record = future.result()
            records.write(SCIENCE, record)
            console.print(in_one_line(record))
            progress.advance(task)


def is_done(item: Run, done: Mapping[str, Record]) -> bool:
    """Return whether the records hold this run, with this configuration.

    Options that were added after a run was recorded count as left at their defaults in it.
    """
    if item.key not in done:
        return False
    try:
        return Config.model_validate(done[item.key]["config"]) == Config.model_validate(portable(item))
    except ValidationError:
        return False  # measured with an option that was removed


def measure(item: Run, threads: int) -> Record:
    """Train and evaluate one run; return its record."""
    torch.set_num_threads(threads)
    config = Config.model_validate(item.config)
    folder = Path(tempfile.mkdtemp(prefix="science-"))
    try:
        started = time.perf_counter()
        result = train_bundle(config, prepare(config), folder)
        trained = time.perf_counter()
        bundle = load(folder / "bundle")
        rows = own_rows(bundle, "test")
        found = evaluate_bundle(bundle, rows, lambda step: None)
        record: Record = {
            "key": item.key,
            "group": item.group,
            "name": item.name,
            "seed": item.seed,
            "config": portable(item),
            "parameters": sum(parameter.numel() for parameter in bundle.model.parameters()),
            "best_epoch": result.best_epoch,
            "epochs": len(result.history),
            "train_seconds": trained - started,
            "evaluate_seconds": time.perf_counter() - trained,
            "threads": threads,
            "machine": processor(),
            "revision": revision(),
            "date": datetime.now(UTC).date().isoformat(),
            **as_json(found),
        }
        if item.name == BASELINE_OF and item.seed == 0:
            record["baselines"] = {
                "PCA": as_json(evaluate_principal_components(bundle, rows, lambda step: None)),
                "mean of the condition": as_json(evaluate_condition_mean(bundle, rows)),
                "oracle": as_json(evaluate_oracle(rows)),
                "recordings in place of a model": as_json(evaluate_recordings(bundle, rows)),
            }
        return record
    finally:
        shutil.rmtree(folder)


def in_one_line(record: Record) -> str:
    """Return a line about a run for the terminal."""
    measures = record["measures"]
    return (
        f"{record['key']}: {record['train_seconds']:.0f} s training, {record['evaluate_seconds']:.0f} s evaluation, "
        f"R2 {measures['r2']:.3f}, disentanglement {measures['disentanglement']:.3f}, "
        f"J_gt {measures.get('j_gt', float('nan')):.3f}"
    )


def as_json(found: Findings) -> dict[str, Any]:
    """Return the measures, and the reasons for those that are missing."""
    return {"measures": found.measures, "left_out": found.left_out}


def portable(item: Run) -> dict[str, Any]:
    """Return the complete configuration of a run, without folders of this machine."""
    config: dict[str, Any] = Config.model_validate(item.config).model_dump(mode="json")
    config["data"]["tables"] = [Path(table).name for table in config["data"]["tables"]]
    return config


def revision() -> str:
    """Return the commit that was measured; `+` where files differ from it."""
    git = ["git", f"--git-dir={ROOT / '.git'}", f"--work-tree={ROOT}"]  # also where another user owns it
    command = [*git, "describe", "--always", "--dirty=+", "--exclude=*"]
    described = subprocess.run(command, capture_output=True, text=True)
    return described.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(command_line.main(run))
