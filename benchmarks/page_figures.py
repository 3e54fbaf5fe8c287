"""Draw the pictures of docs/workstation.md, docs/objectives.md and docs/matlab-mne.md from a study.

python -m benchmarks.page_figures results/quickstart
"""

import sys
from collections.abc import Sequence

import mne
import numpy as np
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pydantic_settings import CliPositionalArg
from rich.console import Console

from benchmarks.pages import ROOT
from hcvae import command_line, plots
from hcvae.bundle import Bundle
from hcvae.data.export.evoked import to_evoked
from hcvae.data.simulator import simulate
from hcvae.data.table import signals_of
from hcvae.figure_parts import EXCHANGED, MODEL, RECORDED, TIME_LABEL
from hcvae.generation import encode_recording, generate, swap, vary
from tune.objectives import names_of
from tune.report.results import SearchResult
from tune.study.artifacts import history_of
from tune.study.folder import StudyFolder
from tune.study.trial_summary import TrialSummary

PICTURES = ROOT / "docs" / "figures"
DPI = 100
DOMINATED = "#808080"
"""Colour of trials that are not on the front."""
LEVELS_DB = (40.0, 60.0, 80.0)
ROWS = 200
"""Waveforms simulated for the picture; no model of the study has seen them."""
SEED = 1000


class PageFigures(command_line.Command):
    """Draw the pictures of three pages of the docs from a study of simulated waveforms.

    examples:
      python -m benchmarks.page_figures results/quickstart
    """

    study: CliPositionalArg[str]
    """Folder of the study."""


def run(arguments: Sequence[str]) -> int:
    """Draw the pictures."""
    command = command_line.parse(PageFigures, arguments)
    result = SearchResult.open(command.study)
    PICTURES.mkdir(exist_ok=True)
    plots.save_figure(progress(result), PICTURES / "progress.png", DPI)
    plots.save_figure(along_the_front(result), PICTURES / "front.png", DPI)
    [drawn] = evoked(result.load(result.compromise()))
    plots.save_figure(drawn, PICTURES / "evoked.png", DPI)
    Console().print(f"drawn into {PICTURES.relative_to(ROOT)}")
    return 0


def progress(result: SearchResult) -> Figure:
    """Plot both objectives after each epoch of each complete trial, those on the front in colour."""
    members = {trial.number for trial in result.pareto}
    figure = Figure(figsize=(9, 3), layout="constrained")
    axes = figure.subplots(1, 2)
    folder = StudyFolder(result.folder)
    study = folder.load()
    for trial in study.trials:
        if history := history_of(folder, study, trial):
            on_front = trial.number in members
            look = {"color": MODEL if on_front else DOMINATED, "zorder": 2 + on_front}
            for axis, name in zip(axes, names_of(result.objectives), strict=True):
                axis.plot([row["epoch"] for row in history], [row[name] for row in history], **look)
    for axis, objective in zip(axes, result.objectives, strict=True):
        axis.set(xlabel="epoch", ylabel=objective.label.replace(" (", "\n("))
    return figure


def along_the_front(result: SearchResult) -> Figure:
    """Plot the front, and what models along it do with a waveform."""
    error, score = names_of(result.objectives)
    named = {
        result.choice.rule: result.compromise(),
        "lowest error": result.best(error),
        "best disentanglement": result.best(score),
    }
    chosen: dict[str, TrialSummary] = {}
    for name, trial in named.items():
        if trial not in chosen.values():
            chosen[name] = trial
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    axes = figure.subplot_mosaic([["front"] * len(chosen), list(chosen)])
    front(axes["front"], result, {trial.number: name for name, trial in chosen.items()})
    table = simulate(ROWS, SEED)
    first, second = loud_pair(table)
    for name, trial in chosen.items():
        model(axes[name], result.load(trial), table.slice(first, 1), table.slice(second, 1))
        axes[name].set_title(f"{name}: trial {trial.number}", fontsize=9)
    axes[result.choice.rule].set_ylabel("uV")
    figure.legend(
        *axes[result.choice.rule].get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=8
    )
    return figure


def evoked(bundle: Bundle) -> list[Figure]:
    """Return MNE's figure of generated waveforms, as docs/matlab-mne.md makes it."""
    conditions = [{"stimulus_level_db": level} for level in LEVELS_DB]
    named = to_evoked(generate(bundle, conditions, n_samples=1))
    by_level = {f"{level:.0f} dB": one for level, one in zip(LEVELS_DB, named, strict=True)}
    return mne.viz.plot_compare_evokeds(by_level, picks="ABR", show_sensors=False, show=False)  # type: ignore[no-any-return]


def front(axis: Axes, result: SearchResult, names: dict[int, str]) -> None:
    """Plot all complete trials and the front, with the names of the chosen trials."""
    points = np.array([trial.point for trial in result.trials if trial.point])
    best = np.array([trial.point for trial in result.pareto])
    axis.plot(*points.T, "o", color=DOMINATED, label="dominated: another trial is better in both")
    axis.step(*best.T, "o-", where="post", color=MODEL, label="Pareto front")
    for trial, point in zip(result.pareto, best, strict=True):
        if trial.number in names:
            axis.annotate(names[trial.number], point, xytext=(8, 4), textcoords="offset points", fontsize=9)
    error, score = result.objectives
    axis.set(xlabel=error.label, ylabel=score.label.replace(" (", "\n("))
    axis.margins(y=0.2)
    axis.legend(fontsize=8, loc="lower right")


def loud_pair(table: pa.Table) -> tuple[int, int]:
    """Return two rows of the loudest levels: those whose means in uV differ most."""
    levels = np.array(table["stimulus_level_db"])
    means_uv = signals_of(table).mean(axis=1)
    loud = np.flatnonzero(levels >= np.sort(levels)[-len(levels) // 5])
    return int(loud[means_uv[loud].argmax()]), int(loud[means_uv[loud].argmin()])


def model(axis: Axes, bundle: Bundle, first: pa.Table, second: pa.Table) -> None:
    """Plot a recording, its reconstruction, and the same z_local with another recording's z_global."""
    one = encode_recording(bundle, first)
    other = encode_recording(bundle, second)
    times_ms = np.arange(bundle.preprocessing.signal_length) * 1e3 / bundle.preprocessing.sampling_rate_hz
    exchanged = swap(bundle, global_of=other, local_of=one, condition=one.condition)
    axis.plot(times_ms, signals_of(first)[0], color=RECORDED, linewidth=0.8, label="recording")
    axis.plot(times_ms, signals_of(vary(bundle, one, "both", 1))[0], color=MODEL, label="reconstruction")
    axis.plot(times_ms, signals_of(exchanged)[0], color=EXCHANGED, label="another's z_global")
    axis.set_xlabel(TIME_LABEL, fontsize=8)


if __name__ == "__main__":
    sys.exit(command_line.main(run))
