"""Tables and figure of docs/early-stopping.md."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from benchmarks.early_stopping_replay import WORKERS, Arm, Curve, Replay
from benchmarks.pages import replace_table, spread
from hcvae.config import Section
from tune.early_stopping.moasha import MOASHA
from tune.objectives import SPECIFIED, names_of
from tune.study.pareto import hypervolume

Found = Mapping[Arm, Sequence[Replay]]
SHARE = 0.95
"""Share of the hypervolume of all recorded configurations; the time to reach it is one measure."""


class Live(Section):
    """The result of one real search."""

    arm: str
    seconds: float
    hypervolume: float
    complete: int
    pruned: int
    machine: str
    base: str
    """The base configuration."""


def write_report(
    docs: Path,
    curves: Sequence[Curve],
    rule: MOASHA,
    horizon: float,
    found: Found,
    by_first_rung: Mapping[int, Found],
    lives: Sequence[Live],
) -> None:
    """Replace the tables of `docs`/early-stopping.md, and plot the figure beside it."""
    page = docs / "early-stopping.md"
    text = page.read_text()
    text = replace_table(text, "setting", setting(curves, rule, horizon))
    text = replace_table(text, "replays", table(curves, horizon, found))
    text = replace_table(text, "verdict", verdict(horizon, found))
    text = replace_table(text, "ranks", ranks(curves, rule))
    text = replace_table(text, "first rungs", first_rungs(horizon, by_first_rung))
    text = replace_table(text, "live", live_table(lives))
    text = replace_table(text, "figure", "![Hypervolume over simulated time](figures/early-stopping.svg)")
    page.write_text(text)
    (docs / "figures").mkdir(exist_ok=True)
    plot_results(docs / "figures" / "early-stopping.svg", horizon, found)


def setting(curves: Sequence[Curve], rule: MOASHA, horizon: float) -> str:
    """Return a sentence about what was recorded and replayed."""
    epochs = len(curves[0].points)
    cost = spread([sum(curve.seconds) for curve in curves])
    rungs = ", ".join(map(str, rule.rungs))
    return (
        f"{len(curves)} configurations of {epochs} epochs ({cost} s each) were recorded; {WORKERS} workers search "
        f"among them for {horizon:.0f} simulated seconds. MO-ASHA: eta {rule.eta}, rungs at epoch {rungs}."
    )


def table(curves: Sequence[Curve], horizon: float, found: Found) -> str:
    """Return a table with a row per arm: means and standard deviations over the seeds."""
    best = hypervolume({curve.index: curve.value for curve in curves}, SPECIFIED)
    lines = [
        f"| search | hypervolume at {horizon / 4:.0f} s | at {horizon / 2:.0f} s | at {horizon:.0f} s "
        f"| s to {SHARE:.0%} of {best:.3f} | complete | pruned |",
        "| --- |" + " --- |" * 6,
    ]
    for arm, runs in found.items():
        cells = [arm.name]
        for share in (0.25, 0.5, 1):
            cells.append(spread([run.at(horizon * share) for run in runs]))
        reached = [time for time in (run.reaches(SHARE * best) for run in runs) if math.isfinite(time)]
        cells.append(f"{spread(reached)} ({len(reached)} of {len(runs)})")
        cells.append(spread([run.complete for run in runs]))
        cells.append(spread([run.pruned for run in runs]))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def verdict(horizon: float, found: Found) -> str:
    """Return what early stopping changed for each sampler, seed by seed."""
    lines = []
    for stopping in (arm for arm in found if arm.stops):
        [plain] = [arm for arm in found if arm.sampler == stopping.sampler and not arm.stops]
        pairs = list(zip(found[stopping], found[plain], strict=True))
        for share in (0.25, 1):
            time = horizon * share
            gains = [stopped.at(time) - whole.at(time) for stopped, whole in pairs]
            deviation = f" ± {stdev(gains):.4f}" if len(gains) > 1 else ""
            lines.append(
                f"- {stopping.name} against {plain.name} at {time:.0f} s: hypervolume {mean(gains):+.4f}{deviation}, "
                f"larger with {sum(gain > 0 for gain in gains)} of {len(gains)} seeds."
            )
        times = [stopped.reaches(whole.at(horizon)) for stopped, whole in pairs]
        reached = [time for time in times if math.isfinite(time)]
        whole_times = [whole.reaches(whole.at(horizon)) for _, whole in pairs]
        soon = f"after {spread(reached)} s " if reached else ""
        lines.append(
            f"- What {plain.name} had at {horizon:.0f} s, and had found after {spread(whole_times)} s, "
            f"{stopping.name} found {soon}with {len(reached)} of {len(pairs)} seeds."
        )
    return "\n".join(lines)


def ranks(curves: Sequence[Curve], rule: MOASHA) -> str:
    """Return Spearman's correlation of the ranks at an epoch and at the end, by epoch and objective."""
    epochs = len(curves[0].points)
    shown = sorted({*rule.rungs, *range(2, epochs + 1, max(1, epochs // 8))})
    ends = np.array([curve.value for curve in curves])
    lines = [f"| epoch | {' | '.join(names_of(SPECIFIED))} |", "| --- | --- | --- |"]
    for epoch in shown:
        there = np.array([curve.points[epoch - 1] for curve in curves])
        found = [float(spearmanr(there[:, axis], ends[:, axis]).statistic) for axis in (0, 1)]
        lines.append(f"| {epoch} | {' | '.join(f'{value:.2f}' for value in found)} |")
    return "\n".join(lines)


def first_rungs(horizon: float, by_first_rung: Mapping[int, Found]) -> str:
    """Return a table with a row per first rung: the hypervolume at the end and the number of trials."""
    names = [arm.name for arm in next(iter(by_first_rung.values()))]
    lines = [
        f"| first rung | {' | '.join(f'{name}: hypervolume at {horizon:.0f} s | trials' for name in names)} |",
        "| --- |" + " --- | --- |" * len(names),
    ]
    for first, found in by_first_rung.items():
        cells = []
        for runs in found.values():
            cells.append(spread([run.at(horizon) for run in runs]))
            cells.append(spread([run.complete + run.pruned for run in runs]))
        lines.append(f"| epoch {first} | {' | '.join(cells)} |")
    return "\n".join(lines)


def live_table(lives: Sequence[Live]) -> str:
    """Return a table with a row per real search."""
    if not lives:
        return "No live searches have been run."
    lines = ["| search | seconds | hypervolume | complete | pruned |", "| --- | --- | --- | --- | --- |"]
    lines += [
        f"| {one.arm} | {one.seconds:g} | {one.hypervolume:.4f} | {one.complete} | {one.pruned} |" for one in lives
    ]
    return "\n".join([*lines, "", *sorted({f"Measured on {one.machine}." for one in lives})])


def plot_results(path: Path, horizon: float, found: Found) -> None:
    """Plot the mean hypervolume over the simulated time; the band covers all seeds."""
    times = np.linspace(0, horizon, 200)
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for arm, runs in found.items():
        areas = np.array([[run.at(time) for time in times] for run in runs])
        [line] = axes.plot(times, areas.mean(axis=0), "-" if arm.stops else "--", label=arm.name)
        axes.fill_between(times, areas.min(axis=0), areas.max(axis=0), alpha=0.15, color=line.get_color())
    axes.set(xlabel=f"simulated time (s), {WORKERS} workers", ylabel="hypervolume", xlim=(0, horizon))
    axes.legend(loc="lower right")
    figure.savefig(path, metadata={"Date": None})
