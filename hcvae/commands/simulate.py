"""`hcvae simulate`: a table of simulated recordings."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field
from rich.console import Console

from hcvae import command_line


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


def run(arguments: Sequence[str]) -> int:
    """Run the command."""
    command = command_line.parse(Simulate, arguments)
    from hcvae.data.simulator import simulate
    from hcvae.data.table import write_table

    table = simulate(command.rows, command.seed)
    write_table(table, Path(command.out))
    subjects = len(table["subject_id"].unique())
    Console().print(f"{table.num_rows} waveforms of {subjects} simulated subjects written to {command.out}")
    return 0
