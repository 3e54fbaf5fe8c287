"""`hcvae inspect`: what a waveform table or a model bundle holds, and what in it looks wrong."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import Field
from pydantic_settings import CliPositionalArg
from rich.console import Console

from hcvae import command_line
from hcvae.atomic import write_json
from hcvae.errors import UserError


class Inspect(command_line.Command):
    """Tell what a Parquet waveform table or a model bundle holds: counts, ranges, how well independent averages agree,
    warnings where something looks wrong, and whether the table can be trained and searched on. The exit code is 0 also
    where there are warnings, 2 on bad input.

    examples:
      hcvae inspect recordings.parquet
      hcvae inspect recordings.parquet --figure results/grand-averages.png --json results/inspection.json
      hcvae inspect recordings.parquet --average-columns subject_id --average-columns stimulus_level_db
      hcvae inspect results/model
    """

    path: CliPositionalArg[str]
    """The table, or the bundle's folder."""
    as_json: str | None = Field(None, validation_alias="json")
    """File to write everything to, as JSON."""
    figure: str | None = Field(None)
    """PNG to draw the grand averages of each level to, a panel for each stimulus; tables only."""
    subject_column: str = "subject_id"
    """Column that names the subject; tables only."""
    average_columns: list[str] = Field([])
    """Rows that agree in these are independent averages of one response; tables only. Default: all columns but those
    that differ between averages (record_id, recording_index, half, n_averages, n_artifacts, residual_noise_uv)."""
    sampling_rate_hz: float | None = Field(None, gt=0)
    """Sampling rate of a table whose metadata do not say it."""


def run(arguments: Sequence[str]) -> int:
    """Run the command."""
    command = command_line.parse(Inspect, arguments)
    console = Console()
    content = _bundle(command, console) if Path(command.path).is_dir() else _table(command, console)
    if command.as_json is not None:
        write_json(content, command.as_json)
        console.print(f"all of it in {command.as_json}", highlight=False)
    return 0


def _table(command: Inspect, console: Console) -> dict[str, Any]:
    from hcvae import inspection
    from hcvae.inspection import report
    from hcvae.inspection.trainability import trainability

    recordings = inspection.read(
        command.path, command.subject_column, command.average_columns or None, command.sampling_rate_hz
    )
    summary = inspection.summarise(recordings)
    agreement = inspection.agreement_by_level(recordings)
    findings = inspection.find(recordings)
    console.print(f"{command.path}: {report.head_of(summary)}", highlight=False, markup=False)
    for table in report.tables_of(summary, agreement):
        console.print(table)
    if not agreement:
        columns = ", ".join(recordings.average_columns)
        console.print(f"No independent averages: no two rows agree in {columns}", highlight=False, markup=False)
    report.show_findings(findings, console)
    ready = trainability(recordings, command.subject_column, command.average_columns or None, command.sampling_rate_hz)
    report.show_trainability(ready, console)
    if command.figure is not None:
        from hcvae.inspection.figure import grand_averages, not_plotted
        from hcvae.plots import save_figure

        save_figure(grand_averages(recordings), command.figure)
        for line in (f"grand averages drawn to {command.figure}", *not_plotted(recordings)):
            console.print(line, highlight=False, markup=False, soft_wrap=True)
    return {
        "table": command.path,
        "summary": asdict(summary),
        "average_columns": recordings.average_columns,
        "independent_averages": [asdict(row) for row in agreement],
        "findings": [asdict(finding) for finding in findings],
        "training": asdict(ready),
    }


def _bundle(command: Inspect, console: Console) -> dict[str, Any]:
    if command.figure is not None:
        raise UserError(f"--figure: draws waveform tables, but {command.path} is a folder; see hcvae evaluate")
    from hcvae.bundle import load
    from hcvae.inspection import report
    from hcvae.inspection.bundle import find_in_bundle, summarise_bundle

    bundle = load(command.path)
    summary, findings = summarise_bundle(bundle), find_in_bundle(bundle)
    console.print(f"{command.path}: {report.head_of_bundle(summary)}", highlight=False, markup=False)
    for table in report.tables_of_bundle(summary):
        console.print(table)
    report.show_findings(findings, console)
    return {
        "bundle": command.path,
        "summary": asdict(summary),
        "findings": [asdict(finding) for finding in findings],
    }
