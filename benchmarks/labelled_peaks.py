"""Latency errors of the peak head on the one real file with labels of experts; writes its table into docs/science.md.

python -m benchmarks.labelled_peaks     # ten minutes on 2 cores

The models are trained on the simulator; nothing of the file is trained on.
"""

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from pydantic import Field
from rich.console import Console
from rich.progress import track

from benchmarks.pages import publish, spread
from benchmarks.processor import machine
from hcvae import command_line
from hcvae.bundle import Bundle, load
from hcvae.config import Config
from hcvae.data.dataset import prepare
from hcvae.evaluation import EvaluationRows, evaluate_bundle, own_rows, rows_of_tables
from hcvae.metrics.reconstruction import WAVES
from hcvae.training import train_bundle

LABELLED = "mouse_tone_epl_labelled.parquet"
CONFIG: dict[str, Any] = {
    "model": {"width": 0.25},
    "data": {"simulator": {"rows": 10_000}, "static": ["stimulus_level_db"]},
    "training": {"epochs": 40, "batch_size": 128, "precision": "fp32"},
}


class LabelledPeaks(command_line.Command):
    """Train on the simulator, and compare the peak head with the labels of simulated subjects and of a real ear.

    examples:
      python -m benchmarks.labelled_peaks
      python -m benchmarks.labelled_peaks --seeds 1
    """

    recordings: str = "../shared/data"
    """Folder of the real recordings."""
    seeds: int = Field(5, ge=1)
    """Seeds of the trainings, from 0."""


def run(arguments: Sequence[str]) -> int:
    """Run the benchmark."""
    command = command_line.parse(LabelledPeaks, arguments)
    torch.set_num_threads(1)
    labelled = Path(os.environ.get("HCVAE_REAL_DATA", command.recordings)) / LABELLED
    console = Console()
    found: dict[str, list[dict[str, float]]] = {"simulated subjects, held out": [], "the real ear": []}
    for seed in track(range(command.seeds), "training", console=console):
        for of_name, errors in zip(found.values(), measure(seed, labelled), strict=True):
            of_name.append(errors)
    lines = [f"| labels of | {' | '.join(f'wave {wave}' for wave in WAVES)} |", "| --- |" + " --- |" * len(WAVES)]
    for name, seeds in found.items():
        cells = []
        for wave in WAVES:
            cells.append(spread([errors[wave] for errors in seeds]))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    best = constant_errors(labelled)
    lines.append(f"| the real ear, its own median latency as prediction | {' | '.join(f'{e:.3g}' for e in best)} |")
    lines += ["", f"{command.seeds} seeds; {machine()}."]
    publish("science.md", "labelled peaks", lines)
    return 0


def measure(seed: int, labelled: Path) -> tuple[dict[str, float], dict[str, float]]:
    """Return mean absolute latency errors in ms of one model, by wave, on its test part and on the labelled file."""
    config = Config.model_validate(CONFIG | {"training": CONFIG["training"] | {"seed": seed}})
    with tempfile.TemporaryDirectory() as folder:
        train_bundle(config, prepare(config), Path(folder))
        bundle = load(Path(folder) / "bundle")
    return _errors(bundle, own_rows(bundle, "test")), _errors(bundle, rows_of_tables(bundle, [str(labelled)]))


def _errors(bundle: Bundle, rows: EvaluationRows) -> dict[str, float]:
    measures = evaluate_bundle(bundle, rows, lambda step: None).measures
    return {wave: measures[f"peak_latency_error_ms_{wave}"] for wave in WAVES}


def constant_errors(labelled: Path) -> list[float]:
    """Return the errors of the best constant for each wave, which ignores the waveform."""
    table = pq.read_table(labelled)
    latency, valid = (np.stack(table[name].to_numpy()) for name in ("peak_latency_ms", "peak_valid"))
    columns = [(latency[:, wave], valid[:, wave].astype(bool)) for wave in (0, 2, 4)]
    return [float(np.abs(values[known] - np.median(values[known])).mean()) for values, known in columns]


if __name__ == "__main__":
    sys.exit(command_line.main(run))
