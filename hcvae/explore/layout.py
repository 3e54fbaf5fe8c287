"""The page: conditions and references on the left, the waveform in the middle, latents and swap on the right."""

from collections.abc import Sequence
from typing import Any

from dash import dcc, html
from dash.development.base_component import Component

from hcvae.data.preprocessing import Preprocessing
from hcvae.explore.controls import Control, controls_of
from hcvae.explore.explorer import Explorer
from hcvae.explore.settings import ALONE, Reference

FARTHEST = 3.0
"""Standard deviations that a slider of a latent goes to."""
PEAKS = ("waveform", "I ms", "I µV", "III ms", "III µV", "V ms", "V µV", "I-V ms")
GRAPH: Any = {
    "displaylogo": False,
    "responsive": True,
    "modeBarButtons": [["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]],  # none that uploads the figure
}
NULL = "unknown"


def layout(explorer: Explorer, title: str) -> html.Div:
    """The whole page as it starts: everything typical, nothing to compare with."""
    return html.Div(
        [
            html.H1(["Explore ", html.Em(title)]),
            html.Section([*_conditions(explorer.bundle.preprocessing), *_references(explorer)]),
            html.Main(_waveform()),
            html.Section([*_latents(explorer), *_swap()]),
            dcc.Store(id="references", data=[]),
            dcc.Download(id="download"),
        ],
        className="page",
    )


def condition_controls(preprocessing: Preprocessing, group: str) -> list[Component]:
    """The controls of a normalisation group's conditions, at their typical values."""
    return [_condition(control, number) for number, control in enumerate(controls_of(preprocessing, group))]


def slider_ids(explorer: Explorer) -> dict[str, list[str]]:
    """Names of the components of the conditions (`condition`, `unknown`) and of each latent block."""
    preprocessing = explorer.bundle.preprocessing
    conditions = range(len(controls_of(preprocessing, next(iter(preprocessing.typical)))))
    counts = {block: range(len(found.change_uv)) for block, found in explorer.directions.items()}
    counts |= {"condition": conditions, "unknown": conditions}
    return {kind: [f"{kind}-{number}" for number in numbers] for kind, numbers in counts.items()}


def peak_table(rows: Sequence[Sequence[str]]) -> html.Table:
    """The table of `figure.peak_rows`."""
    head = html.Thead(html.Tr([html.Th(name, scope="col") for name in PEAKS]))
    body = [html.Tr([html.Th(name, scope="row"), *map(html.Td, cells)]) for name, *cells in rows]
    return html.Table([head, html.Tbody(body)])


def reference_options(references: Sequence[Reference]) -> dict[str, list[Any]]:
    """What can be chosen: of what is drawn, and as A and B."""
    names = [reference.name for reference in references]
    latents = [{"label": "typical", "value": ALONE}, *names]
    return {"shown": names, "a": latents, "b": latents}


def _conditions(preprocessing: Preprocessing) -> list[Component]:
    groups, name = list(preprocessing.typical), preprocessing.signal.group_by
    choice = dcc.RadioItems(options=groups, value=groups[0], id="group", inline=True)
    return [
        html.H2("Condition"),
        _labelled(name or "group", choice, hidden=name is None),
        html.Div(condition_controls(preprocessing, groups[0]), id="conditions"),
        html.Button("Everything typical", id="reset"),
    ]


def _condition(control: Control, number: int) -> Component:
    name = f"condition-{number}"
    if control.choices:
        labels = [NULL if value is None else f"{value}" for value in control.choices]
        options = [{"label": label, "value": position} for position, label in enumerate(labels)]
        chosen = control.choices.index(control.value)
        choice = dcc.RadioItems(options=options, value=chosen, id=name, inline=True)
        return _labelled(control.label, choice, _null(number, False, hidden=True))
    low, high, start = control.slider
    slider = _slider(name, low, high, control.step, start)
    return _labelled(control.label, slider, _null(number, control.value is None, hidden=not control.has_nulls))


def _null(number: int, chosen: bool, *, hidden: bool) -> Component:
    value = [NULL] if chosen else []
    return dcc.Checklist(options=[NULL], value=value, id=f"unknown-{number}", className="hidden" if hidden else "")


def _waveform() -> list[Component]:
    buttons = [html.Button(kind, id=kind.lower()) for kind in ("Parquet", "CSV", "PNG", "SVG")]
    return [
        dcc.Graph(id="waveform", config=GRAPH, responsive=True),
        html.Div(id="peaks"),
        html.Div([html.Span("Save what is shown"), *buttons], className="line"),
        html.P(id="message", role="status"),
    ]


def _latents(explorer: Explorer) -> list[Component]:
    ids, parts = slider_ids(explorer), list[Component]()
    for block, directions in explorer.directions.items():
        parts.append(html.H2([f"{block.capitalize()} latent ", html.Small("standard deviations")]))
        for number, (name, change_uv) in enumerate(zip(ids[block], directions.change_uv, strict=True), start=1):
            slider = _slider(name, -FARTHEST, FARTHEST, 0.1, 0)
            parts.append(_labelled(f"{block} {number}", slider, note=f"{change_uv:.3f} µV per SD"))
    return parts


def _references(explorer: Explorer) -> list[Component]:
    row = dcc.Input(id="row", type="number", step=1, value=0)
    add = html.Button("Add recording", id="add")
    buttons = [html.Button("Freeze current", id="freeze"), html.Button("Clear", id="clear")]
    return [
        html.H2("References"),
        html.Div(buttons, className="line"),
        html.Div(
            [_labelled("Row of the table", row, note=f"0 to {explorer.rows - 1}"), html.P(id="recording"), add],
            className="" if explorer.rows else "hidden",
        ),
        _labelled("Shown", dcc.Checklist(id="shown", options=[], value=[])),
    ]


def _swap() -> list[Component]:
    latents = reference_options([])["a"]
    return [
        html.H2(["Swap ", html.Small("where the shifts start")]),
        _labelled("Global of A", dcc.RadioItems(latents, ALONE, id="a", inline=True)),
        _labelled("Local of B", dcc.RadioItems(latents, ALONE, id="b", inline=True)),
        html.Button("Exchange A and B", id="exchange"),
    ]


def _slider(name: str, minimum: float, maximum: float, step: float, value: Any) -> Component:
    return dcc.Slider(id=name, min=minimum, max=maximum, step=step, value=value, marks=None, updatemode="drag")


def _labelled(label: str, *parts: Component, note: str = "", hidden: bool = False) -> html.Div:
    """A control under its label, which the page's script also gives to what a keyboard reaches in it."""
    named: Any = {"data-label": label}
    return html.Div(
        [html.Div([label, html.Small(note)], className="label"), *parts],
        className="hidden" if hidden else "control",
        **named,
    )
