"""`hcvae inspect`: summary of a waveform table or a model bundle, and its problems."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field
from pydantic_settings import CliPositionalArg
from rich.console import Console

from hcvae import command_line
from hcvae.atomic import write_json
from hcvae.counting import counted
from hcvae.errors import UserError
from hcvae.outputs import check_figure, check_output_file
from hcvae.terminal import output_console, print_line

if TYPE_CHECKING:
    from hcvae.inspection import Recordings


class Inspect(command_line.Command):
    """Summarise a Parquet waveform table or a model bundle: counts, ranges, agreement of independent averages, warnings
    about problems, and whether the table is sufficient for a training and a search. The exit code is 0 also with
    warnings, 2 on bad input.

    examples:
      hcvae inspect recordings.parquet
      hcvae inspect recordings.parquet --figure results/grand-averages.png --json results/inspection.json
      hcvae inspect recordings.parquet --average-columns subject_id --average-columns stimulus_level_db
      hcvae inspect results/model
    """

    path: CliPositionalArg[str]
    """The table, or the bundle's folder."""
    as_json: str | None = Field(None, validation_alias="json")
    """File to write all results to, as JSON."""
    figure: str | None = Field(None)
    """PNG file for the grand averages of each level, one panel per stimulus; tables only."""
    subject_column: str = "subject_id"
    """Column with the subject's identifier; tables only."""
    average_columns: list[str] = Field([])
    """Columns that are equal in independent averages of one response; tables only. Default: all columns except those
    that differ between averages (record_id, recording_index, half, n_averages, n_artifacts, residual_noise_uv)."""
    sampling_rate_hz: float | None = Field(None, gt=0)
    """Sampling rate of a table whose metadata lack it."""


def run(arguments: Sequence[str]) -> int:
    """Run the command."""
    command = command_line.parse(Inspect, arguments)
    check_figure(command.figure, [command.path])
    if command.as_json is not None:
        check_output_file("--json", command.as_json, [command.path, command.figure])
    from hcvae.inspection.generated import is_generated

    console = output_console()
    inspect = _inspect_table
    if Path(command.path).is_dir():
        inspect = _inspect_bundle
    elif is_generated(command.path):
        inspect = _inspect_generated
    content = inspect(command, console)
    if command.as_json is not None:
        write_json(content, command.as_json)
        print_line(console, f"results in {command.as_json}")
    return 0


def _inspect_table(command: Inspect, console: Console) -> dict[str, Any]:
    from hcvae import inspection
    from hcvae.inspection import report
    from hcvae.inspection.trainability import trainability

    recordings = inspection.read(
        command.path, command.subject_column, command.average_columns or None, command.sampling_rate_hz
    )
    summary = inspection.summarise(recordings)
    agreement = inspection.agreement_by_level(recordings)
    findings = inspection.find(recordings)
    print_line(console, f"{command.path}: {report.head_of(summary)}")
    for table in report.tables_of(summary, agreement):
        console.print(table)
    if not agreement:
        columns = ", ".join(recordings.average_columns)
        line = f"no independent averages: no two rows agree in {columns}"
        print_line(console, line)
    report.show_findings(findings, console)
    ready = trainability(recordings, command.subject_column, command.average_columns or None, command.sampling_rate_hz)
    report.show_trainability(ready, console)
    if command.figure is not None:
        _save_figure(recordings, command.figure, console)
    return {
        "table": command.path,
        "summary": asdict(summary),
        "average_columns": recordings.average_columns,
        "independent_averages": list(map(asdict, agreement)),
        "findings": list(map(asdict, findings)),
        "training": asdict(ready),
    }


def _inspect_generated(command: Inspect, console: Console) -> dict[str, Any]:
    from hcvae.inspection import report, summarise
    from hcvae.inspection.generated import SUBJECT, origin, read_generated

    for name in ("subject_column", "average_columns", "sampling_rate_hz"):
        if name in command.model_fields_set:
            option = command_line.kebab_case(name)
            raise UserError(f"--{option}: is for recordings, but {command.path} has generated waveforms; leave it out")
    recordings = read_generated(command.path)
    summary = summarise(recordings)
    columns = [column for column in summary.columns if column.name != SUBJECT]
    size = f"{counted(summary.rows, 'waveform')}, {report.size_of(summary)}"
    for line in (f"{command.path}: {origin(recordings)}", size):
        print_line(console, line)
    console.print(report.columns_of(columns))
    if command.figure is not None:
        _save_figure(recordings, command.figure, console)
    content = asdict(summary) | {"columns": list(map(asdict, columns))}
    return {"table": command.path, "origin": origin(recordings), "summary": content}


def _save_figure(recordings: "Recordings", path: str, console: Console) -> None:
    from hcvae.inspection.figure import grand_averages, not_plotted
    from hcvae.plots import save_figure

    save_figure(grand_averages(recordings), path)
    for line in (f"grand averages plotted in {path}", *not_plotted(recordings)):
        print_line(console, line)


def _inspect_bundle(command: Inspect, console: Console) -> dict[str, Any]:
    if command.figure is not None:
        raise UserError(f"--figure: is for waveform tables, but {command.path} is a folder; see hcvae evaluate")
    from hcvae.bundle import load
    from hcvae.inspection import report
    from hcvae.inspection.bundle import find_in_bundle, summarise_bundle

    bundle = load(command.path)
    summary = summarise_bundle(bundle)
    findings = find_in_bundle(bundle)
    print_line(console, f"{command.path}: {report.head_of_bundle(summary)}")
    for table in report.tables_of_bundle(summary):
        console.print(table)
    report.show_findings(findings, console)
    return {
        "bundle": command.path,
        "summary": asdict(summary),
        "findings": list(map(asdict, findings)),
    }
