"""How well is a subject reconstructed whom no training has seen? Writes its table into docs/science.md.

python -m benchmarks.new_subjects     # continues where it was interrupted; half an hour on 2 cores

Each human of the recordings is held out in turn; the models see the other one, the mouse, the simulator.
One human alone is no training set: coarse and fine cannot be separated if only noise differs.
"""

import os
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from pydantic import Field
from rich.console import Console
from rich.progress import Progress
from sklearn.decomposition import PCA

from benchmarks import records
from benchmarks.pages import publish, spread
from benchmarks.processor import processor
from benchmarks.records import RESULTS, Record
from benchmarks.science import as_json
from benchmarks.science_runs import RECORDED_TABLES, merged
from hcvae import command_line
from hcvae.bundle import Bundle, load
from hcvae.config import Config
from hcvae.data.dataset import next_in_cycle, prepare
from hcvae.data.simulator import simulate
from hcvae.data.split import row_codes
from hcvae.data.table import write_table
from hcvae.evaluation import evaluate_bundle, rows_of_tables
from hcvae.metrics.reconstruction import cross_average_nmse, nmse
from hcvae.training import preflight, train_bundle

NEW_SUBJECTS = RESULTS / "new-subjects.jsonl"
HUMAN, MOUSE = RECORDED_TABLES
SUBJECTS = ("H1", "H3")
MOUSE_SUBJECT = "M1"
SHOWN = {"cross_average_nmse": "NMSE, other average", "reconstruction_nmse": "NMSE"}
COLUMNS = [(subject, name) for subject in SUBJECTS for name in SHOWN]
RESPONSE = ["subject_id", "stimulus_level_db", "response"]
"""Columns that two averages of one response share. Recorded ones of one level are of one response; the two halves of a
recording may differ in the click's polarity."""
SIMULATED_ROWS = 10_000
ADDED_ROWS = 256
FEW_COMPONENTS = 2

BASE: dict[str, Any] = {
    "model": {"width": 0.25, "predict_peaks": False},
    "data": {
        "static": ["stimulus_level_db", "n_averages"],
        "average_columns": RESPONSE,
        "split": {"unit": "recording"},
    },
    "training": {"epochs": 40, "batch_size": 128, "precision": "fp32"},
}
OTHER: dict[str, Any] = {"training": {"target": "other_average"}}
LIKELIHOOD: dict[str, Any] = merged(
    OTHER, {"training": {"learned_scales": "reconstruction", "loss_weights": {"global_kl": 1.0, "local_kl": 1.0}}}
)
FINE: dict[str, Any] = {
    "training": {
        "epochs": 30,
        "batch_size": 64,
        "learning_rate": 3e-4,
        "phases": {"reconstruction": 0.0, "warmup": 0.0},
    }
}
OTHER_HUMAN = "other human"
SIMULATED = "simulated"


@dataclass(frozen=True)
class Way:
    """A way to train a model that reconstructs a subject it has not seen."""

    loss: Mapping[str, Any]
    pretrained: bool
    """Whether it starts from a training on the simulator."""
    then: tuple[str, ...] = ()
    """Tables of the training after that, or of the only training."""


LOSSES = {
    "": {},
    ", target another average": OTHER,
    ", target another average, Gaussian likelihood, beta 1": LIKELIHOOD,
}
WAYS = {
    "other human and mouse": Way({}, False, (OTHER_HUMAN, MOUSE)),
    "simulator, then other human and mouse": Way({}, True, (OTHER_HUMAN, MOUSE)),
    **{f"simulator{name}": Way(loss, True) for name, loss in LOSSES.items()},
    **{
        f"simulator, then other human with {ADDED_ROWS} simulated rows{name}": Way(loss, True, (OTHER_HUMAN, SIMULATED))
        for name, loss in LOSSES.items()
    },
}


class NewSubjects(command_line.Command):
    """Train on the simulator, on the other human, or on both, and evaluate on the human that was held out.

    examples:
      python -m benchmarks.new_subjects
      python -m benchmarks.new_subjects --seeds 1
    """

    recordings: str = "../shared/data"
    """Folder of the real recordings."""
    seeds: int = Field(5, ge=1)
    """Seeds of the trainings, from 0."""


def run(arguments: Sequence[str]) -> int:
    """Run the benchmark."""
    command = command_line.parse(NewSubjects, arguments)
    torch.set_num_threads(1)
    recordings = Path(os.environ.get("HCVAE_REAL_DATA", command.recordings))
    console = Console()
    done = records.read(NEW_SUBJECTS)
    runs = product(range(command.seeds), WAYS, SUBJECTS)
    todo = [one for one in runs if _key(*one) not in done]
    with tempfile.TemporaryDirectory() as scratch, Progress(console=console) as progress:
        bench = Bench(recordings, Path(scratch))
        task = progress.add_task("", total=len(todo))
        for seed, name, subject in todo:
            progress.update(task, description=f"{name}, {subject} held out, seed {seed}")
            key = _key(seed, name, subject)
            record: Record = {"key": key, "way": name, "subject": subject, "seed": seed}
            record |= bench.measure(WAYS[name], subject, seed)
            records.write(NEW_SUBJECTS, record)
            console.print(f"{key}: {record['measures']['cross_average_nmse']:.3f}", highlight=False)
            progress.advance(task)
        found = table(bench)
    publish("science.md", "new subjects", found)
    return 0


@dataclass(frozen=True)
class Bench:
    """The recordings, and a folder for derived files."""

    recordings: Path
    scratch: Path

    def measure(self, way: Way, subject: str, seed: int) -> Record:
        """Train one model and evaluate it on `subject`."""
        bundle = self.train(way, subject, seed)
        rows = rows_of_tables(bundle, [str(self.of_one(subject))])
        return as_json(evaluate_bundle(bundle, rows, lambda step: None)) | {"machine": processor()}

    def train(self, way: Way, subject: str, seed: int) -> Bundle:
        """Train the model of a way, without `subject`."""
        config = merged(merged(BASE, way.loss), {"training": {"seed": seed}})
        if way.pretrained:
            first = self.scratch / f"simulator-{list(WAYS.values()).index(Way(way.loss, True))}-{seed}"
            if not (first / "bundle").exists():
                _train(merged(config, {"data": {"tables": [str(self.simulated(SIMULATED_ROWS))]}}), first)
            if not way.then:
                return load(first / "bundle")
            config = merged(merged(config, FINE), {"training": {"start_from": str(first / "bundle")}})
        [other] = set(SUBJECTS) - {subject}
        places = {
            OTHER_HUMAN: self.of_one(other),
            SIMULATED: self.simulated(ADDED_ROWS),
            MOUSE: self.of_one(MOUSE_SUBJECT),
        }
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            _train(merged(config, {"data": {"tables": [str(places[table]) for table in way.then]}}), Path(folder))
            return load(Path(folder) / "bundle")

    def of_one(self, subject: str) -> Path:
        """Write the recordings of one human or of the mouse into a table; return its path."""
        path = self.scratch / f"{subject}.parquet"
        if not path.exists():
            table = pq.read_table(self.recordings / (MOUSE if subject == MOUSE_SUBJECT else HUMAN))
            table = table.filter(pc.equal(table["subject_id"], subject))
            write_table(table.append_column("response", pa.array(np.zeros(len(table), np.int32))), path)
        return path

    def simulated(self, rows: int) -> Path:
        """Write simulated rows into a table; return its path."""
        path = self.scratch / f"simulated-{rows}.parquet"
        if not path.exists():
            table = simulate(rows, 0)
            write_table(table.append_column("response", table["recording_index"]), path)
        return path

    def baselines(self, subject: str, components: int) -> dict[str, dict[str, float]]:
        """Return the errors of methods without training, from recordings of the other human or of `subject`."""
        [other] = set(SUBJECTS) - {subject}
        own, known = (pq.read_table(self.of_one(name)) for name in (subject, other))
        signals, of_other = (np.stack(table["signal"].to_numpy()) for table in (own, known))
        pair = next_in_cycle(row_codes(own, RESPONSE))
        targets = signals[pair]
        levels, known_levels = (row_codes(table, ["stimulus_level_db"]) for table in (own, known))
        if (pair < 0).any() or known_levels.max() != levels.max():
            raise ValueError("a level must have several averages, and both humans must have the same levels")
        predictions = {
            "no response at all": np.zeros_like(signals),
            "the input, unchanged": signals,
            **{
                f"PCA of the other human, {count} components": _from_components(of_other, signals, count)
                for count in (components, FEW_COMPONENTS)
            },
            "mean of the level, of the other human": _means(of_other, known_levels)[levels],
            "mean of the level, of the subject's own other averages": _means_of_others(signals, levels, targets),
        }
        return {
            name: {
                "cross_average_nmse": cross_average_nmse(predicted, targets),
                "reconstruction_nmse": nmse(predicted, signals),
            }
            for name, predicted in predictions.items()
        }


def trained_rows(recorded: Sequence[Record]) -> list[str]:
    """Return a row for each way of training: mean and standard deviation over the seeds, for each held-out human."""
    rows = []
    for way in WAYS:
        found = [record for record in recorded if record["way"] == way]
        seeds = len({record["seed"] for record in found})
        cells = []
        for subject, name in COLUMNS:
            cells.append(spread([record["measures"][name] for record in found if record["subject"] == subject]))
        rows.append(f"| {way} ({seeds}) | {' | '.join(cells)} |")
    return rows


def table(bench: Bench) -> list[str]:
    """Return the table: what was trained, and below it what needs no training."""
    recorded = [*records.read(NEW_SUBJECTS).values()]
    lines = [
        f"| trained on (seeds) | {' | '.join(f'{subject}: {SHOWN[name]}' for subject, name in COLUMNS)} |",
        f"| --- |{' --- |' * len(COLUMNS)}",
        *trained_rows(recorded),
    ]
    dims = Config.model_validate(BASE).model
    baselines = {
        subject: bench.baselines(subject, dims.global_latent_dim + dims.local_latent_dim) for subject in SUBJECTS
    }
    for name in baselines[SUBJECTS[0]]:
        cells = [f"{baselines[subject][name][measure]:.3f}" for subject, measure in COLUMNS]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    machines = sorted({record["machine"] for record in recorded})
    return [*lines, "", f"Measured on {'; '.join(machines)}."]


def _means(signals: NDArray[Any], codes: NDArray[np.int64]) -> NDArray[Any]:
    return np.stack([signals[codes == code].mean(axis=0) for code in range(codes.max() + 1)])


def _means_of_others(signals: NDArray[Any], levels: NDArray[np.int64], targets: NDArray[Any]) -> NDArray[Any]:
    """Return the mean of each row's level, without the average that it is compared with."""
    sums = _means(signals, levels) * np.bincount(levels)[:, None]
    counts = np.bincount(levels)
    return np.asarray((sums[levels] - targets) / (counts[levels, None] - 1))


def _from_components(of_other: NDArray[Any], signals: NDArray[Any], count: int) -> NDArray[Any]:
    pca = PCA(count).fit(of_other)
    return np.asarray(pca.inverse_transform(pca.transform(signals)))


def _train(config: Mapping[str, Any], folder: Path) -> None:
    parsed = Config.model_validate(config)
    data = prepare(parsed)
    preflight(parsed, data)
    train_bundle(parsed, data, folder)


def _key(seed: int, name: str, subject: str) -> str:
    words = re.sub(r"[\W_]", "-", name)
    return f"{words}--{subject}--{seed}"


if __name__ == "__main__":
    sys.exit(command_line.main(run))
