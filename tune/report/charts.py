"""A study as interactive charts: the front over time, hypervolume, importances, parallel coordinates.

Plotly interprets some HTML in its labels, so all text from the study is escaped.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from itertools import combinations, cycle
from typing import Any

import numpy as np
import plotly.graph_objects as go
from optuna.distributions import CategoricalDistribution
from optuna.trial import FrozenTrial
from plotly.subplots import make_subplots

from tune.objectives import Objectives, Point, names_of, shown
from tune.study.pareto import compromise, hypervolume, pareto_front
from tune.study.trial_summary import TrialSummary

EARLY, LATE, CHOSEN, LINE, GRID = "#1F77C9", "#D4580C", "#C2397B", "#767676", "rgba(128, 128, 128, 0.25)"
"""All but the grid have a contrast of at least 3:1 both on the white and on the dark page of the report."""
COLORS = [(0.0, EARLY), (1.0, LATE)]
FRONTS = {0.25: "dot", 0.5: "dash", 0.75: "dashdot", 1.0: "solid"}
"""Line styles of the front after these shares of the complete trials had ended."""
CLEAR = "rgba(0, 0, 0, 0)"
"""Transparent: the page is white or dark, as the reader prefers."""
LONG = timedelta(hours=3)
PANEL_HEIGHT = 420
"""In pixels."""


@dataclass(frozen=True)
class Timeline:
    """The complete and feasible trials of a study, at least one, in the order of their ends."""

    trials: Sequence[FrozenTrial]
    started: datetime
    objectives: Objectives
    infeasible: Sequence[FrozenTrial] = ()
    """Complete trials that violate constraints."""
    confirmed: Sequence[TrialSummary] = ()
    """Trials whose configurations have been confirmed."""

    @classmethod
    def of(
        cls,
        complete: Sequence[FrozenTrial],
        started: datetime,
        objectives: Objectives,
        infeasible: Sequence[FrozenTrial] = (),
        confirmed: Sequence[TrialSummary] = (),
    ) -> "Timeline":
        """Order the `complete` trials of a study that `started` then."""
        return cls(sorted(complete, key=_end), started, objectives, infeasible, confirmed)

    @property
    def unit(self) -> str:
        """The unit of `times`."""
        return "hours" if _end(self.trials[-1]) - self.started > LONG else "minutes"

    @property
    def times(self) -> list[float]:
        """Times of the ends, since the start of the study."""
        one = timedelta(hours=1) if self.unit == "hours" else timedelta(minutes=1)
        return [(_end(trial) - self.started) / one for trial in self.trials]

    @property
    def means(self) -> dict[int, Point]:
        """Means of the confirmed trials that have a place on the front or below it, by number."""
        return {summary.number: summary.point for summary in self.confirmed if summary.point}

    @property
    def points(self) -> dict[int, Point]:
        """Objectives by number of the trial, each of its own training."""
        return {trial.number: tuple(trial.values) for trial in self.trials}

    def fronts(self) -> Iterator[dict[int, Point]]:
        """Yield the front after each trial."""
        front: dict[int, Point] = {}
        for number, point in self.points.items():
            known = front | {number: point}
            front = {member: known[member] for member in pareto_front(known, self.objectives)}
            yield front


def pareto_chart(timeline: Timeline) -> go.Figure:
    """Plot every trial in a panel for each pair of objectives, coloured by time, and mark the front.

    Trials that violate constraints are crosses. With two objectives the front is a line, at four times of the search.
    Confirmed trials have, besides the point of their own training, one of the means with bars of a standard deviation.
    """
    pairs = list(combinations(range(len(timeline.objectives)), 2))
    figure = make_subplots(rows=len(pairs), cols=1, vertical_spacing=0.35 / len(pairs))
    if len(pairs) == 1:
        _add_fronts(figure, timeline)
    for row, (x, y) in enumerate(pairs, 1):
        _add_infeasible(figure, timeline, row, x, y)
        _add_trials(figure, timeline, row, x, y)
        _add_means(figure, timeline, row, x, y)
        _add_choice(figure, timeline, row, x, y)
    figure.update_layout(legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"})
    _titled(figure, "", "").update_layout(height=PANEL_HEIGHT * len(pairs))
    for row, (x, y) in enumerate(pairs, 1):
        figure.update_xaxes(title=timeline.objectives[x].label, row=row, col=1)
        figure.update_yaxes(title=timeline.objectives[y].label, row=row, col=1)
    return figure


def _add_fronts(figure: go.Figure, timeline: Timeline) -> None:
    fronts = list(timeline.fronts())
    for count, dash in {max(1, round(share * len(fronts))): dash for share, dash in FRONTS.items()}.items():
        points = list(fronts[count - 1].values())
        figure.add_scatter(
            x=[point[0] for point in points],
            y=[point[1] for point in points],
            mode="lines",
            line={"shape": "hv", "color": LINE, "dash": dash, "width": 2},
            name=f"front after {count} complete",
            hoverinfo="skip",
        )


def _add_infeasible(figure: go.Figure, timeline: Timeline, row: int, x: int, y: int) -> None:
    trials = timeline.infeasible
    if not trials:
        return
    figure.add_scatter(
        x=[trial.values[x] for trial in trials],
        y=[trial.values[y] for trial in trials],
        mode="markers",
        marker={"symbol": "x-thin-open", "size": 9, "color": LINE},
        text=[_about(trial, timeline.objectives) for trial in trials],
        hovertemplate="%{text}<extra></extra>",
        name="infeasible",
        showlegend=row == 1,
        row=row,
        col=1,
    )


def _add_trials(figure: go.Figure, timeline: Timeline, row: int, x: int, y: int) -> None:
    """Add the trials to the panel of objectives `x` and `y`; the first panel has the entries of the legend."""
    points = timeline.points
    panel: dict[str, Any] = {"row": row, "col": 1, "showlegend": row == 1, "mode": "markers"}
    marker = {"color": timeline.times, "colorscale": COLORS, "size": 9}
    if row == 1:
        marker["colorbar"] = _colorbar(f"ended, {timeline.unit}")
    figure.add_scatter(
        x=[point[x] for point in points.values()],
        y=[point[y] for point in points.values()],
        marker=marker,
        text=[_about(trial, timeline.objectives) for trial in timeline.trials],
        hovertemplate="%{text}<extra></extra>",
        name="trials",
        **panel,
    )
    front = [points[number] for number in pareto_front(points, timeline.objectives)]
    if len(timeline.objectives) > 2:
        ring = {"symbol": "circle-open", "size": 14, "color": LINE, "line": {"width": 2}}
        figure.add_scatter(
            x=[point[x] for point in front],
            y=[point[y] for point in front],
            marker=ring,
            name="front",
            hoverinfo="skip",
            **panel,
        )


def _add_means(figure: go.Figure, timeline: Timeline, row: int, x: int, y: int) -> None:
    """Add the means of the confirmed trials, each with a line to the value by which the trial was chosen."""
    means = timeline.means
    shown_means = [summary for summary in timeline.confirmed if summary.number in means]
    if not shown_means:
        return
    lines: tuple[list[float | None], list[float | None]] = ([], [])
    for summary in shown_means:
        single = timeline.points.get(summary.number)
        if single is not None and summary.confirmed is not None and summary.confirmed.lost is not None:
            for axis, values in zip((x, y), lines, strict=True):
                values += [single[axis], means[summary.number][axis], None]
    panel: dict[str, Any] = {"row": row, "col": 1, "showlegend": row == 1}
    line = {"color": LINE, "width": 1, "dash": "dot"}
    figure.add_scatter(x=lines[0], y=lines[1], mode="lines", line=line, name="to the mean", hoverinfo="skip", **panel)
    bars = [summary.confirmed.sd if summary.confirmed else None for summary in shown_means]
    figure.add_scatter(
        x=[means[summary.number][x] for summary in shown_means],
        y=[means[summary.number][y] for summary in shown_means],
        error_x={"array": [sd[x] if sd else 0 for sd in bars], "thickness": 1},
        error_y={"array": [sd[y] if sd else 0 for sd in bars], "thickness": 1},
        mode="markers",
        marker={"symbol": "diamond", "size": 9, "color": CHOSEN},
        text=[f"trial {summary.number}, confirmed" for summary in shown_means],
        hovertemplate="%{text}: %{x:.4f}, %{y:.4f}<extra></extra>",
        name="confirmed: mean ± SD",
        **panel,
    )


def _add_choice(figure: go.Figure, timeline: Timeline, row: int, x: int, y: int) -> None:
    points = timeline.means or timeline.points
    chosen = compromise(points, timeline.objectives)
    if chosen:
        star = {"symbol": "star-open", "size": 18, "color": CHOSEN, "line": {"width": 2}}
        place = points[chosen.number]
        panel: dict[str, Any] = {"row": row, "col": 1, "showlegend": row == 1}
        figure.add_scatter(
            x=[place[x]], y=[place[y]], mode="markers", marker=star, name=chosen.rule, hoverinfo="skip", **panel
        )


def hypervolume_chart(timeline: Timeline) -> go.Figure:
    """Plot the hypervolume of the front against the time since the study started."""
    figure = go.Figure()
    figure.add_scatter(
        x=[0, *timeline.times],
        y=[0, *(hypervolume(front, timeline.objectives) for front in timeline.fronts())],
        line={"shape": "hv", "color": EARLY},
        text=["", *(f"trial {trial.number}" for trial in timeline.trials)],
        hovertemplate="%{y:.4f} after %{x:.1f} " + timeline.unit + " %{text}<extra></extra>",
    )
    return _titled(figure, f"{timeline.unit} since the study started", "hypervolume")


def importance_chart(importances: Mapping[str, Mapping[str, float]]) -> go.Figure:
    """Plot the importances of the parameters, by objective."""
    figure = go.Figure()
    for (objective, shares), color in zip(importances.items(), cycle((EARLY, LATE, CHOSEN, LINE)), strict=False):
        labels = [escape(name) for name in shares]
        figure.add_bar(y=labels, x=list(shares.values()), orientation="h", name=objective, marker_color=color)
    figure.update_yaxes(autorange="reversed", automargin=True)
    figure.update_layout(legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"})
    return _titled(figure, "importance", "")


def parallel_chart(timeline: Timeline, names: Sequence[str]) -> go.Figure:
    """Plot every complete trial as a line through the objectives and the parameters `names`, which all trials have."""
    values = np.array(list(timeline.points.values()))
    names_of_values = names_of(timeline.objectives)
    objectives = [{"label": name, "values": column} for name, column in zip(names_of_values, values.T, strict=True)]
    line = {"color": values[:, 1], "colorscale": COLORS, "colorbar": _colorbar(names_of_values[1])}
    dimensions = [*(_dimension(timeline.trials, name) for name in names), *objectives]
    figure = go.Figure(go.Parcoords(dimensions=dimensions, line=line, labelangle=-15, labelside="bottom"))
    return figure.update_layout(margin={"b": 80, "l": 90, "t": 30}, height=PANEL_HEIGHT, paper_bgcolor=CLEAR)


def _dimension(trials: Sequence[FrozenTrial], name: str) -> dict[str, Any]:
    """Return an axis of the parallel coordinates."""
    distributions = [trial.distributions[name] for trial in trials]  # one for each case of a conditional parameter
    found = [trial.params[name] for trial in trials]
    axis: dict[str, Any] = {"label": escape(name)}
    if any(isinstance(distribution, CategoricalDistribution) for distribution in distributions):
        choices: dict[Any, None] = {}
        for distribution, value in zip(distributions, found, strict=True):
            choices |= dict.fromkeys(getattr(distribution, "choices", (value,)))
        codes = [list(choices).index(value) for value in found]
        texts = [escape(str(choice)) for choice in choices]
        places = np.arange(len(texts))
        return axis | {"values": codes, "tickvals": places, "ticktext": texts, "range": [-0.5, len(texts) - 0.5]}
    if all(getattr(distribution, "log", False) for distribution in distributions):
        logs = np.log10(np.array(found, np.float64))
        places = np.linspace(logs.min(), logs.max(), 5)
        return axis | {"values": logs, "tickvals": places, "ticktext": [f"{value:.2g}" for value in 10.0**places]}
    return axis | {"values": found}


def _about(trial: FrozenTrial, objectives: Objectives) -> str:
    values = (f"{name} {shown(value)}" for name, value in zip(names_of(objectives), trial.values, strict=True))
    params = (escape(f"{name} {_short(value)}") for name, value in trial.params.items())
    return "<br>".join([f"trial {trial.number}", *values, *params])


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _end(trial: FrozenTrial) -> datetime:
    assert trial.datetime_complete is not None, "a complete trial has ended"
    return trial.datetime_complete


def _titled(figure: go.Figure, x: str, y: str) -> go.Figure:
    figure.update_layout(template="none", margin={"t": 30, "l": 60, "r": 20, "b": 50}, height=PANEL_HEIGHT)
    figure.update_layout(paper_bgcolor=CLEAR, plot_bgcolor=CLEAR)
    axes = {"gridcolor": GRID, "zerolinecolor": GRID, "automargin": True}
    return figure.update_xaxes(title=x, **axes).update_yaxes(title=y, **axes)


def _colorbar(title: str) -> dict[str, Any]:
    return {"title": {"text": title, "side": "right"}, "thickness": 12}
