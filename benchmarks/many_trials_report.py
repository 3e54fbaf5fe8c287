"""Rows and tables of benchmarks.many_trials."""

from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.many_trials_clock import PARTS, Times
from benchmarks.pages import replace_table
from hcvae.config import Section

Snapshot = tuple[int, float, float, Times, float, float]
"""Ended trials; seconds; seconds of the process's CPU; times by part; resident and database MiB."""


class Row(Section):
    """Some consecutive trials of a search. Times are milliseconds a trial."""

    trials: int
    """Trials that had ended after the last of them."""
    wall_ms: dict[str, float]
    """Of the driver's main thread, by part."""
    cpu_ms: dict[str, float]
    """Its CPU time, by part."""
    process_cpu_ms: float
    """CPU time of all of the driver's threads."""
    elapsed_ms: float
    """Of the search, trials and waiting included."""
    resident_mib: float
    """Memory of the driver after the last of them."""
    database_mib: float
    """Size of the database after the last of them."""
    start_ms: tuple[float, float, float]
    """From the hand-out to the first step: median, 95th percentile, largest."""

    @classmethod
    def between(cls, before: Snapshot, after: Snapshot, starts: Sequence[float]) -> "Row":
        """Return what happened between two snapshots, with the seconds that the trials took to start."""
        n = after[0] - before[0]
        wall_ms: dict[str, float] = {}
        cpu_ms: dict[str, float] = {}
        for part, (wall, cpu) in after[3].items():
            wall_before, cpu_before = before[3].get(part, (0, 0))
            wall_ms[part] = 1000 * (wall - wall_before) / n
            cpu_ms[part] = 1000 * (cpu - cpu_before) / n
        ordered = sorted(starts)
        largest = ordered[int(0.95 * (len(ordered) - 1))], ordered[-1]
        return cls(
            trials=after[0],
            wall_ms=wall_ms,
            cpu_ms=cpu_ms,
            process_cpu_ms=1000 * (after[2] - before[2]) / n,
            elapsed_ms=1000 * (after[1] - before[1]) / n,
            resident_mib=after[4],
            database_mib=after[5],
            start_ms=(1000 * median(ordered), 1000 * largest[0], 1000 * largest[1]),
        )

    @staticmethod
    def own(spent: dict[str, float]) -> float:
        """Return the driver's own share of `wall_ms` or `cpu_ms`: all parts but the sampler."""
        return sum(spent.get(part, 0) for part in PARTS if part != "sampler")


class Run(Section):
    """One search."""

    name: str
    machine: str
    revision: str
    rows: tuple[Row, ...]


def write_report(page: Path, results: Path) -> None:
    """Replace the tables of all recorded searches in `page`."""
    text = page.read_text()
    for run in map(Run.model_validate_json, results.read_text().splitlines()):
        text = replace_table(text, run.name, table(run))
    page.write_text(text)


def table(run: Run) -> str:
    """Return a table with a row for each of up to ten stretches of the search, and the machine."""
    lines = [
        f"| trials | {' | '.join(PARTS)} | all but the sampler | the same, wall | whole process | memory, MiB | "
        "database, MiB | to the first step, ms: median (95 %, largest) |",
        "| --- |" + " --- |" * (len(PARTS) + 6),
    ]
    every = run.rows[0].trials
    for row in _spread(run.rows):
        parts = [row.cpu_ms.get(part, 0) for part in PARTS]
        cells = [f"{time:.1f}" for time in (*parts, row.own(row.cpu_ms), row.own(row.wall_ms), row.process_cpu_ms)]
        middle, high, largest = row.start_ms
        lines.append(
            f"| {row.trials - every + 1} to {row.trials} | {' | '.join(cells)} | {row.resident_mib:.0f} | "
            f"{row.database_mib:.1f} | {middle:.0f} ({high:.0f}, {largest:.0f}) |"
        )
    return "\n".join([*lines, "", f"Revision {run.revision[:12]}, {run.machine}."])


def _spread(rows: Sequence[Row], most: int = 10) -> list[Row]:
    """Return up to `most` rows, evenly spaced, with the first and the last."""
    if len(rows) <= most:
        return list(rows)
    return [rows[round(index * (len(rows) - 1) / (most - 1))] for index in range(most)]
