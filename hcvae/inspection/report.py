"""What was found, as tables for the terminal."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from hcvae.finding import Finding
from hcvae.inspection.reliability import Agreement
from hcvae.inspection.summary import Summary
from hcvae.terminal import TerminalTable

if TYPE_CHECKING:
    from hcvae.inspection.bundle import BundleSummary
    from hcvae.inspection.trainability import Trainability

MAX_SUBJECTS = 8


def tables_of(summary: Summary, agreement: Sequence[Agreement]) -> Iterator[TerminalTable]:
    """Columns, rows by level and subject, and agreement of independent averages."""
    columns = TerminalTable("Columns", ("column", "type", "missing", "distinct", "range or values"))
    for column in summary.columns:
        counts = str(column.missing or ""), str(column.distinct)
        columns.rows.append((column.name, column.type, *counts, column.values))
    yield columns
    if summary.rows_by_level:
        yield _levels(summary)
    if agreement:
        yield _agreement(agreement)


def head_of(summary: Summary) -> str:
    """One paragraph."""
    sizes = (
        f"RMS {_spread(summary.rms_uv)} uV, peak to peak {_spread(summary.peak_to_peak_uv)} uV (median, 5 to 95 %)"
        if summary.rms_uv
        else "no finite waveform"
    )
    peaks = ", ".join(f"{wave} {count}" for wave, count in summary.labelled_peaks.items()) or "no peak columns"
    return (
        f"{summary.rows} waveforms of {summary.subjects} subjects, {summary.samples} samples at "
        f"{summary.sampling_rate_hz:g} Hz ({summary.duration_ms:g} ms)\n{sizes}\nlabelled peaks: {peaks}"
    )


def tables_of_bundle(summary: "BundleSummary") -> Iterator[TerminalTable]:
    """Conditions and metrics."""
    from hcvae.inspection.bundle import reported

    conditions = TerminalTable("Conditions", ("condition", "kind", "trained on"))
    for condition in summary.conditions:
        nulls = ", or null" if condition.nulls else ""
        conditions.rows.append((condition.name, condition.kind, condition.trained_on + nulls))
    yield conditions
    parts = {name: summary.metrics[name] for name in ("validation", "test")}
    metrics = TerminalTable("Metrics", ("metric", *parts))
    for meaning, values in reported(parts):
        metrics.rows.append((meaning, *values))
    yield metrics


def head_of_bundle(summary: "BundleSummary") -> str:
    """One paragraph."""
    latents = ", ".join(f"z_{block} {dim}" for block, dim in summary.latent_dims.items())
    scales = ", ".join(
        f"{name + ': ' if name else ''}mean {mean:.3g}, standard deviation {std:.3g}"
        for name, (mean, std) in summary.scales_uv.items()
    )
    return (
        f"{summary.model_type} conditional VAE, {summary.parameters:,} parameters, latents {latents}\n"
        f"waveforms of {summary.samples} samples at {summary.sampling_rate_hz:g} Hz; in training, uV: {scales}\n"
        f"labelled waves: {', '.join(summary.labelled_waves) or 'none'}\n"
        f"trained on {summary.data}, {summary.epochs} epochs"
    )


def show_findings(findings: Sequence[Finding], console: Console) -> None:
    """Each one with its evidence and what to do."""
    for finding in findings:
        console.print(
            f"[yellow]warning: {escape(finding.trouble)}[/yellow]: {escape(finding.evidence)}",
            highlight=False,
            soft_wrap=True,
        )
        console.print(f"  what to do: {escape(finding.remedy)}", highlight=False, soft_wrap=True)
    if not findings:
        console.print("[green]nothing looks wrong[/green]", highlight=False)


def show_trainability(ready: "Trainability", console: Console) -> None:
    """Whether the table can be trained on and searched on: the commands, or what is missing."""
    if ready.untrainable is not None:
        lines = [f"cannot be trained on: {ready.untrainable}"]
    else:
        lines = [f"can be trained on: python -m jobs.train {ready.options} --out results/model", f"  {ready.split}"]
        if ready.unsearchable is None:
            lines.append(f"can be searched on: python -m jobs.search {ready.options}")
        else:
            lines += [f"cannot be searched on as it is: {ready.unsearchable}", f"  what it takes: {ready.remedy}"]
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _levels(summary: Summary) -> TerminalTable:
    """Rows of each subject at each level, or of all where the subjects are many."""
    subjects = sorted({subject for counts in summary.rows_by_level.values() for subject in counts})
    shown = subjects if len(subjects) <= MAX_SUBJECTS else []
    table = TerminalTable("Rows by level", ("level, dB", "rows", "subjects", *shown))
    for level, counts in summary.rows_by_level.items():
        own = (str(counts.get(subject, "")) for subject in shown)
        table.rows.append((level, str(sum(counts.values())), str(len(counts)), *own))
    return table


def _agreement(agreement: Sequence[Agreement]) -> TerminalTable:
    counts, agree = ("responses", "averages"), ("correlation", "split-half", "Spearman-Brown")
    noise = ("noise, uV", "residual_noise_uv")
    table = TerminalTable("Independent averages of one response", ("level, dB", *counts, *agree, *noise))
    for row in agreement:
        table.rows.append(
            (
                "all" if row.level_db is None else f"{row.level_db:g}",
                str(row.responses),
                str(row.averages),
                f"{row.correlation:.2f}",
                f"{row.split_half:.2f}",
                "" if row.spearman_brown is None else f"{row.spearman_brown:.2f}",
                f"{row.noise_uv:.3g}",
                "" if row.noise_column_uv is None else f"{row.noise_column_uv:.3g}",
            )
        )
    return table


def _spread(percentiles: dict[str, float]) -> str:
    low, middle, high = percentiles.values()
    return f"{middle:.3g} ({low:.3g} to {high:.3g})"
