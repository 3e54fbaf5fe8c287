"""Charts of a study: every line, mark and bar can be seen on white."""

from collections.abc import Iterator
from datetime import datetime, timedelta

import numpy as np
import plotly.graph_objects as go
import pytest
from matplotlib.colors import to_rgba
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from tests.fixtures.contrast import contrast
from tune.objectives import SPECIFIED
from tune.report.charts import Timeline, hypervolume_chart, importance_chart, parallel_chart, pareto_chart

BEGAN = datetime(2026, 1, 1)


def trial(number: int) -> FrozenTrial:
    made = create_trial(
        state=TrialState.COMPLETE,
        values=[0.9 - 0.05 * number, 0.1 * number],
        params={"model.width": 0.1 * number},
        distributions={"model.width": FloatDistribution(0, 1)},
    )
    made.number, made.datetime_complete = number, BEGAN + timedelta(minutes=number + 1)
    return made


@pytest.fixture
def timeline() -> Timeline:
    return Timeline.of([trial(number) for number in range(8)], BEGAN, SPECIFIED)


def css(color: str) -> tuple[float, ...]:
    """A colour of Plotly, as RGBA from 0 to 1."""
    if color.startswith("rgb"):
        parts = [float(part) for part in color.partition("(")[2].rstrip(")").split(",")]
        return (*(part / 255 for part in parts[:3]), *(parts[3:] or [1.0]))
    return tuple(to_rgba(color))


def drawn_colors(figure: go.Figure) -> Iterator[str]:
    for trace in figure.data:
        for part in (getattr(trace, "line", None), getattr(trace, "marker", None)):
            if part is None:
                continue
            if isinstance(part.color, str):
                yield part.color
            elif part.color is not None:
                yield from (color for _, color in part.colorscale)


def test_everything_drawn_can_be_seen(timeline: Timeline) -> None:
    charts = [
        pareto_chart(timeline),
        hypervolume_chart(timeline),
        importance_chart({"reconstruction_nmse": {"a": 0.5}, "disentanglement": {"a": 0.4}}),
        parallel_chart(timeline, ["model.width"]),
    ]
    for chart in charts:
        colors = set(drawn_colors(chart))
        assert colors
        for color in colors:
            assert contrast(css(color)) >= 3, color


def test_the_fronts_of_four_moments_differ_by_their_dashes(timeline: Timeline) -> None:
    fronts = [trace for trace in pareto_chart(timeline).data if trace.name.startswith("front after")]
    assert [trace.name for trace in fronts] == [f"front after {count} complete" for count in (2, 4, 6, 8)]
    assert len({trace.line.dash for trace in fronts}) == 4
    assert fronts[-1].line.dash == "solid"
    assert np.array_equal(fronts[-1].x, sorted(fronts[-1].x))
