"""The console script `hcvae`."""

import sys
from collections.abc import Sequence
from importlib import import_module

from hcvae import __version__
from hcvae.errors import USER_ERROR, UserError
from hcvae.interruption import guard_program
from hcvae.suggest import did_you_mean

COMMANDS = {
    "simulate": "write a table of simulated recordings with known factors",
    "import": "read recordings of devices and programs into one waveform table",
    "inspect": "tell what a waveform table or a model bundle holds, and what looks wrong",
    "generate": "draw waveforms from a model bundle",
    "explore": "turn the knobs of a model bundle in the browser",
    "export": "write a model bundle as ONNX files, for other languages and runtimes",
    "evaluate": "measure model bundles, beside baselines",
    "diagnose": "tell what went wrong in the training of a model bundle, and the remedy",
}
"""Each is a module of `hcvae.commands`, imported when it is called."""
HELP = """usage: hcvae COMMAND [options]

commands:
{commands}

hcvae COMMAND --help shows the options of a command, with examples; hcvae --version shows the version.
To train and to search: python -m jobs.train --help and python -m jobs.search --help, in the checkout."""


def run(arguments: Sequence[str]) -> int:
    """Run the command that `arguments` name."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(HELP.format(commands="\n".join(f"  {name:10} {does}" for name, does in COMMANDS.items())))
        return 0 if arguments else USER_ERROR
    if arguments[0] == "--version":
        print(f"hcvae {__version__}")
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        raise UserError(f"{name}: unknown command{did_you_mean(name, list(COMMANDS))}")
    status: int = import_module(f"hcvae.commands.{name}").run(rest)
    return status


def main() -> None:
    """Entry point of the console script."""
    guard_program()
    from hcvae import command_line

    sys.exit(command_line.main(run))


if __name__ == "__main__":
    main()
