"""The page, served to browsers on this machine."""

from dash import Dash
from flask import Flask

from hcvae.explore.callbacks import register
from hcvae.explore.explorer import Explorer
from hcvae.explore.layout import layout


def application(explorer: Explorer, title: str) -> Flask:
    """The WSGI application of the page. All that it needs comes from it, nothing from any network."""
    app = Dash(__name__, title=f"{title} - hcvae", update_title="", assets_folder="assets", serve_locally=True)
    app.layout = layout(explorer, title)
    register(app, explorer)
    server: Flask = app.server
    return server
