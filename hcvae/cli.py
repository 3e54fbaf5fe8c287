"""The command `hcvae`: simulate recordings, generate from a model bundle."""

import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field
from pydantic_settings import CliPositionalArg
from rich.console import Console

from hcvae import command_line
from hcvae.errors import UserError
from hcvae.suggest import did_you_mean

HELP = """usage: hcvae COMMAND [options]

commands:
  simulate   write a table of simulated recordings with known factors
  generate   draw waveforms from a model bundle

hcvae COMMAND --help tells the options, with examples."""


class Simulate(command_line.Command):
    """Write a Parquet waveform table of simulated recordings whose generative factors are known.

    examples:
      hcvae simulate --rows 4000 --out simulated.parquet
      hcvae simulate --rows 100000 --seed 1 --out more.parquet
    """

    out: str
    """The Parquet file to write."""
    rows: int = Field(4000, ge=1)
    """Waveforms."""
    seed: int = Field(0, ge=0)
    """Seed; the same seed and rows give the same table."""


class Generate(command_line.Command):
    """Draw waveforms from a model bundle into a Parquet waveform table (uV and ms).

    examples:
      hcvae generate model --condition stimulus_level_db=60 --out at-60-dB.parquet
      hcvae generate model --condition species=human --condition stimulus_frequency_hz=null --out human.parquet
    """

    bundle: CliPositionalArg[str]
    """The model bundle, a folder."""
    out: str
    """The Parquet file to write."""
    condition: dict[str, str] = Field({})
    """COLUMN=VALUE, once for each column; null for none. Columns left out take their typical training value."""
    samples: int = Field(100, ge=1)
    """Waveforms."""
    seed: int = Field(0, ge=0)
    """Seed; the same seed and bundle give the same waveforms."""


def simulate(arguments: Sequence[str]) -> None:
    """`hcvae simulate`."""
    command = command_line.parse(Simulate, arguments)
    from hcvae.data.simulator import simulate
    from hcvae.data.table import write_table

    table = simulate(command.rows, command.seed)
    write_table(table, Path(command.out))
    subjects = len(table["subject_id"].unique())
    Console().print(f"{table.num_rows} waveforms of {subjects} simulated subjects written to {command.out}")


def generate(arguments: Sequence[str]) -> None:
    """`hcvae generate`."""
    command = command_line.parse(Generate, arguments)
    from hcvae.bundle import load
    from hcvae.data.table import write_table
    from hcvae.generation import complete_condition, generate, parse_condition

    bundle = load(command.bundle)
    given = parse_condition(bundle, command.condition)
    condition = complete_condition(bundle, given)
    write_table(generate(bundle, [condition], command.samples, command.seed), Path(command.out))
    console = Console()
    for name, value in condition.items():
        shown = f"{value:g}" if isinstance(value, float) else value
        console.print(f"{name} = {shown}{'' if name in given else ' (typical of the training data)'}", highlight=False)
    console.print(f"{command.samples} waveforms written to {command.out}")


COMMANDS = {"simulate": simulate, "generate": generate}


def run(arguments: Sequence[str]) -> int:
    """Run the command that `arguments` name."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(HELP)
        return 0 if arguments else command_line.USER_ERROR
    name, *rest = arguments
    if name not in COMMANDS:
        raise UserError(f"{name}: unknown command{did_you_mean(name, list(COMMANDS))}")
    COMMANDS[name](rest)
    return 0


def main() -> None:
    """Entry point of the console script."""
    sys.exit(command_line.main(run))


if __name__ == "__main__":
    main()
