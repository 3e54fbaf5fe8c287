"""Results of an inspection, as tables and lines for the terminal."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from hcvae.counting import counted
from hcvae.finding import Finding
from hcvae.inspection.reliability import Agreement
from hcvae.inspection.summary import ColumnSummary, Summary
from hcvae.terminal import TerminalTable, print_line

if TYPE_CHECKING:
    from hcvae.inspection.bundle import BundleSummary
    from hcvae.inspection.trainability import Trainability

MAX_SUBJECTS = 8
"""Subjects with a column each in the table of levels."""


def tables_of(summary: Summary, agreement: Sequence[Agreement]) -> Iterator[TerminalTable]:
    """Yield tables of the columns, rows by level and subject, and agreement of independent averages."""
    yield columns_of(summary.columns)
    if summary.rows_by_level:
        yield _levels(summary)
    if agreement:
        yield _agreement(agreement)


def columns_of(columns: Sequence[ColumnSummary]) -> TerminalTable:
    """Return a table of columns with one value per row."""
    table = TerminalTable("Columns", ("column", "type", "missing", "distinct", "range or values"))
    for column in columns:
        table.rows.append((column.name, column.type, str(column.missing or ""), str(column.distinct), column.values))
    return table


def head_of(summary: Summary) -> str:
    """Return a paragraph on the size of a table and its waveforms."""
    peaks = ", ".join(f"{wave} {count}" for wave, count in summary.labelled_peaks.items()) or "no peak columns"
    waveforms = f"{counted(summary.rows, 'waveform')} of {counted(summary.subjects, 'subject')}"
    return f"{waveforms}, {size_of(summary)}\nlabelled peaks: {peaks}"


def size_of(summary: Summary) -> str:
    """Return length, duration and amplitudes of the waveforms."""
    amplitudes = "no finite waveform"
    if summary.rms_uv:
        peak_to_peak = _spread(summary.peak_to_peak_uv)
        amplitudes = f"RMS {_spread(summary.rms_uv)} uV, peak to peak {peak_to_peak} uV (median, 5 to 95 %)"
    return f"{summary.samples} samples at {summary.sampling_rate_hz:g} Hz ({summary.duration_ms:g} ms)\n{amplitudes}"


def tables_of_bundle(summary: "BundleSummary") -> Iterator[TerminalTable]:
    """Yield tables of the conditions and the metrics."""
    from hcvae.inspection.bundle import reported

    conditions = TerminalTable("Conditions", ("condition", "kind", "trained on"))
    for condition in summary.conditions:
        trained_on = condition.trained_on
        if condition.nulls:
            trained_on += ", or null"
        conditions.rows.append((condition.name, condition.kind, trained_on))
    yield conditions
    parts = {"validation": summary.metrics["validation"], "test": summary.metrics["test"]}
    metrics = TerminalTable("Metrics", ("metric", *parts))
    for meaning, values in reported(parts):
        metrics.rows.append((meaning, *values))
    yield metrics


def head_of_bundle(summary: "BundleSummary") -> str:
    """Return a paragraph on a model and its training."""
    latents = ", ".join(f"z_{block} {dim}" for block, dim in summary.latent_dims.items())
    scales: list[str] = []
    for name, (mean, std) in summary.scales_uv.items():
        scale = f"mean {mean:.3g}, standard deviation {std:.3g}"
        if name:
            scale = f"{name}: {scale}"
        scales.append(scale)
    return (
        f"{summary.model_type} conditional VAE, {summary.parameters:,} parameters, latents {latents}\n"
        f"waveforms of {summary.samples} samples at {summary.sampling_rate_hz:g} Hz; "
        f"in training, uV: {', '.join(scales)}\n"
        f"labelled waves: {', '.join(summary.labelled_waves) or 'none'}\n"
        f"trained on {summary.data}, {counted(summary.epochs, 'epoch')}"
    )


def show_findings(findings: Sequence[Finding], console: Console) -> None:
    """Print each problem with its evidence and what to do."""
    for finding in findings:
        console.print(
            f"[yellow]warning: {escape(finding.trouble)}[/yellow]: {escape(finding.evidence)}",
            highlight=False,
            soft_wrap=True,
        )
        console.print(f"  what to do: {escape(finding.remedy)}", highlight=False, soft_wrap=True)
    if not findings:
        console.print("[green]no problems found[/green]", highlight=False)


def show_trainability(ready: "Trainability", console: Console) -> None:
    """Print the commands for a training and a search on the table, or what is missing for them."""
    if ready.untrainable is not None:
        lines = [f"not ready for training: {ready.untrainable}"]
    else:
        notes = (*ready.parts, *ready.averages)
        state = "ready for training"
        if any(note.startswith("warning") for note in notes):
            state = "ready for training, but read the warning"
        lines = [f"{state}: python -m jobs.train {ready.options} --out results/trained", f"  {ready.split}"]
        lines += _indented(notes)
        if ready.unsearchable is None:
            lines.append(f"ready for a search: python -m jobs.search {ready.options}")
        else:
            lines += [f"not ready for a search: {ready.unsearchable}", f"  what to do: {ready.remedy}"]
    if ready.usable:
        lines.append(f"other columns that --data.static may contain: {', '.join(ready.usable)}")
    if ready.incomplete:
        lines.append("not proposed for --data.static, because rows have no value:")
        lines += _indented(ready.incomplete)
    for line in lines:
        print_line(console, line)


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _levels(summary: Summary) -> TerminalTable:
    """Return a table of the rows at each level, in total and, if there are few subjects, of each."""
    subjects = sorted(set().union(*summary.rows_by_level.values()))
    shown = []
    if len(subjects) <= MAX_SUBJECTS:
        shown = subjects
    table = TerminalTable("Rows by level", ("level, dB", "rows", "subjects", *shown))
    for level, counts in summary.rows_by_level.items():
        own = [str(counts.get(subject, "")) for subject in shown]
        table.rows.append((level, str(sum(counts.values())), str(len(counts)), *own))
    return table


def _agreement(agreement: Sequence[Agreement]) -> TerminalTable:
    agreement_columns = ("correlation", "split-half", "Spearman-Brown", "noise, uV", "residual_noise_uv")
    headers = ("level, dB", "responses", "averages", *agreement_columns)
    table = TerminalTable("Independent averages of one response", headers)
    for row in agreement:
        table.rows.append(
            (
                _formatted(row.level_db, "g", missing="all"),
                str(row.responses),
                str(row.averages),
                f"{row.correlation:.2f}",
                f"{row.split_half:.2f}",
                _formatted(row.spearman_brown, ".2f"),
                f"{row.noise_uv:.3g}",
                _formatted(row.noise_column_uv, ".3g"),
            )
        )
    return table


def _formatted(value: float | None, spec: str, missing: str = "") -> str:
    if value is None:
        return missing
    return format(value, spec)


def _spread(percentiles: dict[str, float]) -> str:
    low, middle, high = percentiles.values()
    return f"{middle:.3g} ({low:.3g} to {high:.3g})"
