"""Trains and evaluates what docs/science.md reports; one JSON file a run, so that it goes on where it ended.

python -m benchmarks.science --tier quick     # under 15 minutes on 2 cores
python -m benchmarks.science --tier full      # under 6 hours; stop it and start it again at will
python -m benchmarks.science --tier full --only quarter
python -m benchmarks.science --report         # only write docs/science.md anew from the results
"""

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import ValidationError
from rich.console import Console
from rich.progress import Progress

from benchmarks.processor import processor, without_slow
from benchmarks.science_report import write_report
from benchmarks.science_runs import Run, runs
from hcvae import command_line
from hcvae.atomic import atomic_write
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

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "science"
BASELINE_OF = "recommended"
"""The run of a group, with seed 0, beside which the group's baselines are measured."""


class Science(command_line.Command):
    """Train and evaluate the models of docs/science.md, then write its tables. Goes on where it was interrupted.

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
    """Train nothing; write the tables of what is there."""


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
    todo = [] if command.report else [r for r in chosen if not is_done(r)]
    if todo:
        by_key = {r.key: r for r in todo}
        precisions = {key: r.config["training"]["precision"] for key, r in by_key.items()}
        todo = [*without_slow(by_key, precisions, console).values()]
    RESULTS.mkdir(parents=True, exist_ok=True)
    processes = ProcessPoolExecutor(command.trainings, multiprocessing.get_context("spawn"))
    with processes, Progress(console=console) as progress:
        task = progress.add_task(f"{len(todo)} trainings", total=len(todo))
        for future in as_completed([processes.submit(measure, item, command.threads) for item in todo]):
            console.print(future.result())
            progress.advance(task)
    write_report(RESULTS, ROOT / "docs" / "science.md")
    minutes = (time.perf_counter() - started) / 60
    console.print(f"{minutes:.1f} min; results in {RESULTS.relative_to(ROOT)}, tables in docs/science.md")
    return 0


def is_done(item: Run) -> bool:
    """Whether the results hold this run, with this configuration.

    Options that came later than a result count as left at their defaults there.
    """
    path = RESULTS / f"{item.key}.json"
    if not path.exists():
        return False
    try:
        return Config.model_validate(json.loads(path.read_text())["config"]) == Config.model_validate(portable(item))
    except ValidationError:
        return False  # measured with an option that there is no longer


def measure(item: Run, threads: int) -> str:
    """Train and evaluate one run and write what is worth keeping of it; a line about it."""
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
        record = {
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
        write(item, record)
        return (
            f"{item.key}: {record['train_seconds']:.0f} s training, {record['evaluate_seconds']:.0f} s evaluation, "
            f"R2 {found.measures['r2']:.3f}, disentanglement {found.measures['disentanglement']:.3f}, "
            f"J_gt {found.measures.get('j_gt', float('nan')):.3f}"
        )
    finally:
        shutil.rmtree(folder)


def as_json(found: Findings) -> dict[str, Any]:
    """Measures, and the reasons for those that are missing."""
    return {"measures": found.measures, "left_out": found.left_out}


def portable(item: Run) -> dict[str, Any]:
    """The run's complete configuration, without folders of this machine."""
    config: dict[str, Any] = Config.model_validate(item.config).model_dump(mode="json")
    config["data"]["tables"] = [Path(table).name for table in config["data"]["tables"]]
    return config


def write(item: Run, record: dict[str, Any]) -> None:
    """Write the record."""
    with atomic_write(RESULTS / f"{item.key}.json") as temporary:
        temporary.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")


def revision() -> str:
    """The commit that was measured; `+` where files differed from it."""
    git = ["git", f"--git-dir={ROOT / '.git'}", f"--work-tree={ROOT}"]  # also where another user owns it
    command = [*git, "describe", "--always", "--dirty=+", "--exclude=*"]
    described = subprocess.run(command, capture_output=True, text=True)
    return described.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(command_line.main(run))
