"""Draws the picture of docs/objectives.md: a study's front, and what models along it do with a waveform.

python -m benchmarks.front_figure results/quickstart
"""

import sys
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pydantic_settings import CliPositionalArg
from rich.console import Console

from benchmarks.science import ROOT
from hcvae import command_line, plots
from hcvae.bundle import Bundle
from hcvae.data.simulator import simulate
from hcvae.data.table import signals_of
from hcvae.generation import encode_recording, swap, vary
from tune.pareto import OBJECTIVES
from tune.results import SearchResult

PICTURE = ROOT / "docs" / "figures" / "front.png"
ROWS, SEED = 200, 1000
"""Simulated for the picture: no model of the study has seen them."""


class FrontFigure(command_line.Command):
    """Draw the picture of docs/objectives.md from a study of simulated waveforms.

    examples:
      python -m benchmarks.front_figure results/quickstart
    """

    study: CliPositionalArg[str]
    """Folder of the study."""


def run(arguments: Sequence[str]) -> int:
    """Draw."""
    command = command_line.parse(FrontFigure, arguments)
    result = SearchResult.open(command.study)
    chosen = {
        "lowest error": result.best(OBJECTIVES[0]),
        "knee": result.knee(),
        "best disentanglement": result.best(OBJECTIVES[1]),
    }
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes = figure.subplot_mosaic([["front"] * 3, list(chosen)])
    front(axes["front"], result, {trial.number: name for name, trial in chosen.items()})
    table = simulate(ROWS, SEED)
    first, second = loud_pair(table)
    for name, trial in chosen.items():
        model(axes[name], result.load(trial), table.slice(first, 1), table.slice(second, 1))
        axes[name].set_title(f"{name}: trial {trial.number}", fontsize=9)
    axes["lowest error"].set_ylabel("uV")
    axes["lowest error"].legend(fontsize=7)
    PICTURE.parent.mkdir(exist_ok=True)
    plots.save_figure(figure, PICTURE, 100)
    Console().print(f"drawn into {PICTURE.relative_to(ROOT)}")
    return 0


def front(axis: Axes, result: SearchResult, names: dict[int, str]) -> None:
    """All complete trials, the front among them, the chosen ones named."""
    points = np.array([trial.point for trial in result.trials if trial.point])
    best = np.array([trial.point for trial in result.pareto])
    axis.plot(*points.T, "o", color="#BBBBBB", label="dominated: another trial is better in both")
    axis.step(*best.T, "o-", where="post", color=plots.MODEL, label="Pareto front")
    for trial, point in zip(result.pareto, best, strict=True):
        if trial.number in names:
            axis.annotate(names[trial.number], point, xytext=(8, -12), textcoords="offset points", fontsize=9)
    axis.set(xlabel="reconstruction_nmse (lower is better)", ylabel="disentanglement\n(higher is better)")
    axis.legend(fontsize=8, loc="lower right")


def loud_pair(table: pa.Table) -> tuple[int, int]:
    """Two rows of the loudest levels: those whose means in uV differ most."""
    levels, means_uv = np.array(table["stimulus_level_db"]), signals_of(table).mean(axis=1)
    loud = np.flatnonzero(levels >= np.sort(levels)[-len(levels) // 5])
    return int(loud[means_uv[loud].argmax()]), int(loud[means_uv[loud].argmin()])


def model(axis: Axes, bundle: Bundle, first: pa.Table, second: pa.Table) -> None:
    """A recording, its reconstruction, and the same z_local with another recording's z_global."""
    one, other = encode_recording(bundle, first), encode_recording(bundle, second)
    times_ms = np.arange(bundle.preprocessing.signal_length) * 1e3 / bundle.preprocessing.sampling_rate_hz
    exchanged = swap(bundle, global_of=other, local_of=one, condition=one.condition)
    axis.plot(times_ms, signals_of(first)[0], color=plots.RECORDED, linewidth=0.8, label="recording")
    axis.plot(times_ms, signals_of(vary(bundle, one, "both", 1))[0], color=plots.MODEL, label="reconstruction")
    axis.plot(times_ms, signals_of(exchanged)[0], color=plots.MARKED, label="another's z_global")
    axis.set_xlabel("ms")


if __name__ == "__main__":
    sys.exit(command_line.main(run))
