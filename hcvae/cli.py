"""The program `hcvae`: selects a command and runs it."""

import sys
from collections.abc import Sequence
from importlib import import_module

from hcvae import __version__
from hcvae.command_table import COMMANDS
from hcvae.errors import USER_ERROR, UserError
from hcvae.interruption import guard_program
from hcvae.suggest import did_you_mean

HELP = """usage: hcvae COMMAND [options]

commands:
{commands}

hcvae COMMAND --help shows the options of a command, with examples; hcvae --version shows the version.
To train and to search: python -m jobs.train --help and python -m jobs.search --help, in the checkout."""


def run(arguments: Sequence[str]) -> int:
    """Run the command that `arguments` start with; return the exit code.

    Only the module of that command is imported, so that help is quick.
    """
    if not arguments:
        print(_help())
        return USER_ERROR
    name, *rest = arguments
    if name in ("-h", "--help"):
        print(_help())
        return 0
    if name == "--version":
        print(f"hcvae {__version__}")
        return 0
    if name not in COMMANDS:
        raise UserError(f"{name}: unknown command{did_you_mean(name, list(COMMANDS))}")
    status: int = import_module(COMMANDS[name].module).run(rest)
    return status


def main() -> None:
    """Entry point of the console script and of `python -m hcvae`."""
    guard_program()
    from hcvae import command_line

    sys.exit(command_line.main(run))


def _help() -> str:
    commands = [f"  {name:10} {entry.summary}" for name, entry in COMMANDS.items()]
    return HELP.format(commands="\n".join(commands))
