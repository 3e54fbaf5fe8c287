"""`hcvae generate`: waveforms from a model bundle."""

from collections.abc import Sequence

from pydantic import Field
from pydantic_settings import CliPositionalArg
from rich.console import Console

from hcvae import command_line


class Generate(command_line.Command):
    """Draw waveforms from a model bundle into a waveform table (uV and ms).

    examples:
      hcvae generate model --condition stimulus_level_db=60 --out at-60-dB.parquet
      hcvae generate model --condition stimulus_level_db=60 --residual-noise --out as-recorded.csv
      hcvae generate model --condition species=human --condition stimulus_frequency_hz=null --out human.parquet
    """

    bundle: CliPositionalArg[str]
    """The model bundle, a folder."""
    out: str
    """The file to write: .parquet, .csv, .mat (MATLAB v5) or .edf (EDF+)."""
    condition: dict[str, str] = Field({})
    """COLUMN=VALUE, once for each column; null for none. Columns left out take their typical training value."""
    samples: int = Field(100, ge=1)
    """Waveforms."""
    seed: int = Field(0, ge=0)
    """Seed; the same seed and bundle give the same waveforms."""
    residual_noise: bool = Field(False, validation_alias="residual-noise")
    """As an average of a recorder looks; default: the expected response."""


def run(arguments: Sequence[str]) -> int:
    """Run the command."""
    command = command_line.parse(Generate, arguments)
    from hcvae.data.export import check_path, write_table

    check_path(command.out)
    from hcvae.bundle import load
    from hcvae.generation import complete_condition, generate, parse_condition

    bundle = load(command.bundle)
    given = parse_condition(bundle, command.condition)
    condition = complete_condition(bundle, given)
    table = generate(bundle, [condition], command.samples, command.seed, residual_noise=command.residual_noise)
    write_table(table, command.out)
    console = Console()
    for name, value in condition.items():
        shown = f"{value:g}" if isinstance(value, float) else value
        console.print(f"{name} = {shown}{'' if name in given else ' (typical of the training data)'}", highlight=False)
    console.print(f"{command.samples} waveforms written to {command.out}")
    return 0
