"""A study as interactive charts: the front over time, hypervolume, importances, parallel coordinates.

Plotly interprets some HTML in its labels, so all text from the study is escaped.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape
from itertools import combinations, cycle
from operator import attrgetter
from typing import Any

import numpy as np
import plotly.graph_objects as go
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import FrozenTrial
from plotly.subplots import make_subplots

from tune.objectives import Objectives, Point, names_of, shown
from tune.report.front_table import points_of
from tune.space.entries import short
from tune.study.pareto import compromise, hypervolume, pareto_front
from tune.study.trial_summary import TrialSummary

EARLY = "#1F77C9"
LATE = "#D4580C"
CHOSEN = "#C2397B"
LINE = "#767676"
GRID = "rgba(128, 128, 128, 0.25)"
"""All but the grid have a contrast of at least 3:1 both on the white and on the dark page of the report."""
COLORS = [(0.0, EARLY), (1.0, LATE)]
FRONTS = {0.25: "dot", 0.5: "dash", 0.75: "dashdot", 1.0: "solid"}
"""Line styles of the front after these shares of the complete trials had ended."""
CLEAR = "rgba(0, 0, 0, 0)"
"""Transparent: the page is white or dark, as the reader prefers."""
LONG = timedelta(hours=3)
UNITS = {"minutes": timedelta(minutes=1), "hours": timedelta(hours=1)}
PANEL_HEIGHT = 420
"""In pixels."""
Coordinates = Sequence[float | None]
"""A value for each objective; a line has a gap where all are None."""


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
        if _end(self.trials[-1]) - self.started > LONG:
            return "hours"
        return "minutes"

    @property
    def times(self) -> list[float]:
        """Times of the ends, since the start of the study."""
        one = UNITS[self.unit]
        return [(_end(trial) - self.started) / one for trial in self.trials]

    @property
    def means(self) -> dict[int, Point]:
        """Means of the confirmed trials that have a place on the front or below it, by number."""
        return points_of(self.confirmed)

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


@dataclass(frozen=True)
class _Panel:
    """The part of a chart for one pair of objectives."""

    figure: go.Figure
    row: int
    """From 1; the first panel has the entries of the legend."""
    x: int
    """Index of the objective on the horizontal axis."""
    y: int

    def add(self, points: Iterable[Coordinates], **trace: Any) -> None:
        """Add a trace of marks or a line at `points`."""
        points = list(points)
        x = _column(points, self.x)
        y = _column(points, self.y)
        self.figure.add_scatter(x=x, y=y, showlegend=self.row == 1, row=self.row, col=1, **trace)


def pareto_chart(timeline: Timeline) -> go.Figure:
    """Plot every trial in a panel for each pair of objectives, coloured by time, and mark the front.

    Trials that violate constraints are crosses. With two objectives the front is a line, at four times of the search.
    Confirmed trials have, besides the point of their own training, one of the means with bars of a standard deviation.
    """
    pairs = list(combinations(range(len(timeline.objectives)), 2))
    figure = make_subplots(rows=len(pairs), cols=1, vertical_spacing=0.35 / len(pairs))
    figure.update_layout(legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"})
    _titled(figure, "", "").update_layout(height=PANEL_HEIGHT * len(pairs))
    if len(pairs) == 1:
        _add_fronts(figure, timeline)
    for row, (x, y) in enumerate(pairs, 1):
        panel = _Panel(figure, row, x, y)
        _add_infeasible(panel, timeline)
        _add_trials(panel, timeline)
        _add_means(panel, timeline)
        _add_choice(panel, timeline)
        figure.update_xaxes(title=timeline.objectives[x].label, row=row, col=1)
        figure.update_yaxes(title=timeline.objectives[y].label, row=row, col=1)
    return figure


def _add_fronts(figure: go.Figure, timeline: Timeline) -> None:
    fronts = list(timeline.fronts())
    dashes = {}
    for share, dash in FRONTS.items():
        dashes[max(1, round(share * len(fronts)))] = dash
    for count, dash in dashes.items():
        points = list(fronts[count - 1].values())
        figure.add_scatter(
            x=_column(points, 0),
            y=_column(points, 1),
            mode="lines",
            line={"shape": "hv", "color": LINE, "dash": dash, "width": 2},
            name=f"front after {count} complete",
            hoverinfo="skip",
        )


def _add_infeasible(panel: _Panel, timeline: Timeline) -> None:
    if timeline.infeasible:
        panel.add(
            map(attrgetter("values"), timeline.infeasible),
            mode="markers",
            marker={"symbol": "x-thin-open", "size": 9, "color": LINE},
            text=_descriptions(timeline.infeasible, timeline.objectives),
            hovertemplate="%{text}<extra></extra>",
            name="infeasible",
        )


def _add_trials(panel: _Panel, timeline: Timeline) -> None:
    """Add the trials, and the front where it is no line."""
    points = timeline.points
    marker = {"color": timeline.times, "colorscale": COLORS, "size": 9}
    if panel.row == 1:
        marker["colorbar"] = _colorbar(f"ended, {timeline.unit}")
    panel.add(
        points.values(),
        mode="markers",
        marker=marker,
        text=_descriptions(timeline.trials, timeline.objectives),
        hovertemplate="%{text}<extra></extra>",
        name="trials",
    )
    if len(timeline.objectives) > 2:
        front = map(points.__getitem__, pareto_front(points, timeline.objectives))
        ring = {"symbol": "circle-open", "size": 14, "color": LINE, "line": {"width": 2}}
        panel.add(front, mode="markers", marker=ring, name="front", hoverinfo="skip")


def _add_means(panel: _Panel, timeline: Timeline) -> None:
    """Add the means of the confirmed trials, each with a line to the value by which the trial was chosen."""
    points = timeline.points
    means = timeline.means
    if not means:
        return
    nothing = (0,) * len(timeline.objectives)
    gap = (None,) * len(timeline.objectives)
    lines: list[Coordinates] = []
    deviations: list[Point] = []
    labels = []
    for summary in timeline.confirmed:
        if summary.number in means and summary.confirmed is not None:
            deviations.append(summary.confirmed.sd or nothing)
            labels.append(f"trial {summary.number}, confirmed")
            if summary.number in points and summary.confirmed.lost is not None:
                lines += [points[summary.number], means[summary.number], gap]
    line = {"color": LINE, "width": 1, "dash": "dot"}
    panel.add(lines, mode="lines", line=line, name="to the mean", hoverinfo="skip")
    panel.add(
        means.values(),
        error_x={"array": _column(deviations, panel.x), "thickness": 1},
        error_y={"array": _column(deviations, panel.y), "thickness": 1},
        mode="markers",
        marker={"symbol": "diamond", "size": 9, "color": CHOSEN},
        text=labels,
        hovertemplate="%{text}: %{x:.4f}, %{y:.4f}<extra></extra>",
        name="confirmed: mean ± SD",
    )


def _add_choice(panel: _Panel, timeline: Timeline) -> None:
    points = timeline.means or timeline.points
    chosen = compromise(points, timeline.objectives)
    if chosen:
        star = {"symbol": "star-open", "size": 18, "color": CHOSEN, "line": {"width": 2}}
        panel.add([points[chosen.number]], mode="markers", marker=star, name=chosen.rule, hoverinfo="skip")


def hypervolume_chart(timeline: Timeline) -> go.Figure:
    """Plot the hypervolume of the front against the time since the study started."""
    areas: list[float] = [0]
    labels = [""]
    for trial, front in zip(timeline.trials, timeline.fronts(), strict=True):
        areas.append(hypervolume(front, timeline.objectives))
        labels.append(f"trial {trial.number}")
    figure = go.Figure()
    figure.add_scatter(
        x=[0, *timeline.times],
        y=areas,
        line={"shape": "hv", "color": EARLY},
        text=labels,
        hovertemplate="%{y:.4f} after %{x:.1f} " + timeline.unit + " %{text}<extra></extra>",
    )
    return _titled(figure, f"{timeline.unit} since the study started", "hypervolume")


def importance_chart(importances: Mapping[str, Mapping[str, float]]) -> go.Figure:
    """Plot the importances of the parameters, by objective."""
    figure = go.Figure()
    for (objective, shares), color in zip(importances.items(), cycle((EARLY, LATE, CHOSEN, LINE)), strict=False):
        labels = list(map(escape, shares))
        figure.add_bar(y=labels, x=list(shares.values()), orientation="h", name=objective, marker_color=color)
    figure.update_yaxes(autorange="reversed", automargin=True)
    figure.update_layout(legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"})
    return _titled(figure, "importance", "")


def parallel_chart(timeline: Timeline, names: Sequence[str]) -> go.Figure:
    """Plot every complete trial as a line through the objectives and the parameters `names`, which all trials have."""
    values = np.array(list(timeline.points.values()))
    names_of_values = names_of(timeline.objectives)
    axes = [_parameter_axis(timeline.trials, name) for name in names]
    for name, column in zip(names_of_values, values.T, strict=True):
        axes.append({"label": name, "values": column})
    line = {"color": values[:, 1], "colorscale": COLORS, "colorbar": _colorbar(names_of_values[1])}
    figure = go.Figure(go.Parcoords(dimensions=axes, line=line, labelangle=-15, labelside="bottom"))
    return figure.update_layout(margin={"b": 80, "l": 90, "t": 30}, height=PANEL_HEIGHT, paper_bgcolor=CLEAR)


def _parameter_axis(trials: Sequence[FrozenTrial], name: str) -> dict[str, Any]:
    """Return the axis of a parameter in the parallel coordinates."""
    values = []
    distributions = []  # one for each case of a conditional parameter
    is_choice = False
    is_log = True
    for trial in trials:
        distribution = trial.distributions[name]
        values.append(trial.params[name])
        distributions.append(distribution)
        is_choice |= isinstance(distribution, CategoricalDistribution)
        is_log &= getattr(distribution, "log", False)
    axis: dict[str, Any] = {"values": values}
    if is_choice:
        axis = _choice_axis(values, distributions)
    elif is_log:
        axis = _log_axis(values)
    return {"label": escape(name)} | axis


def _choice_axis(values: Sequence[Any], distributions: Iterable[BaseDistribution]) -> dict[str, Any]:
    """Return an axis with a place for each choice; ranges in other cases of the parameter add the `values` in them."""
    choices: dict[Any, None] = {}
    for distribution, value in zip(distributions, values, strict=True):
        choices |= dict.fromkeys(getattr(distribution, "choices", (value,)))
    texts = [escape(str(choice)) for choice in choices]
    places = np.arange(len(texts))
    codes = list(map(list(choices).index, values))
    return {"values": codes, "tickvals": places, "ticktext": texts, "range": [-0.5, len(texts) - 0.5]}


def _log_axis(values: Sequence[float]) -> dict[str, Any]:
    """Return an axis of decimal logarithms, with labels of the values themselves."""
    logs = np.log10(np.array(values, np.float64))
    places = np.linspace(logs.min(), logs.max(), 5)
    return {"values": logs, "tickvals": places, "ticktext": list(map("{:.2g}".format, 10.0**places))}


def _column(points: Iterable[Coordinates], index: int) -> list[float | None]:
    return [point[index] for point in points]


def _descriptions(trials: Iterable[FrozenTrial], objectives: Objectives) -> list[str]:
    """Return the number, objectives and parameters of each trial, as Plotly's markup."""
    texts = []
    for trial in trials:
        lines = [f"trial {trial.number}"]
        for name, value in zip(names_of(objectives), trial.values, strict=True):
            lines.append(f"{name} {shown(value)}")
        for name, value in trial.params.items():
            lines.append(escape(f"{name} {short(value, 4)}"))
        texts.append("<br>".join(lines))
    return texts


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
