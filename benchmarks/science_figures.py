"""Draw the pictures of docs/science.md: the recommended model's swaps and traversals, and a search's front.

python -m benchmarks.science_figures     # five minutes: it trains the model of the table's first row
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from rich.console import Console

from benchmarks.page_figures import DOMINATED, DPI, PICTURES
from benchmarks.science_runs import QUARTER, RECOMMENDED, merged, points_of, searched
from hcvae import command_line, plots
from hcvae.bundle import load
from hcvae.config import Config
from hcvae.data.dataset import prepare
from hcvae.evaluation import own_rows
from hcvae.evaluation.figures import Illustrator
from hcvae.figure_parts import MODEL
from hcvae.terminal import print_line
from hcvae.training import train_bundle
from tune.objectives import SPECIFIED
from tune.study.pareto import pareto_front

DRAWN = ("swap_grid", "fixed_global", "fixed_local", "level_series")


class ScienceFigures(command_line.Command):
    """Train the recommended model at width 0.25, draw its output for held-out subjects, and draw a search's front.

    examples:
      python -m benchmarks.science_figures
    """

    threads: int = 1
    """Threads of the training."""


def run(arguments: Sequence[str]) -> int:
    """Draw the pictures."""
    torch.set_num_threads(command_line.parse(ScienceFigures, arguments).threads)
    config = Config.model_validate(merged(QUARTER, RECOMMENDED))
    with tempfile.TemporaryDirectory() as folder:
        train_bundle(config, prepare(config), Path(folder))
        bundle = load(Path(folder) / "bundle")
    for name, figure in Illustrator(bundle, own_rows(bundle, "test")).figures():
        if name in DRAWN:
            plots.save_figure(figure, PICTURES / f"science-{name.replace('_', '-')}.png", DPI)
    plots.save_figure(front_of_search(), PICTURES / "science-front.png", DPI)
    print_line(Console(), f"drawn into {PICTURES}")
    return 0


def front_of_search() -> Figure:
    """Plot both objectives of every complete trial of the search at width 0.25, the defaults, and the front."""
    points = points_of(searched())
    front = np.array([points[number] for number in pareto_front(points, SPECIFIED)])
    figure = Figure(figsize=(6, 3.5), layout="constrained")
    axis = figure.subplots()
    axis.plot(*np.array(list(points.values())).T, "o", color=DOMINATED, markersize=4, label="complete trial")
    axis.step(*front.T, "o-", where="post", color=MODEL, markersize=4, label="Pareto front")
    axis.plot(*points[0], "D", color="black", markersize=6, label="the defaults")
    axis.set(xlabel=SPECIFIED[0].label, ylabel=SPECIFIED[1].label.replace(" (", "\n("))
    axis.legend(fontsize=8, loc="lower right")
    return figure


if __name__ == "__main__":
    sys.exit(command_line.main(run))
