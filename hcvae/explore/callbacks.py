"""What happens on the page. Each callback reads it, and shows what functions that know nothing of dash make of it."""

from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from dash import ClientsideFunction, Dash, Input, Output, State, ctx, no_update

from hcvae.errors import UserError
from hcvae.explore import actions
from hcvae.explore.explorer import Explorer
from hcvae.explore.figure import figure, peak_rows
from hcvae.explore.layout import condition_controls, peak_table, reference_options, slider_ids
from hcvae.explore.settings import Page

Held = Mapping[str, Any]
Dependency = type[Input] | type[State]

MESSAGE = Output("message", "children", allow_duplicate=True)


def register(app: Dash, explorer: Explorer) -> None:
    """Connect the page of `layout` with `explorer`."""
    _draw(app, explorer)
    _compare(app, explorer)
    _reset(app, explorer)
    _save(app, explorer)
    if explorer.rows:
        _describe(app, explorer)


def _held(explorer: Explorer, kind: Dependency) -> dict[str, Any]:
    """The components whose values `actions.read_page` reads."""
    ids = slider_ids(explorer)
    return {
        "group": State("group", "value"),  # its change renders the conditions anew, and that draws
        "values": [kind(name, "value") for name in ids["condition"]],
        "unknown": [kind(name, "value") for name in ids["unknown"]],
        "shifts": {block: [kind(name, "value") for name in ids[block]] for block in explorer.directions},
        **{name: kind(name, "value") for name in ("a", "b", "shown")},
        "references": kind("references", "data"),
    }


def _draw(app: Dash, explorer: Explorer) -> None:
    """Waveforms and peaks follow everything."""

    @app.callback(
        output=[Output("waveform", "figure"), Output("peaks", "children"), Output("message", "children")],
        inputs={"held": _held(explorer, Input)},
    )
    def draw(held: Held) -> tuple[Any, Any, str]:
        try:
            page = actions.read_page(explorer, held)
            table = explorer.waveforms(page)
        except UserError as error:
            return no_update, no_update, str(error)
        return figure(table, explorer.span_uv(page)), peak_table(peak_rows(table)), ""


def _compare(app: Dash, explorer: Explorer) -> None:
    """References come and go; A and B are exchanged."""
    does = {
        "freeze": lambda page, row: actions.freeze(explorer, page),
        "add": lambda page, row: actions.add(explorer, page, row),
        "clear": lambda page, row: actions.clear(page),
        "exchange": lambda page, row: actions.exchange(page),
    }
    choices = ("shown", "a", "b")

    @app.callback(
        output={
            "references": Output("references", "data"),
            "options": {name: Output(name, "options") for name in choices},
            "values": {name: Output(name, "value") for name in choices},
            "message": MESSAGE,
        },
        inputs={"clicks": {name: Input(name, "n_clicks") for name in does}},
        state={"row": State("row", "value"), "held": _held(explorer, State)},
        running=[(Output(name, "disabled"), True, False) for name in does],  # one at a time: each adds to the last
        prevent_initial_call=True,
    )
    def compare(clicks: Held, row: int | None, held: Held) -> dict[str, Any]:
        try:
            page: Page = does[str(ctx.triggered_id)](actions.read_page(explorer, held), row)
        except UserError as error:
            unchanged = dict.fromkeys(choices, no_update)
            return {"references": no_update, "options": unchanged, "values": unchanged, "message": str(error)}
        setting = page.setting
        return {
            "references": [reference.model_dump() for reference in page.references],
            "options": reference_options(page.references),
            "values": {"shown": list(page.shown), "a": setting.a, "b": setting.b},
            "message": "",
        }


def _reset(app: Dash, explorer: Explorer) -> None:
    """Another group of conditions, or a wish to begin anew: everything typical."""
    shifts = [name for block in explorer.directions for name in slider_ids(explorer)[block]]

    @app.callback(
        output=[Output("conditions", "children"), [Output(name, "value") for name in shifts]],
        inputs=[Input("reset", "n_clicks"), Input("group", "value")],
        prevent_initial_call=True,
    )
    def reset(_: int, group: str) -> tuple[Any, list[float]]:
        return condition_controls(explorer.bundle.preprocessing, group), [0.0] * len(shifts)


def _save(app: Dash, explorer: Explorer) -> None:
    """Tables come from here; figures the browser draws itself."""

    @app.callback(
        output=[Output("download", "data"), MESSAGE],
        inputs={"clicks": [Input("parquet", "n_clicks"), Input("csv", "n_clicks")]},
        state={"held": _held(explorer, State)},
        prevent_initial_call=True,
    )
    def save(clicks: Held, held: Held) -> tuple[Any, str]:
        suffix = str(ctx.triggered_id)
        try:
            content = actions.file_of(explorer.waveforms(actions.read_page(explorer, held)), suffix)
        except UserError as error:
            return no_update, str(error)
        return {"content": b64encode(content).decode(), "base64": True, "filename": f"explored.{suffix}"}, ""

    app.clientside_callback(  # type: ignore[no-untyped-call]
        ClientsideFunction("explore", "save"),
        MESSAGE,
        Input("png", "n_clicks"),
        Input("svg", "n_clicks"),
        prevent_initial_call=True,
    )


def _describe(app: Dash, explorer: Explorer) -> None:
    """What the row is that could be added."""

    @app.callback(output=Output("recording", "children"), inputs=[Input("row", "value")])
    def describe(row: int | None) -> str:
        try:
            return "" if row is None else explorer.describe(row)
        except UserError as error:
            return str(error)
