"""`hcvae generate`: waveforms from a model bundle."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field
from pydantic_settings import CliPositionalArg
from rich.console import Console

from hcvae import command_line
from hcvae.counting import counted
from hcvae.errors import UserError
from hcvae.outputs import check_figure, check_output_file
from hcvae.progress_lines import line_a_minute
from hcvae.terminal import print_line

if TYPE_CHECKING:
    import pyarrow as pa

    from hcvae.bundle import Bundle
    from hcvae.data.preprocessing import ConditionValue
    from hcvae.generation import EncodedRecording

LIKE_OPTIONS = ("row", "fix", "interpolate", "swap")
"""Options that need --like."""
SAMPLING_OPTIONS = ("samples", "seed", "temperature", "residual_noise", "fix")
"""Options without meaning if nothing is sampled."""


class Generate(command_line.Command):
    """Generate waveforms with a model bundle and write a waveform table (uV and ms): for conditions, like a recording,
    between two recordings, or with the latents of two recordings exchanged.

    examples:
      hcvae generate results/model --condition stimulus_level_db=20:80:20 --condition sex=M --out results/levels.parquet
      hcvae generate results/model --condition stimulus_level_db=60 --residual-noise --out results/as-recorded.csv
      hcvae generate results/model --like a.parquet --row 12 --out results/global.parquet
      hcvae generate results/model --like a.parquet --row 12 --fix local --temperature 0.5 --out results/shape.mat
      hcvae generate results/model --like a.parquet --row 12 --interpolate 40 --steps 9 --out results/between.parquet
      hcvae generate results/model --like a.parquet --row 12 --swap 3 --other b.parquet --out results/swapped.parquet
    """

    bundle: CliPositionalArg[str]
    """The model bundle, a folder."""
    out: str
    """The file to write: .parquet, .csv, .mat (MATLAB v5) or .edf (EDF+)."""
    figure: str | None = None
    """PNG file for a figure of the waveforms, the recordings they start from and the predicted waves: at most 24
    conditions with 30 waveforms each; what is omitted is listed."""
    condition: list[str] = Field([])
    """COLUMN=VALUE, COLUMN=VALUE,VALUE or COLUMN=FIRST:LAST:STEP (both ends included); null for a missing value. Repeat
    for more columns; all combinations are generated. Other columns: with --like the recording's values, otherwise
    those of the most frequent combination in training that agrees with the given ones."""
    extrapolate: bool = False
    """Allow conditions outside the training range, where waveforms are unreliable."""
    like: str | None = None
    """Parquet waveform table with the recording to start from."""
    row: int = Field(0, ge=0)
    """Row of the recording, counted from 0."""
    fix: Literal["global", "local", "both"] = "global"
    """Latent of the recording to keep; the others are sampled. `both`: none is sampled."""
    interpolate: int | None = Field(None, ge=0)
    """Row of a second recording: interpolate to it in equal steps of latents and condition."""
    swap: int | None = Field(None, ge=0)
    """Row of a second recording: combine z_global of the first with z_local of the second."""
    other: str | None = None
    """Table of the second recording. Default: that of --like."""
    steps: int = Field(9, ge=2)
    """Waveforms of an interpolation, both ends included."""
    samples: int = Field(100, ge=1)
    """Number of waveforms for each combination of conditions."""
    temperature: float = 1.0
    """Factor on the standard deviation of sampled latents, 0 to 3; 0 gives their mean."""
    seed: int = Field(0, ge=0)
    """Seed of the random numbers: the same seed and bundle give the same waveforms."""
    residual_noise: bool = False
    """Add residual noise, as in recorded averages. Default: expected responses."""


def run(arguments: Sequence[str]) -> int:
    """Run the command."""
    command = command_line.parse(Generate, arguments)
    _refuse_meaningless(command)
    from hcvae.data.export import check_path, write_table

    check_path(command.out)
    inputs = (command.bundle, command.like, command.other)
    check_output_file("--out", command.out, inputs)
    check_figure(command.figure, inputs)
    from hcvae.bundle import load
    from hcvae.data.table import GENERATED_WITH
    from hcvae.generation import parse_conditions
    from hcvae.poor_reconstruction import reconstruction_warning

    bundle = load(command.bundle)
    given = parse_conditions(bundle, command.condition)
    like, second = _recordings(command, bundle)
    console = Console()
    with line_a_minute(console, lambda: "generating"):
        table = _generated_table(command, bundle, given, like, second)
    name = Path(command.bundle).absolute().name  # no path of this machine in a file to exchange
    metadata = (table.schema.metadata or {}) | {GENERATED_WITH: name.encode()}
    write_table(table.replace_schema_metadata(metadata), command.out)
    notes = _plot(command, bundle, table, list(given[0]), like, second)
    lines = [*_condition_lines(bundle, table, given[0], like), *reconstruction_warning(bundle.reconstruction_nmse)]
    lines.append(f"{counted(table.num_rows, 'waveform')} written to {command.out}")
    if command.figure is not None:
        lines += [f"figure written to {command.figure}", *notes]
    for line in lines:
        print_line(console, line)
    return 0


def _condition_lines(
    bundle: "Bundle", table: "pa.Table", given: Mapping[str, "ConditionValue"], like: "EncodedRecording | None"
) -> list[str]:
    from hcvae.generation.conditions import condition_lines

    names = list(bundle.preprocessing.static.by_name)
    recorded: list[str] = []
    if like is not None:
        recorded = [name for name in names if name not in like.assumed]
    return condition_lines(bundle, {name: table[name].to_pylist() for name in names}, given, recorded)


def _recordings(command: Generate, bundle: "Bundle") -> "tuple[EncodedRecording | None, EncodedRecording | None]":
    """Read the recording to start from and the second one; None for one that the command does not name."""
    if command.like is None:
        return None, None
    from hcvae.generation import read_recording

    first = read_recording(bundle, command.like, command.row, extrapolate=command.extrapolate)
    row = _second_row(command)
    if row is None:
        return first, None
    return first, read_recording(bundle, command.other or command.like, row, extrapolate=command.extrapolate)


def _generated_table(
    command: Generate,
    bundle: "Bundle",
    given: Sequence[Mapping[str, "ConditionValue"]],
    like: "EncodedRecording | None",
    second: "EncodedRecording | None",
) -> "pa.Table":
    import pyarrow as pa

    from hcvae.generation import generate, interpolate, swap, vary

    if like is not None and second is not None:
        tables: list[pa.Table] = []
        for condition in given:
            shared: dict[str, Any] = {"condition": condition, "extrapolate": command.extrapolate}
            if command.swap is not None:
                tables.append(swap(bundle, like, second, **shared))
            else:
                tables.append(interpolate(bundle, like, second, command.steps, **shared))
        return pa.concat_tables(tables)
    options: dict[str, Any] = {
        "residual_noise": command.residual_noise,
        "temperature": command.temperature,
        "extrapolate": command.extrapolate,
    }
    if like is None:
        return generate(bundle, given, command.samples, command.seed, **options)
    samples = command.samples
    if command.fix == "both" and not command.residual_noise:
        samples = 1
    return vary(bundle, like, command.fix, samples, command.seed, conditions=given, **options)


def _plot(
    command: Generate,
    bundle: "Bundle",
    table: "pa.Table",
    names: Sequence[str],
    like: "EncodedRecording | None",
    second: "EncodedRecording | None",
) -> list[str]:
    """Write the figure, if the command names one; return notes on what it omits."""
    if command.figure is None:
        return []
    from hcvae.generation_figure import generation_figure
    from hcvae.plots import save_figure

    recorded: dict[str, EncodedRecording] = {}
    if like is not None:
        recorded[f"recording, row {command.row}"] = like
    if second is not None:
        recorded[f"second recording, row {_second_row(command)}"] = second
    figure, notes = generation_figure(bundle, table, names, recorded, _title(command))
    save_figure(figure, command.figure)
    return notes


def _second_row(command: Generate) -> int | None:
    if command.interpolate is None:
        return command.swap
    return command.interpolate


def _title(command: Generate) -> str:
    if command.like is None:
        return "Generated waveforms"
    if command.interpolate is not None:
        return f"From row {command.row} (0%) to row {command.interpolate} (100%)"
    if command.swap is not None:
        return f"z_global of row {command.row} with z_local of row {command.swap}"
    kept = f"z_{command.fix}"
    if command.fix == "both":
        kept = "both latents"
    return f"Generated with {kept} of row {command.row}"


def _refuse_meaningless(command: Generate) -> None:
    """Refuse options that have no effect in combination with the others."""
    of_two = command.interpolate is not None or command.swap is not None
    if command.interpolate is not None and command.swap is not None:
        raise UserError("--interpolate and --swap: give one of them, but got both")
    rules = [
        (command.like is None, LIKE_OPTIONS, "needs --like FILE"),
        (not of_two, ("other",), "needs --interpolate ROW or --swap ROW"),
        (command.interpolate is None, ("steps",), "needs --interpolate ROW"),
        (of_two, SAMPLING_OPTIONS, "has no effect with --interpolate or --swap, which sample nothing"),
        (command.fix == "both", ("temperature",), "has no effect with --fix both, which samples no latent"),
        (
            command.fix == "both" and not command.residual_noise,
            ("samples", "seed"),
            "has no effect with --fix both without --residual-noise, which sample nothing",
        ),
    ]
    for applies, names, reason in rules:
        for name in names:
            if applies and name in command.model_fields_set:
                raise UserError(f"--{command_line.kebab_case(name)}: {reason}; leave it out")
