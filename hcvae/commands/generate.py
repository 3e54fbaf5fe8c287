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
    from hcvae.data.preprocessing import Value
    from hcvae.generation import Recording

MOST_PANELS, MOST_DRAWN = 12, 30
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
    """PNG to draw the waveforms to, at most 12 conditions and 30 waveforms of each; waves named where predicted."""
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
    residual_noise: bool = Field(False, validation_alias="residual-noise")
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
    from hcvae.generation import parse_conditions, read_recording
    from hcvae.generation.conditions import text_of

    bundle = load(command.bundle)
    given = parse_conditions(bundle, command.condition)
    like = None
    if command.like is not None:
        like = read_recording(bundle, command.like, command.row, extrapolate=command.extrapolate)
    console = Console()
    with line_a_minute(console, lambda: "generating"):
        table = _drawn(command, bundle, given, like)
    write_table(table, command.out)
    if command.figure is not None:
        _draw(bundle, table, list(given[0]), command.figure)
    for name in (column.name for column in bundle.preprocessing.static.columns):
        values = ", ".join(map(text_of, dict.fromkeys(table[name].to_pylist())))
        source = "typical of the training data" if like is None or name in like.assumed else "of the recording"
        note = "" if name in given[0] else f" ({source})"
        console.print(f"{name} = {values}{note}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"{table.num_rows} waveforms written to {command.out}", highlight=False, markup=False, soft_wrap=True)
    if command.figure is not None:
        console.print(f"drawn to {command.figure}", highlight=False, markup=False, soft_wrap=True)
    return 0


def _drawn(
    command: Generate, bundle: "Bundle", given: Sequence[Mapping[str, "Value"]], like: "Recording | None"
) -> "pa.Table":
    from hcvae.generation import generate, vary

    beyond, noisy, spread = command.extrapolate, command.residual_noise, command.temperature
    if like is None:
        return generate(
            bundle, given, command.samples, command.seed, residual_noise=noisy, temperature=spread, extrapolate=beyond
        )
    if command.interpolate is not None or command.swap is not None:
        return _of_two(command, bundle, given, like)
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


def _of_two(
    command: Generate, bundle: "Bundle", given: Sequence[Mapping[str, "Value"]], first: "Recording"
) -> "pa.Table":
    import pyarrow as pa

    from hcvae.generation import interpolate, read_recording, swap

    row = command.swap if command.interpolate is None else command.interpolate
    beyond = command.extrapolate
    second = read_recording(bundle, command.other or command.like or "", row or 0, extrapolate=beyond)
    if command.interpolate is None:
        return pa.concat_tables(swap(bundle, first, second, condition=one, extrapolate=beyond) for one in given)
    return pa.concat_tables(
        interpolate(bundle, first, second, command.steps, condition=one, extrapolate=beyond) for one in given
    )


def _draw(bundle: "Bundle", table: "pa.Table", names: Sequence[str], path: str) -> None:
    import numpy as np

    from hcvae.generation import families
    from hcvae.plots import generated, save_figure

    found = list(families(table, names))
    shown = [found[k] for k in np.unique(np.linspace(0, len(found) - 1, MOST_PANELS).round().astype(int))]
    preprocessing = bundle.preprocessing
    figure = generated(
        [family.signals_uv[:MOST_DRAWN] for family in shown],
        np.arange(preprocessing.signal_length) * 1e3 / preprocessing.sampling_rate_hz,
        [family.title for family in shown],
        [family.latency_ms[:MOST_DRAWN] for family in shown],
    )
    save_figure(figure, path)


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
