"""Tables of docs/science.md from the records of `benchmarks.science`."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks import records
from benchmarks.pages import replace_table, spread
from benchmarks.records import Record
from hcvae.atomic import atomic_write

COLUMNS = {
    "r2": "R2",
    "reconstruction_nmse": "NMSE",
    "cross_average_nmse": "NMSE, other average",
    "disentanglement": "swap score",
    "j_gt": "J_gt",
    "coverage_features": "coverage",
    "level_ratio": "TSTR / TRTR, level",
    "wave_v_difference_ms": "wave V, ms off",
    "global_active_units": "active global",
    "local_active_units": "active local",
}
PEAKS = {f"peak_latency_error_ms_{wave}": f"wave {wave}" for wave in ("I", "III", "V")}


def write_report(results: Path, page: Path) -> None:
    """Replace the tables of each group of records in `page`."""
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records.read(results).values():
        groups[record["group"]].append(record)
    text = page.read_text()
    for group, found in groups.items():
        text = replace_table(text, group, table(found, COLUMNS))
        text = replace_table(text, f"{group} peaks", table(found, PEAKS))
        text = replace_table(text, f"{group} cost", cost(found))
    with atomic_write(page) as temporary:
        temporary.write_text(text)


def table(found: Sequence[Record], columns: Mapping[str, str]) -> str:
    """Return a table with a row a model: mean and standard deviation over the seeds; baselines below, measured once."""
    by_name: dict[str, list[Record]] = defaultdict(list)
    for record in found:
        by_name[record["name"]].append(record)
    rows = [(f"{name} ({len(runs)})", list(map(measures, runs))) for name, runs in by_name.items()]
    for record in found:
        rows += [(name, [measures(baseline)]) for name, baseline in record.get("baselines", {}).items()]
    measured = set().union(*(run for _, runs in rows for run in runs))
    shown = [name for name in columns if name in measured]
    lines = [
        f"| model (seeds) | {' | '.join(columns[name] for name in shown)} |",
        f"| --- |{' --- |' * len(shown)}",
    ]
    for title, runs in rows:
        cells = []
        for name in shown:
            cells.append(spread([run[name] for run in runs if name in run]))
        if any(cell != "-" for cell in cells):
            lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def cost(found: Sequence[Record]) -> str:
    """Return a table of parameters and time of training, by model."""
    by_name: dict[str, list[Record]] = defaultdict(list)
    for record in found:
        by_name[record["name"]].append(record)
    lines = ["| model | parameters | s an epoch |", "| --- | --- | --- |"]
    for name, runs in by_name.items():
        seconds = [run["train_seconds"] / run["epochs"] for run in runs]
        lines.append(f"| {name} | {runs[0]['parameters']:,} | {spread(seconds)} |")
    machines = {(run["machine"], run["threads"]) for run in found}
    lines += ["", *(f"Measured on {where}, {threads} thread(s) a training." for where, threads in sorted(machines))]
    return "\n".join(lines)


def measures(found: Record) -> dict[str, float]:
    """Return the measures of a record, and the R2 of training on synthetic waveforms over that of real ones."""
    values: dict[str, float] = dict(found["measures"])
    if values.get("level_r2_real", 0) > 0 and "level_r2_synthetic" in values:
        values["level_ratio"] = values["level_r2_synthetic"] / values["level_r2_real"]
    return values
