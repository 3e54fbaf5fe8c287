"""`hcvae simulate`: a table of simulated recordings."""

from collections.abc import Sequence

from pydantic import Field
from rich.console import Console

from hcvae import command_line
from hcvae.counting import counted
from hcvae.outputs import check_output_file
from hcvae.terminal import print_line


class Simulate(command_line.Command):
    """Write a waveform table of simulated recordings whose generative factors are known.

    examples:
      hcvae simulate --rows 4000 --out results/simulated.parquet
      hcvae simulate --rows 100000 --seed 1 --out results/more.parquet
      hcvae simulate --rows 200 --out results/example.csv
    """

    out: str
    """The file to write: .parquet, .csv, .mat (MATLAB v5) or .edf (EDF+)."""
    rows: int = Field(4000, ge=1)
    """Number of waveforms."""
    seed: int = Field(0, ge=0)
    """Seed of the random numbers: the same seed and rows give the same table."""


def run(arguments: Sequence[str]) -> int:
    """Run the command."""
    command = command_line.parse(Simulate, arguments)
    from hcvae.data.export import check_path, write_table

    check_path(command.out)
    check_output_file("--out", command.out, [])
    from hcvae.data.simulator import simulate

    table = simulate(command.rows, command.seed)
    write_table(table, command.out)
    subjects = len(table["subject_id"].unique())
    print_line(
        Console(),
        f"{counted(table.num_rows, 'waveform')} of {counted(subjects, 'simulated subject')} written to {command.out}",
    )
    return 0
