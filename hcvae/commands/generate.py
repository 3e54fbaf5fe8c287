"""`hcvae generate`: waveforms from a model bundle."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field
from pydantic_settings import CliPositionalArg
from rich.console import Console

from hcvae import command_line
from hcvae.errors import UserError
from hcvae.progress_lines import line_a_minute

if TYPE_CHECKING:
    import pyarrow as pa

    from hcvae.bundle import Bundle
    from hcvae.data.preprocessing import ConditionValue
    from hcvae.generation import EncodedRecording

OF_LIKE = ("row", "fix", "interpolate", "swap")
OF_SECOND = ("other",)
OF_DRAWS = ("samples", "seed", "temperature", "residual_noise", "fix")
"""Options that have no meaning where nothing is drawn."""


class Generate(command_line.Command):
    """Draw waveforms from a model bundle into a waveform table (uV and ms): for conditions, like a recording, between
    two recordings, or with the latents of two exchanged.

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
    """PNG to draw the waveforms to, with the recordings that they are like and the predicted waves: at most 24
    conditions and 30 waveforms of each, and what is not drawn is named."""
    condition: list[str] = Field([])
    """COLUMN=VALUE, COLUMN=VALUE,VALUE or COLUMN=FIRST:LAST:STEP (both ends included); repeat it. All combinations are
    generated. null for none; columns left out take the recording's value with --like, else their typical one."""
    extrapolate: bool = False
    """Allow conditions outside the training range: the waveforms are a guess then."""
    like: str | None = None
    """Parquet waveform table with a recording to start from."""
    row: int = Field(0, ge=0)
    """Row of the recording, from 0."""
    fix: Literal["global", "local", "both"] = "global"
    """Latent of the recording that is kept; the other ones are drawn. `both` draws none."""
    interpolate: int | None = Field(None, ge=0)
    """Row of a second recording: go there in equal steps of latents and condition."""
    swap: int | None = Field(None, ge=0)
    """Row of a second recording: z_global of the first with z_local of this one."""
    other: str | None = None
    """Table of the second recording; default: that of --like."""
    steps: int = Field(9, ge=2)
    """Waveforms of an interpolation, both ends included."""
    samples: int = Field(100, ge=1)
    """Waveforms for each combination of conditions."""
    temperature: float = Field(1.0, ge=0, allow_inf_nan=False)
    """Factor on the spread of the latents that are drawn."""
    seed: int = Field(0, ge=0)
    """Seed; the same seed and bundle give the same waveforms."""
    residual_noise: bool = False
    """As averages of a recorder look; default: expected responses."""


def run(arguments: Sequence[str]) -> int:
    """Run the command."""
    command = command_line.parse(Generate, arguments)
    _refuse_meaningless(command)
    from hcvae.data.export import check_path, write_table

    check_path(command.out)
    if command.figure is not None and not command.figure.lower().endswith(".png"):
        raise UserError(f"--figure {command.figure}: the name must end in .png")
    from hcvae.bundle import load
    from hcvae.generation import parse_conditions
    from hcvae.generation.conditions import text_of

    bundle = load(command.bundle)
    given = parse_conditions(bundle, command.condition)
    like, second = _recordings(command, bundle)
    console = Console()
    with line_a_minute(console, lambda: "generating"):
        table = _generated_table(command, bundle, given, like, second)
    write_table(table, command.out)
    notes = _plot(command, bundle, table, list(given[0]), like, second)
    for name in (column.name for column in bundle.preprocessing.static.columns):
        values = ", ".join(map(text_of, dict.fromkeys(table[name].to_pylist())))
        source = "typical of the training data" if like is None or name in like.assumed else "of the recording"
        note = "" if name in given[0] else f" ({source})"
        console.print(f"{name} = {values}{note}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"{table.num_rows} waveforms written to {command.out}", highlight=False, markup=False, soft_wrap=True)
    if command.figure is not None:
        for line in (f"drawn to {command.figure}", *notes):
            console.print(line, highlight=False, markup=False, soft_wrap=True)
    return 0


def _recordings(command: Generate, bundle: "Bundle") -> "tuple[EncodedRecording | None, EncodedRecording | None]":
    """The recording to start from, and the second one; None where the command names none."""
    if command.like is None:
        return None, None
    from hcvae.generation import read_recording

    first = read_recording(bundle, command.like, command.row, extrapolate=command.extrapolate)
    row = command.swap if command.interpolate is None else command.interpolate
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

    beyond, noisy, spread = command.extrapolate, command.residual_noise, command.temperature
    if like is None:
        return generate(
            bundle, given, command.samples, command.seed, residual_noise=noisy, temperature=spread, extrapolate=beyond
        )
    if second is not None and command.swap is not None:
        return pa.concat_tables(swap(bundle, like, second, condition=one, extrapolate=beyond) for one in given)
    if second is not None:
        return pa.concat_tables(
            interpolate(bundle, like, second, command.steps, condition=one, extrapolate=beyond) for one in given
        )
    samples = 1 if command.fix == "both" and not noisy else command.samples
    return vary(
        bundle,
        like,
        command.fix,
        samples,
        command.seed,
        conditions=given,
        residual_noise=noisy,
        temperature=spread,
        extrapolate=beyond,
    )


def _plot(
    command: Generate,
    bundle: "Bundle",
    table: "pa.Table",
    names: Sequence[str],
    like: "EncodedRecording | None",
    second: "EncodedRecording | None",
) -> list[str]:
    """Draw the figure where one is asked for; what of the table it does not show."""
    if command.figure is None:
        return []
    from hcvae.generation_figure import generation_figure
    from hcvae.plots import save_figure

    rows = (command.row, command.swap if command.interpolate is None else command.interpolate)
    labels = (f"recording, row {rows[0]}", f"second recording, row {rows[1]}")
    recorded = {label: one for label, one in zip(labels, (like, second), strict=True) if one is not None}
    figure, notes = generation_figure(bundle, table, names, recorded, _title(command))
    save_figure(figure, command.figure)
    return notes


def _title(command: Generate) -> str:
    if command.like is None:
        return "Generated waveforms"
    if command.interpolate is not None:
        return f"From row {command.row} (0%) to row {command.interpolate} (100%)"
    if command.swap is not None:
        return f"z_global of row {command.row} with z_local of row {command.swap}"
    kept = "both latents" if command.fix == "both" else f"z_{command.fix}"
    return f"Generated with {kept} of row {command.row}"


def _refuse_meaningless(command: Generate) -> None:
    """Refuse options that would have no effect beside the others."""
    of_two = command.interpolate is not None or command.swap is not None
    if command.interpolate is not None and command.swap is not None:
        raise UserError("--interpolate and --swap: one of them, but got both")
    rules = [
        (command.like is None, OF_LIKE, "needs --like FILE"),
        (not of_two, OF_SECOND, "needs --interpolate ROW or --swap ROW"),
        (command.interpolate is None, ("steps",), "needs --interpolate ROW"),
        (of_two, OF_DRAWS, "has no meaning with --interpolate or --swap, which draw nothing"),
        (command.fix == "both", ("temperature",), "has no meaning with --fix both, which draws no latent"),
        (
            command.fix == "both" and not command.residual_noise,
            ("samples", "seed"),
            "has no meaning with --fix both, which draws nothing without --residual-noise",
        ),
    ]
    for holds, names, reason in rules:
        for name in names:
            if holds and name in command.model_fields_set:
                raise UserError(f"--{name.replace('_', '-')}: {reason}; leave it out")
