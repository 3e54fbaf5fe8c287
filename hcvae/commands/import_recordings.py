"""`hcvae import`: recordings of devices and programs as one waveform table."""

import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import CliPositionalArg
from rich.console import Console

from hcvae import command_line
from hcvae.counting import counted
from hcvae.errors import UserError
from hcvae.outputs import check_output, check_output_file
from hcvae.progress_lines import line_a_minute
from hcvae.terminal import print_line

USUAL = "usual"
if TYPE_CHECKING:
    import pyarrow as pa

    from hcvae.importers.file_result import FileResult, ImportOptions
    from hcvae.importers.recording import CellValue

PARTLY = 3
"""Exit code if some files could not be read."""
FLAGS = ("--invert", "--hide-names", "--dry-run")
PAIR = re.compile(r"\s*\w+=.")
"""COLUMN=VALUE."""
LIST_SYNTAX = re.compile(r"[,\[\]{}]")
"""Characters at which pydantic-settings would split an argument."""


class Import(command_line.Command):
    """Read recordings from files of devices and programs, and write them as one Parquet waveform table: microvolts,
    200 samples from stimulus onset at 20 kHz. The format is detected from the content: IHS SmartEP text, TDT BioSig
    .arf, text and CSV, EPL CFTS, MATLAB, WFDB, EDF, BDF, BrainVision, Excel, CSV, Arrow, Parquet. Subjects are
    replaced by pseudonyms.

    exit code: 0 all files were imported, 2 nothing was imported, 3 some files could not be read.

    examples:
      hcvae import recordings/ --out results/table.parquet
      hcvae import recordings/ --out results/table.parquet --dry-run
      hcvae import *.TXT --out results/table.parquet --value species=human --value "level_reference=dB nHL"
      hcvae import rig.mat --out results/table.parquet --map signal=waves --map sampling_rate_hz=rig.fs
      hcvae import two-channels.TXT --out results/table.parquet --map signal=1
      hcvae import traces.csv --out results/table.parquet --map layout=columns --map time_unit=us
      hcvae import session.edf --out results/table.parquet --map "stimulus_level_db=(\\d+) dB" --block-sweeps 1000
    """

    files: CliPositionalArg[list[str]]
    """Files or folders."""
    out: str
    """The Parquet file to write."""
    format: str | None = None
    """Format of all files. Default: detected from the content of each."""
    map: list[str] = Field([])
    """COLUMN=NAME: the name that the files use for a column; repeat for more columns. These names control how files are
    read: signal, channel, layout, sheet, unit, time_unit, rate_unit. See docs/import-binary-formats.md."""
    value: list[str] = Field([])
    """COLUMN=VALUE: the value for all waveforms, which overrides the files; null for none. Repeat for more columns."""
    subject: str | None = None
    """Subject of all files; written as a pseudonym."""
    key: str | None = None
    """File with the secret key of the pseudonyms; created if missing. Default: hcvae/pseudonyms.key in your
    configuration folder (~/.config)."""
    subject_list: str | None = None
    """CSV file to list each file with the pseudonyms of its subjects, readable by you alone. It is not part of the
    table: keep it secret, as file names can contain names of patients."""
    samples: int = Field(200, ge=2, le=100_000)
    """Samples per waveform."""
    rate_hz: float = Field(20_000.0, gt=0, le=1e6)
    """Sampling rate of the table in Hz."""
    start_ms: float = Field(0.0, ge=-1000, le=1000)
    """Time of the first sample after stimulus onset."""
    band_hz: tuple[float, float] | Literal["usual"] | None = "usual"
    """Zero-phase band-pass filter, such as 100,3000; null for none. usual: that of the format (docs/import.md)."""
    invert: bool = False
    """Invert the polarity of all recordings, if electrodes were exchanged: vertex-positive must be up."""
    reject_before_uv: float | Literal["usual"] | None = "usual"
    """Reject single sweeps that exceed this before the filter; null for none."""
    reject_after_uv: float | Literal["usual"] | None = "usual"
    """Reject single sweeps that exceed this after the filter; null for none."""
    block_sweeps: list[int] = Field([])
    """Number of consecutive sweeps in each independent average; several numbers (8 16 32, or 8,16,32) are used in turn.
    Default: that of the format."""
    max_residual_noise_uv: float | None = Field(None, gt=0)
    """Leave out waveforms with a larger estimated noise."""
    max_artifact_share: float | None = Field(None, ge=0, le=1)
    """Leave out recordings of which the device rejected a larger fraction of the sweeps."""
    licence: str | None = None
    """Licence of the recordings, for the cards of models trained on the table."""
    hide_names: bool = False
    """Call the files `file 1`, `file 2`, ... in all messages, because file names can contain names of patients."""
    dry_run: bool = False
    """Read everything and report, but write nothing."""

    @field_validator("band_hz", "reject_before_uv", "reject_after_uv", mode="before")
    @classmethod
    def _numbers_null_or_usual(cls, given: Any, info: ValidationInfo) -> Any:
        """Parse a word, a number or two numbers; each can come as a list."""
        from hcvae.importers.columns import as_number

        texts = given if isinstance(given, list | tuple) else [given]
        if len(texts) == 1 and str(texts[0]).lower() in ("null", "none"):
            return None
        if texts == [USUAL]:
            return USUAL
        numbers = [as_number(text) or 0.0 for text in texts]
        if info.field_name == "band_hz":
            if len(numbers) != 2 or not 0 < numbers[0] < numbers[1]:
                raise ValueError("must be two rising frequencies above 0, such as 100,3000; null for none; or usual")
            return tuple(numbers)
        if len(numbers) != 1 or not numbers[0] > 0:
            raise ValueError("must be a number of uV above 0; null for none; or usual")
        return numbers[0]

    @field_validator("out")
    @classmethod
    def _is_parquet(cls, out: str) -> str:
        if not out.lower().endswith(".parquet"):
            raise ValueError("the name must end in .parquet")
        return out

    @field_validator("block_sweeps")
    @classmethod
    def _positive(cls, blocks: list[int]) -> list[int]:
        if blocks and min(blocks) < 2:
            raise ValueError("must be numbers of 2 or more sweeps")
        return blocks


def run(arguments: Sequence[str]) -> int:
    """Run the command."""
    command = command_line.parse(Import, _quoted(arguments))
    from hcvae.importers import pseudonyms
    from hcvae.importers.importing import table_of
    from hcvae.importers.notes import notes_on_all, shown_names

    console = Console(highlight=False)
    options = _import_options(command)
    key_file = Path(command.key) if command.key else pseudonyms.default_key_file()
    if not command.dry_run:
        _check_out(command, key_file)
    key, is_new = pseudonyms.key_in(key_file, keep=not command.dry_run)
    files = _files(command, options, console)
    with line_a_minute(console, lambda: f"reading {counted(len(files), 'file')}"):
        results = _read_all(command, files, options, console)
    table = table_of(results, options, key)
    names = shown_names(results, hide_names=command.hide_names)
    for note in notes_on_all(results, options, key, names):
        print_line(console, note)
    if command.dry_run:
        print_line(
            console, f"dry run: nothing written; {counted(table.num_rows, 'waveform')} would be in {command.out}"
        )
    else:
        if is_new:
            pseudonyms.write_key(key, key_file)
            line = f"new key of the pseudonyms: {key_file}; keep it, and keep it secret"
            print_line(console, line)
        _write(table, command, results, names, console)
    if any(result.error or not result.rows for result in results):
        return PARTLY
    return 0


def _check_out(command: Import, key_file: Path) -> None:
    """Check that the files to write can be written, and that none is in the place of another."""
    check_output_file("--out", command.out, [key_file])
    listed = command.subject_list
    if listed is not None:
        if not listed.lower().endswith(".csv"):
            raise UserError(f"--subject-list: the name must end in .csv, but got {listed!r}")
        check_output_file("--subject-list", listed, [key_file])


def _write(
    table: "pa.Table", command: Import, results: Sequence["FileResult"], names: Sequence[str], console: Console
) -> None:
    """Write the table and the list of its subjects, and report the table's problems and the next command."""
    from hcvae import inspection
    from hcvae.data.table import write_table
    from hcvae.importers.subject_list import files_in, write_subject_list
    from hcvae.inspection import report

    out = command.out
    write_table(table, out)
    findings = inspection.find(inspection.Recordings.of(table, out))
    report.show_findings(findings, console)
    lines = files_in(" ".join(map(str, findings)), results, table, names)
    if command.subject_list is not None:
        write_subject_list(results, table, Path(command.subject_list))
        lines.append(f"files and pseudonyms of their subjects listed in {command.subject_list}; keep it secret")
    subjects = len(table["subject_id"].unique())
    lines.append(f"{counted(table.num_rows, 'waveform')} of {counted(subjects, 'subject')} written to {out}")
    lines.append(f"next: {shlex.join(['hcvae', 'inspect', out])}")
    for line in lines:
        print_line(console, line)


def _quoted(arguments: Sequence[str]) -> list[str]:
    """Quote file names and single pairs that pydantic-settings would split, such as at commas."""
    quoted: list[str] = []
    for before, argument in zip(["", *arguments], arguments, strict=False):
        option = before
        text = argument
        if argument.startswith(("--map=", "--value=")):
            option, text = argument.split("=", 1)
        is_pair = option in ("--map", "--value") and not _are_pairs(text)
        is_file = text == argument and os.path.exists(text) and (before[:2] != "--" or before in FLAGS)
        if (is_pair or is_file) and LIST_SYNTAX.search(text) and '"' not in text:
            argument = argument.removesuffix(text) + f'"{text}"'
        quoted.append(argument)
    return quoted


def _are_pairs(text: str) -> bool:
    return all(map(PAIR.match, text.split(",")))


def _files(command: Import, options: "ImportOptions", console: Console) -> list[Path]:
    """Return the files to read, after a check that some of them use each mapping."""
    from hcvae.importers import mappings
    from hcvae.importers.files import files_in
    from hcvae.importers.registry import format_named, formats_of

    def note(text: str) -> None:
        print_line(console, f"note: {text}")

    given = list(map(Path, command.files))
    files, companions = files_in(given, Path(command.out), note)
    formats = [format_named(options.format)] if options.format else formats_of(files)
    mappings.check_use(options.mapping, formats)
    if command.subject_list is not None:
        check_output("--subject-list", command.subject_list, files)
    if companions:
        text = "not read alone: they belong to other files (data, markers, events, analysed peaks)"
        print_line(console, f"{counted(len(companions), 'companion file')} {text}")
    return files


def _import_options(command: Import) -> "ImportOptions":
    from hcvae.importers import mappings
    from hcvae.importers.file_result import ImportOptions
    from hcvae.importers.registry import format_named
    from hcvae.importers.steps import Grid, Steps

    if command.format is not None:
        format_named(command.format)
    mapping = _pairs("--map", command.map)
    values = _column_values(command.value)
    mappings.check_names(mapping)
    steps = Steps(
        grid=Grid(command.samples, command.rate_hz, command.start_ms),
        band_hz=command.band_hz,
        invert=command.invert,
        reject_before_uv=command.reject_before_uv,
        reject_after_uv=command.reject_after_uv,
        block_sweeps=tuple(command.block_sweeps) or "usual",
    )
    return ImportOptions(
        steps=steps,
        format=command.format,
        mapping=mapping,
        values=values,
        subject=command.subject,
        max_residual_noise_uv=command.max_residual_noise_uv,
        max_artifact_share=command.max_artifact_share,
        licence=command.licence,
    )


def _column_values(texts: Sequence[str]) -> dict[str, "CellValue"]:
    from hcvae.importers.columns import SCALARS, SUBJECT, as_number, other_name
    from hcvae.importers.values import OPTION, check_band, column_value

    values = {}
    for name, text in _pairs(OPTION, texts).items():
        if name not in SCALARS:
            hint = other_name(name, [*SCALARS])
            if name == SUBJECT:
                hint = "; use --subject"
            raise UserError(f"{OPTION} {name}: no such column{hint}")
        number = as_number(text)
        value: CellValue = number
        if text.lower() == "null":
            value = None
        elif number is None:
            value = text
        values[name] = column_value(name, value, OPTION)
    check_band(values, OPTION)
    return values


def _pairs(option: str, texts: Sequence[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or not value or name in pairs:
            right_side = "NAME"
            if option == "--value":
                right_side = "VALUE"
            raise UserError(f"{option}: must be COLUMN={right_side}, each column once")
        pairs[name] = value
    return pairs


def _read_all(command: Import, files: Sequence[Path], options: "ImportOptions", console: Console) -> list["FileResult"]:
    """Read the files, and print what each of them holds."""
    from rich.progress import track

    from hcvae.importers.copies import Copies
    from hcvae.importers.importing import read_file

    results: list[FileResult] = []
    copies = Copies()
    for number, path in enumerate(track(files, "reading", console=console, transient=True), start=1):
        result = read_file(path, options)
        if result.error is None:
            copies.check(result, number)
        results.append(result)
        for line in _lines_of(result, number, command.hide_names):
            print_line(console, line)
    return results


def _lines_of(result: "FileResult", number: int, hide_names: bool) -> list[str]:
    from hcvae.importers.notes import without_names

    def shown(message: str) -> str:
        if hide_names:
            return without_names(message, result.path, number)
        return message

    name = str(result.path)
    if hide_names:
        name = f"file {number}"
    if result.error is not None:
        return [f"left out: {shown(result.error)}"]
    lines = [
        f"{name}: {result.format}, {counted(result.recordings, 'recording')}, {counted(len(result.rows), 'waveform')}"
    ]
    lines += [f"  {count} left out: {reason}" for reason, count in sorted(result.left_out.items())]
    for note, count in result.notes.items():
        line = f"  note: {shown(note)}"
        if count > 1:
            line += f" ({count} times)"
        lines.append(line)
    return lines
