"""Tables and figure of docs/early-stopping.md."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from benchmarks.early_stopping_replay import WORKERS, Arm, Curve, Replay
from benchmarks.science_report import between, spread
from hcvae.config import Section
from tune.early_stopping.moasha import MOASHA
from tune.pareto import OBJECTIVES, hypervolume

Found = Mapping[Arm, Sequence[Replay]]
SHARE = 0.95
"""Of the hypervolume of all recorded configurations: how soon it is reached is one measure."""


class Live(Section):
    """What one real search came to."""

    arm: str
    seconds: float
    hypervolume: float
    complete: int
    pruned: int
    machine: str
    base: str
    """Which base configuration was trained."""


def write_report(
    docs: Path,
    curves: Sequence[Curve],
    rule: MOASHA,
    horizon: float,
    found: Found,
    by_first_rung: Mapping[int, Found],
    lives: Sequence[Live],
) -> None:
    """Put the tables between their markers in `docs`/early-stopping.md, and plot_results the figure beside it."""
    page = docs / "early-stopping.md"
    text = page.read_text()
    text = between(text, "setting", setting(curves, rule, horizon))
    text = between(text, "replays", table(curves, horizon, found))
    text = between(text, "verdict", verdict(horizon, found))
    text = between(text, "ranks", ranks(curves, rule))
    text = between(text, "first rungs", first_rungs(horizon, by_first_rung))
    text = between(text, "live", live_table(lives))
    text = between(text, "figure", "![Hypervolume over simulated time](figures/early-stopping.svg)")
    page.write_text(text)
    (docs / "figures").mkdir(exist_ok=True)
    plot_results(docs / "figures" / "early-stopping.svg", horizon, found)


def setting(curves: Sequence[Curve], rule: MOASHA, horizon: float) -> str:
    """What was recorded and replayed, in a sentence."""
    epochs = len(curves[0].points)
    cost = spread([sum(curve.seconds) for curve in curves])
    rungs = ", ".join(map(str, rule.rungs))
    return (
        f"{len(curves)} configurations of {epochs} epochs ({cost} s each) were recorded; {WORKERS} workers search "
        f"among them for {horizon:.0f} simulated seconds. MO-ASHA: eta {rule.eta}, rungs at epoch {rungs}."
    )


def table(curves: Sequence[Curve], horizon: float, found: Found) -> str:
    """A row an arm: means and standard deviations over the seeds."""
    best = hypervolume({curve.index: curve.value for curve in curves})
    lines = [
        f"| search | hypervolume at {horizon / 4:.0f} s | at {horizon / 2:.0f} s | at {horizon:.0f} s "
        f"| s to {SHARE:.0%} of {best:.3f} | complete | pruned |",
        "| --- |" + " --- |" * 6,
    ]
    for arm, runs in found.items():
        areas = [spread([run.at(horizon * share) for run in runs]) for share in (0.25, 0.5, 1)]
        reached = [time for run in runs if math.isfinite(time := run.reaches(SHARE * best))]
        soon = f"{spread(reached)} ({len(reached)} of {len(runs)})"
        counts = [spread([run.complete for run in runs]), spread([run.pruned for run in runs])]
        lines.append(f"| {arm.name} | {' | '.join([*areas, soon, *counts])} |")
    return "\n".join(lines)


def verdict(horizon: float, found: Found) -> str:
    """For each sampler: what stopping early changed, seed by seed."""
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
    """How well an epoch ranks the trials as their end does: Spearman's correlation, by epoch and objective."""
    epochs = len(curves[0].points)
    shown = sorted({*rule.rungs, *range(2, epochs + 1, max(1, epochs // 8))})
    ends = np.array([curve.value for curve in curves])
    lines = [f"| epoch | {' | '.join(OBJECTIVES)} |", "| --- | --- | --- |"]
    for epoch in shown:
        there = np.array([curve.points[epoch - 1] for curve in curves])
        found = [float(spearmanr(there[:, axis], ends[:, axis]).statistic) for axis in (0, 1)]
        lines.append(f"| {epoch} | {' | '.join(f'{value:.2f}' for value in found)} |")
    return "\n".join(lines)


def first_rungs(horizon: float, by_first_rung: Mapping[int, Found]) -> str:
    """A row a first rung: the hypervolume at the end, and how many trials were tried for it."""
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
    """A row a real search."""
    if not lives:
        return "No live searches have been run."
    lines = ["| search | seconds | hypervolume | complete | pruned |", "| --- | --- | --- | --- | --- |"]
    lines += [
        f"| {one.arm} | {one.seconds:g} | {one.hypervolume:.4f} | {one.complete} | {one.pruned} |" for one in lives
    ]
    return "\n".join([*lines, "", *sorted({f"Measured on {one.machine}." for one in lives})])


def plot_results(path: Path, horizon: float, found: Found) -> None:
    """Mean hypervolume over the simulated time; the band holds all seeds."""
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
