"""`hcvae evaluate`: every measure of bundles, beside baselines."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import CliPositionalArg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from hcvae import command_line
from hcvae.errors import UserError
from hcvae.progress_lines import line_a_minute

MODEL_STEPS, BASELINE_STEPS = 5, 4
"""Of a bundle: reading, three of measuring, figures. Of its baselines: three of principal components, recordings."""


class Evaluate(command_line.Command):
    """Measure model bundles on data held out from training: a table, evaluation.json, and figures.

    examples:
      hcvae evaluate results/model
      hcvae evaluate results/model results/other-model --part validation --out results/comparison
      hcvae evaluate results/model --data new-recordings.parquet --no-baselines
    """

    bundles: CliPositionalArg[list[str]]
    """The model bundles, folders."""
    data: list[str] = Field([])
    """Waveform tables to evaluate on, all rows; none takes the bundle's own data."""
    part: Literal["test", "validation", "train"] = "test"
    """Part of the bundle's own data."""
    baselines: bool = True
    """Principal components, the mean given the condition, recordings, and the simulator's oracle beside the bundles."""
    out: str = "results/evaluation"
    """The folder to write."""


def run(arguments: Sequence[str]) -> int:
    """Run the command."""
    command = command_line.parse(Evaluate, arguments)
    from hcvae.atomic import write_json
    from hcvae.bundle import load
    from hcvae.evaluation import own_rows, rows_of_tables
    from hcvae.evaluation.comparison import Comparison, folder_names
    from hcvae.evaluation.figures import Illustrator
    from hcvae.plots import save_figure

    console = Console()
    names = folder_names(command.bundles)
    bundles = [load(path) for path in command.bundles]
    out = Path(command.out)
    figure_folders = [out / name.replace("/", "-") if len(names) > 1 else out for name in names]
    for folder in (out, *figure_folders):
        _make_folder(folder)
    comparison = Comparison()
    current = "reading"
    with _progress_bar() as bar, line_a_minute(bar.console, lambda: f"still at {current}"):
        steps = MODEL_STEPS + BASELINE_STEPS * (command.baselines and not command.data)
        task = bar.add_task(current, total=steps * len(names))

        def progress(step: str) -> None:
            nonlocal current
            current = step
            bar.update(task, description=step, advance=1)
            if bar.disable:  # no terminal: a line a step
                bar.console.print(step, highlight=False, markup=False)

        for number, (name, bundle, folder) in enumerate(zip(names, bundles, figure_folders, strict=True)):
            bar.update(task, completed=steps * number)
            progress(f"{name}: reading the data")
            rows = rows_of_tables(bundle, command.data) if command.data else own_rows(bundle, command.part)
            comparison.add(name, bundle, rows, progress, baselines=command.baselines)
            progress(f"{name}: figures")
            for title, figure in Illustrator(bundle, rows).figures():
                save_figure(figure, folder / f"{title}.png")
    write_json(comparison.as_json(), out / "evaluation.json")

    for name, source in comparison.sources.items():
        console.print(f"{name}: {source}", highlight=False)
    console.print(comparison.table())
    for reason, measures in comparison.reasons().items():
        console.print(f"left out ({', '.join(measures)}): {reason}", highlight=False, markup=False)
    for note in comparison.notes:
        console.print(note, highlight=False)
    console.print(f"all of it in {out / 'evaluation.json'}, figures in {', '.join(map(str, figure_folders))}")
    return 0


def _progress_bar() -> Progress:
    """A bar on stderr; nothing where that is no terminal."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {folder}: cannot be made: {error}; name a folder that you may write to") from error
