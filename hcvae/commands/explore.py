"""`hcvae explore`: an interactive page for a model bundle, in the browser."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from pydantic import Field
from pydantic_settings import CliPositionalArg

from hcvae import command_line
from hcvae.errors import PackageMissing


class Explore(command_line.Command):
    """Serve a page that shows the waveform for conditions and latents set with sliders, to browsers on this machine,
    until Ctrl-C.

    examples:
      hcvae explore results/model
      hcvae explore results/model --data recordings.parquet --port 8050
    """

    bundle: CliPositionalArg[str]
    """The model bundle, a folder."""
    data: str | None = None
    """Parquet waveform table; its recordings can be shown with the waveform and provide latents."""
    port: int = Field(0, ge=0, le=65535)
    """Port; 0 takes a free one."""


def run(arguments: Sequence[str]) -> int:
    """Serve the page until Ctrl-C or SIGTERM, and print its address."""
    command = command_line.parse(Explore, arguments)
    for package in ("flask", "plotly"):
        if find_spec(package) is None:
            raise PackageMissing("explore", package, "explore")
    from hcvae.bundle import load
    from hcvae.explore.explorer import Explorer
    from hcvae.explore.server import application
    from hcvae.local_server import serving, stop_signals

    explorer = Explorer(load(command.bundle), command.data)
    title = Path(command.bundle).resolve().name
    with serving(application(explorer, title), command.port) as address, stop_signals() as stopped:
        print(f"{address}/\nstop with Ctrl-C", flush=True)
        stopped.wait()
    return 0
