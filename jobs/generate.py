"""`python -m jobs.generate`: millions of waveforms from a bundle, on all CPUs of a Ray cluster."""

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pydantic import Field
from pydantic_settings import CliPositionalArg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hcvae import command_line
from hcvae.counting import counted
from hcvae.outputs import check_output
from hcvae.poor_reconstruction import reconstruction_warning
from hcvae.progress_lines import line_a_minute
from hcvae.terminal import print_line
from jobs.arguments import lasting, main, start

if TYPE_CHECKING:
    from hcvae.data.preprocessing import ConditionValue
    from hcvae.storage import StoragePath
    from jobs.bulk_generation import BulkRequest


class GenerateCommand(command_line.Command):
    """Generate waveforms with a model bundle into a folder of Parquet files. The same command continues an interrupted
    one; the files are the same for any number of workers. For a single file: hcvae generate.

    examples:
      python -m jobs.generate results/model --condition stimulus_level_db=60 --samples 1000000 --out results/at-60-dB
      python -m jobs.generate results/model --condition stimulus_level_db=20:80:10 --condition sex=M --out results/many
      python -m jobs.generate s3://bucket/model --samples 1000000 --out s3://bucket/many
    """

    bundle: CliPositionalArg[str]
    """The model bundle, a folder that every node sees, or a URI."""
    out: str
    """Folder of the files, which every node must see, or a URI."""
    condition: list[str] = Field([])
    """COLUMN=VALUE, COLUMN=VALUE,VALUE or COLUMN=FIRST:LAST:STEP (both ends included); repeat it. All combinations are
    generated. null for none. Other columns take the values of the most frequent combination in training that agrees
    with the given ones."""
    extrapolate: bool = False
    """Allow conditions outside the training range: the waveforms are a guess then."""
    samples: int = Field(100_000, ge=1)
    """Waveforms for each combination of conditions."""
    seed: int = Field(0, ge=0)
    """Seed; the same seed, bundle, conditions and versions give the same files."""
    residual_noise: bool = False
    """Add noise as in averages of a recorder; default: expected responses."""
    rows_per_file: int = Field(5000, ge=1, le=1_000_000)
    """Waveforms of a file, which one worker generates at once."""
    workers: int | None = Field(None, ge=1)
    """Workers of one CPU each; default: as many as the cluster has CPUs."""
    dry_run: bool = False
    """Print what would be generated; write nothing."""


def run(arguments: Sequence[str]) -> int:
    """Generate, and print where the files are."""
    command = command_line.parse(GenerateCommand, arguments)
    check_output("--out", command.out, [command.bundle])
    start(f"Generating with {command.bundle}: reading the model", ray=not command.dry_run)
    from hcvae.bundle import load
    from hcvae.generation import complete_condition, parse_conditions
    from hcvae.generation.conditions import condition_lines
    from hcvae.storage import StoragePath
    from jobs.bulk_generation import BulkRequest

    place = StoragePath.of(lasting(command.bundle))
    out = StoragePath.of(lasting(command.out))
    bundle = load(place)
    parsed = parse_conditions(bundle, command.condition)
    conditions = [complete_condition(bundle, given, extrapolate=command.extrapolate) for given in parsed]
    request = BulkRequest(
        str(place), tuple(conditions), command.samples, command.seed, command.residual_noise, command.rows_per_file
    )
    console = Console()
    lines = condition_lines(bundle, _columns(conditions), parsed[0])
    for line in (*lines, *reconstruction_warning(bundle.reconstruction_nmse)):
        print_line(console, line)
    total = len(conditions) * command.samples
    print_line(
        console,
        f"{counted(total, 'waveform')} of {counted(len(conditions), 'condition')}, "
        f"{counted(len(request.parts), 'file')}, in {out}",
    )
    if not command.dry_run:
        _generate(request, out, command.workers, total, console)
    return 0


def _columns(conditions: Sequence[Mapping[str, "ConditionValue"]]) -> dict[str, list["ConditionValue"]]:
    """Return the values of each column in the conditions."""
    columns: dict[str, list[ConditionValue]] = {}
    for condition in conditions:
        for name, value in condition.items():
            columns.setdefault(name, []).append(value)
    return columns


def _generate(request: "BulkRequest", out: "StoragePath", workers: int | None, total: int, console: Console) -> None:
    import ray

    from jobs.bulk_generation import count_rows, open_output, write_parts
    from tune.placement.ray_connection import ray_cluster

    missing = open_output(request, out)
    columns = (TextColumn("generating"), BarColumn(None), MofNCompleteColumn(), TimeRemainingColumn())
    if missing:
        with ray_cluster(0), Progress(*columns, console=console, expand=True) as progress:
            cpus = int(ray.cluster_resources().get("CPU", 1))
            done = total - sum(part["count"] for part in missing)
            task = progress.add_task("", total=total, completed=done)
            with line_a_minute(
                console, lambda: f"{progress.tasks[0].completed:,.0f} of {counted(total, 'waveform')} written"
            ):
                for count in write_parts(request, out, missing, workers or cpus):
                    progress.advance(task, count)
    print_line(
        console,
        f"{counted(count_rows(out), 'waveform')} in {out}\nread them with pyarrow.parquet.read_table({str(out)!r})",
    )


if __name__ == "__main__":
    sys.exit(main(run))
