"""The commands of `hcvae`: the module and the summary of each."""

from typing import NamedTuple


class CommandEntry(NamedTuple):
    """A row of the table of commands."""

    module: str
    """Its function `run` takes the arguments after the command and returns the exit code."""
    summary: str


COMMANDS = {
    "simulate": CommandEntry("hcvae.commands.simulate", "write a table of simulated recordings with known factors"),
    "import": CommandEntry(
        "hcvae.commands.import_recordings", "read recordings of devices and programs into one waveform table"
    ),
    "inspect": CommandEntry(
        "hcvae.commands.inspect", "summarise a waveform table or a model bundle and report problems"
    ),
    "generate": CommandEntry("hcvae.commands.generate", "generate waveforms with a model bundle"),
    "explore": CommandEntry("hcvae.commands.explore", "vary conditions and latents of a model bundle in the browser"),
    "export": CommandEntry(
        "hcvae.commands.export", "write a model bundle as ONNX files, for other languages and runtimes"
    ),
    "evaluate": CommandEntry("hcvae.commands.evaluate", "evaluate model bundles and compare them with baselines"),
    "diagnose": CommandEntry(
        "hcvae.commands.diagnose", "report problems in the training of a model bundle, with remedies"
    ),
}
"""By the name that users type."""
