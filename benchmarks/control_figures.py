"""Train a small model on human recordings and the simulator; draw the pictures and write the table of docs/control.md.

python -m benchmarks.control_figures     # minutes
"""

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from matplotlib.figure import Figure

from benchmarks.pages import DOCS, publish
from benchmarks.processor import machine
from hcvae import command_line, plots
from hcvae.bundle import Bundle, load
from hcvae.config import Config
from hcvae.data.dataset import prepare
from hcvae.data.simulator import simulate
from hcvae.data.table import write_table
from hcvae.generation import EncodedRecording, Family, encode_recording, families, interpolate, swap, vary
from hcvae.training import train_bundle

PICTURES = DOCS / "control"
HUMAN = "human_click_shipm.parquet"
DRAWN = 12
MEASURED = 500
STEPS = 9
DPI = 100
LEVELS_DB = (20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0)


class ControlFigures(command_line.Command):
    """Train, draw the pictures of docs/control.md, and write its table.

    examples:
      python -m benchmarks.control_figures
    """

    recordings: str = "../shared/data"
    """Folder of the real recordings; the environment variable HCVAE_REAL_DATA overrides it."""
    rows: int = 3000
    """Simulated waveforms beside the recordings."""
    epochs: int = 60
    """Epochs of the training."""
    threads: int = 1
    """Threads."""


def run(arguments: Sequence[str]) -> int:
    """Train, draw and write."""
    command = command_line.parse(ControlFigures, arguments)
    torch.set_num_threads(command.threads)
    human = Path(os.environ.get("HCVAE_REAL_DATA", command.recordings)) / HUMAN
    with tempfile.TemporaryDirectory() as folder:
        write_table(simulate(command.rows, 0), Path(folder) / "simulated.parquet")
        config = configuration([Path(folder) / "simulated.parquet", human], command.epochs)
        data = prepare(config)
        started = time.perf_counter()
        train_bundle(config, data, Path(folder) / "training")
        seconds = time.perf_counter() - started
        bundle = load(Path(folder) / "training" / "bundle")
    table = pq.read_table(human)
    held_out = [int(row) - command.rows for row in data.split.test if row >= command.rows]
    rows = loudest(table, held_out)
    found = [encode_recording(bundle, table.slice(row, 1)) for row in rows]
    PICTURES.mkdir(exist_ok=True)
    for name, figure in pictures(bundle, found):
        plots.save_figure(figure, PICTURES / f"{name}.png", DPI)
    lines = report(bundle, found[0], table, rows, seconds, command)
    publish("control.md", "control", lines)
    return 0


def configuration(tables: Sequence[Path], epochs: int) -> Config:
    """Return the configuration: width 0.25 and a KL weight that prevents copying of noise, see docs/own-data.md."""
    return Config.model_validate(
        {
            "model": {"width": 0.25, "global_latent_dim": 8, "local_latent_dim": 16},
            "data": {
                "tables": list(map(str, tables)),
                "static": ["stimulus_level_db", "n_averages"],
                "average_columns": ["subject_id", "stimulus_level_db"],
                "split": {"unit": "recording"},
            },
            "training": {
                "epochs": epochs,
                "batch_size": 64,
                "precision": "fp32",
                "loss_weights": {"global_kl": 0.02, "local_kl": 0.02},
            },
        }
    )


def loudest(table: pa.Table, rows: Sequence[int]) -> list[int]:
    """Return the loudest row of each subject, with the most averages; the subject with the louder row first."""
    described = table.select(["subject_id", "stimulus_level_db", "n_averages"]).to_pylist()
    ordered = sorted(rows, key=lambda row: (-described[row]["stimulus_level_db"], -described[row]["n_averages"], row))
    first: dict[str, int] = {}
    for row in ordered:
        first.setdefault(described[row]["subject_id"], row)
    return list(first.values())


def pictures(bundle: Bundle, recordings: Sequence[EncodedRecording]) -> Sequence[tuple[str, Figure]]:
    """Return the pictures with their names."""
    first, second = recordings[:2]
    times_ms = np.arange(bundle.preprocessing.signal_length) * 1e3 / bundle.preprocessing.sampling_rate_hz
    titles = ("--fix global: z_local drawn", "--fix local: z_global drawn")
    like = [family(vary(bundle, first, fix, DRAWN)) for fix in ("global", "local")]
    levels = family(vary(bundle, first, "both", 1, conditions=[{"stimulus_level_db": x} for x in LEVELS_DB]))
    way = family(interpolate(bundle, first, second, STEPS))
    exchanged = [
        family(swap(bundle, g, local, condition=first.condition)) for g in recordings[:2] for local in recordings[:2]
    ]
    return [
        (
            "like",
            plots.generated(
                [
                    plots.Panel(title, part.signals_uv, part.latency_ms, recorded={"recording": first.signal_uv})
                    for title, part in zip(titles, like, strict=True)
                ],
                times_ms,
                "Like a human recording",
            ),
        ),
        ("levels", plots.level_series(levels.signals_uv, np.array(LEVELS_DB), times_ms, levels.latency_ms)),
        ("interpolation", plots.interpolation(way.signals_uv, times_ms, way.latency_ms)),
        (
            "swap",
            plots.swap_grid(
                np.reshape([part.signals_uv[0] for part in exchanged], (2, 2, -1)),
                times_ms,
                np.reshape([part.latency_ms[0] for part in exchanged], (2, 2, -1)),
            ),
        ),
    ]


def family(table: pa.Table) -> Family:
    """Return all rows of a table as one family."""
    found = list(families(table))
    return Family(
        {}, np.concatenate([one.signals_uv for one in found]), np.concatenate([one.latency_ms for one in found])
    )


def report(
    bundle: Bundle,
    first: EncodedRecording,
    table: pa.Table,
    rows: Sequence[int],
    seconds: float,
    command: ControlFigures,
) -> list[str]:
    """Return as Markdown what varies while one latent is fixed, and how it was measured."""
    lines = [
        "| kept | offset: SD of the mean, uV | gain: SD of peak to peak, uV | SD of wave V's latency, ms |",
        "| --- | --- | --- | --- |",
    ]
    for fix in ("global", "local"):
        drawn = family(vary(bundle, first, fix, MEASURED))
        mean_uv = drawn.signals_uv.mean(axis=1)
        peak_to_peak_uv = np.ptp(drawn.signals_uv, axis=1)
        lines.append(
            f"| z_{fix} | {mean_uv.std():.3f} | {peak_to_peak_uv.std():.3f} | {drawn.latency_ms[:, 2].std():.3f} |"
        )
    named = [f"row {row} (subject {table['subject_id'][row]}, {table['stimulus_level_db'][row]} dB)" for row in rows]
    test = bundle.metrics["test"]
    lines += [
        "",
        f"{MEASURED} waveforms each, like {named[0]} of `{HUMAN}`; the second recording of the pictures is {named[1]}. "
        f"Both are of the test part. One training on {command.rows:,} simulated waveforms and the {table.num_rows} "
        f"human ones, width 0.25, {len(bundle.history)} epochs, {seconds / 60:.0f} minutes with {command.threads} "
        f"thread(s) of {machine()}; test part: NMSE {test['reconstruction_nmse']:.3f}, disentanglement "
        f"{test['disentanglement']:.3f}. `python -m benchmarks.control_figures`",
    ]
    return lines


if __name__ == "__main__":
    sys.exit(command_line.main(run))
