"""The server of the page of `hcvae explore`, for browsers on this machine. It keeps no state between requests."""

import tempfile
from pathlib import Path

import pyarrow as pa
from flask import Flask, Response, jsonify, render_template, request
from plotly.offline import get_plotlyjs
from pydantic import TypeAdapter, ValidationError

from hcvae.data.export import write_table
from hcvae.errors import UserError
from hcvae.explore.explorer import Explorer
from hcvae.explore.figure import DARK, figure, peak_rows
from hcvae.explore.form import Form, InvalidForm, conditions, latents, null_field, read_page, read_row
from hcvae.explore.settings import Page
from hcvae.validation import plain

Answer = Response | tuple[Response, int]


def application(explorer: Explorer, title: str) -> Flask:
    """Return the WSGI application of the page, which loads nothing from any network."""
    app = Flask(__name__, static_folder="assets", static_url_path="/assets")
    app.jinja_options = {"trim_blocks": True, "lstrip_blocks": True}
    _serve_page(app, explorer, title)
    _serve_waveforms(app, explorer)
    _serve_references(app, explorer)
    app.register_error_handler(UserError, _refuse)
    app.register_error_handler(ValidationError, _refuse_content)
    return app


def file_of(table: pa.Table, suffix: str) -> bytes:
    """Return a waveform table as `hcvae generate` writes it, in the format of the suffix."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"waveforms.{suffix}"
        write_table(table, path)
        return path.read_bytes()


def _serve_page(app: Flask, explorer: Explorer, title: str) -> None:
    bundle = explorer.bundle
    plotly_script = get_plotlyjs()

    @app.get("/")
    def page() -> str:
        return render_template(
            "page.html",
            title=title,
            rows=explorer.rows,
            preprocessing=bundle.preprocessing,
            predicts_peaks=bundle.config.model.predict_peaks and bundle.preprocessing.labelled_waves,
            conditions={group: conditions(explorer, group).values() for group in explorer.groups},
            latents=latents(explorer),
            null_field=null_field,
            dark=DARK,
        )

    @app.get("/plotly.js")
    def plotly() -> Response:
        return Response(plotly_script, mimetype="text/javascript", headers={"Cache-Control": "max-age=3600"})


def _serve_waveforms(app: Flask, explorer: Explorer) -> None:
    @app.post("/draw")
    def generate_view() -> Answer:
        page = _requested(explorer)
        table = explorer.waveforms(page)
        plot = figure(table, explorer.span_uv(page))
        return jsonify(figure=plot, peaks=peak_rows(table), changes=explorer.changes_uv(page))

    @app.post("/explored.<suffix>")
    def save(suffix: str) -> Response:
        content = file_of(explorer.waveforms(_requested(explorer)), suffix)
        return Response(content, mimetype="application/octet-stream")


def _serve_references(app: Flask, explorer: Explorer) -> None:
    @app.post("/freeze")
    def freeze() -> Answer:
        page = _requested(explorer)
        frozen = sum(reference.row is None for reference in page.references)
        return jsonify(explorer.freeze(page, f"frozen {frozen + 1}").model_dump())

    @app.post("/recording")
    def recording() -> Answer:
        return jsonify(explorer.recording(_requested_row(explorer)).model_dump())

    @app.post("/description")
    def description() -> Answer:
        return jsonify(explorer.describe(_requested_row(explorer)))


def _requested(explorer: Explorer) -> Page:
    return read_page(explorer, Form.model_validate(request.get_json()))


def _requested_row(explorer: Explorer) -> int:
    return read_row(explorer, TypeAdapter(str).validate_python(request.get_json()))


def _refuse_content(error: ValidationError) -> Answer:
    return jsonify(message=plain(error.errors()[0]), problems={}), 422


def _refuse(error: UserError) -> Answer:
    problems = {}
    if isinstance(error, InvalidForm):
        problems = error.problems
    return jsonify(message=str(error), problems=problems), 422
