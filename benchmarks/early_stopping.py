"""Does early stopping find a better front in the same time? Record learning curves and replay searches on them.

python -m benchmarks.early_stopping --record --configurations 200   # continues where it ended
python -m benchmarks.early_stopping                                 # replays, writes docs/early-stopping.md
python -m benchmarks.early_stopping --live 600                      # also one real search per arm, 10 minutes each
"""

import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
import torch
from pydantic import Field, ValidationError
from rich.console import Console

from benchmarks.early_stopping_replay import ARMS, Curve, replays
from benchmarks.early_stopping_report import Live, write_report
from benchmarks.pages import ROOT
from benchmarks.processor import processor
from benchmarks.records import RESULTS
from hcvae import command_line
from hcvae.config import Config
from hcvae.data.dataset import prepare
from hcvae.errors import UserError
from hcvae.training import TrainingDiverged, fit
from tests.fixtures.studies import SIX_PARAMETERS
from tune.config import EarlyStopping, SearchConfig
from tune.early_stopping.moasha import MOASHA
from tune.objectives import SPECIFIED
from tune.space.entries import ParameterValue
from tune.space.search_space import apply, suggest

EARLY_STOPPING = RESULTS / "early-stopping"
CURVES = EARLY_STOPPING / "curves.jsonl"
LIVE = EARLY_STOPPING / "live.jsonl"
RECORDED_BASE = "base-"
"""Prefix of the name of a file that holds a base configuration."""
SEEDS = range(5)
FIRST_RUNGS = (2, 4, 6, 9)
BASE = SearchConfig.model_validate(
    {
        "model": {"width": 0.1},
        "data": {"simulator": {"rows": 3000}},
        "training": {
            "epochs": 18,
            "batch_size": 128,
            "precision": "fp32",
            "early_stopping_patience": None,
            "checkpoint_every_epochs": 9999,
        },
        "search": {"space": SIX_PARAMETERS},
    }
)
"""What all configurations share."""


class EarlyStoppingBenchmark(command_line.Command):
    """Record learning curves of random configurations; replay searches with and without early stopping on them.

    examples:
      python -m benchmarks.early_stopping --record --configurations 200
      python -m benchmarks.early_stopping
      python -m benchmarks.early_stopping --live 600
    """

    record: bool = False
    """Record the curves that are not there yet, then replay."""
    configurations: int = Field(200, ge=2)
    """Recorded configurations."""
    eta: int = Field(3, ge=2)
    """MO-ASHA's reduction factor."""
    min_epochs: int | None = Field(None, ge=1)
    """MO-ASHA's first rung; by default where the last phase begins."""
    live: float | None = Field(None, gt=0)
    """Seconds of one real search for each arm, on all CPUs of this machine, besides the replays."""


def run(arguments: Sequence[str]) -> int:
    """Run the benchmark."""
    command = command_line.parse(EarlyStoppingBenchmark, arguments)
    console = Console()
    early = EarlyStopping(eta=command.eta, min_epochs=command.min_epochs)
    if command.record:
        record(command.configurations, console)
    if command.live is not None:
        search_live(early, command.live, console)
    curves = recorded()
    if len(curves) < 2:
        raise UserError(f"{CURVES.relative_to(ROOT)}: no curves of this configuration; record some with --record")
    stopping = [arm for arm in ARMS if arm.stops]
    # A quarter of the pool's time, so that searches that train to the end choose among many until the last.
    horizon = sum(sum(curve.seconds) for curve in curves) / 2 / 4
    found = dict(replays(curves, BASE, early, horizon, SEEDS))
    by_first_rung = {
        first: dict(replays(curves, BASE, EarlyStopping(eta=command.eta, min_epochs=first), horizon, SEEDS, stopping))
        for first in FIRST_RUNGS
    }
    lives = [Live.model_validate_json(line) for line in _lines(LIVE)]
    lives = [live for live in lives if live.base == fingerprint()]
    write_report(ROOT / "docs", curves, MOASHA(early, BASE.training, SPECIFIED), horizon, found, by_first_rung, lives)
    console.print("tables in docs/early-stopping.md, figure in docs/figures/early-stopping.svg")
    return 0


def record(configurations: int, console: Console) -> None:
    """Train what is not recorded yet, one configuration after another, each on one thread."""
    keep_base()
    torch.set_num_threads(1)
    done = {curve.index for curve in recorded()}
    data = prepare(BASE)
    for index, params in enumerate(draws(configurations)):
        if index in done:
            continue
        folder = Path(tempfile.mkdtemp(prefix="early-stopping-"))
        try:
            result = fit(apply(BASE, params), data, folder)
        except TrainingDiverged as error:
            console.print(f"configuration {index} left out: {error}")
            continue
        finally:
            shutil.rmtree(folder)
        curve = Curve(
            index=index,
            params=params,
            points=tuple((epoch["reconstruction_nmse"], epoch["disentanglement"]) for epoch in result.history),
            seconds=tuple(epoch["seconds"] for epoch in result.history),
            best_epoch=result.best_epoch,
            base=fingerprint(),
        )
        with CURVES.open("a") as file:
            file.write(curve.model_dump_json() + "\n")
        console.print(f"configuration {index}: {sum(curve.seconds):.1f} s, {curve.value[0]:.4f}, {curve.value[1]:.4f}")


def recorded() -> list[Curve]:
    """Return the curves of this base configuration, by index; a line that an interruption truncated is skipped."""
    curves = []
    for line in _lines(CURVES):
        try:
            curves.append(Curve.model_validate_json(line))
        except ValueError:
            continue
    return sorted((curve for curve in curves if curve.base == fingerprint()), key=lambda curve: curve.index)


def draws(n: int) -> list[dict[str, ParameterValue]]:
    """Return the first `n` random samples from the space; always the same ones."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [suggest(study.ask(), BASE) for _ in range(n)]


def fingerprint() -> str:
    """Return the name of the base configuration: that of an equal recorded one, if there is one.

    Options that were added after a configuration was recorded count as left at their defaults in it.
    """
    base = _base()
    for file in sorted(EARLY_STOPPING.glob(f"{RECORDED_BASE}*.json")):
        with suppress(ValidationError):  # recorded with an option that was removed
            if Config.model_validate_json(file.read_text()) == Config.model_validate(base):
                return file.stem.removeprefix(RECORDED_BASE)
    return hashlib.sha256(json.dumps(base, sort_keys=True).encode()).hexdigest()[:12]


def keep_base() -> None:
    """Record the base configuration beside its results."""
    EARLY_STOPPING.mkdir(parents=True, exist_ok=True)
    file = EARLY_STOPPING / f"{RECORDED_BASE}{fingerprint()}.json"
    if not file.exists():
        file.write_text(json.dumps(_base(), indent=1, sort_keys=True) + "\n")


def _base() -> dict[str, Any]:
    """Return the configuration without its licence, which changes no number."""
    return BASE.model_dump(mode="json", include=set(Config.model_fields), exclude={"data": {"licence"}})


def search_live(early: EarlyStopping, seconds: float, console: Console) -> None:
    """Run one real search per arm, each for `seconds`, and record a line of results for each."""
    from tune.search import run_search

    keep_base()
    for arm in ARMS:
        storage = tempfile.mkdtemp(prefix="early-stopping-")
        changes = {
            "study": "live",
            "storage": storage,
            "trials": 10**6,
            "sampler": arm.sampler,
            "search_seconds": seconds,
            "early_stopping": early if arm.stops else None,
        }
        try:
            result = run_search(BASE.model_copy(update={"search": BASE.search.model_copy(update=changes)}))
        finally:
            shutil.rmtree(storage)
        states = [trial.state for trial in result.trials]
        live = Live(
            arm=arm.name,
            seconds=seconds,
            hypervolume=result.hypervolume,
            complete=states.count("complete"),
            pruned=states.count("pruned"),
            machine=processor(),
            base=fingerprint(),
        )
        with LIVE.open("a") as file:
            file.write(live.model_dump_json() + "\n")
        console.print(f"{arm.name}: hypervolume {live.hypervolume:.4f} after {seconds:g} s")


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


if __name__ == "__main__":
    sys.exit(command_line.main(run))
