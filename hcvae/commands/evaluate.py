"""`hcvae evaluate`: all metrics of model bundles, compared with baselines."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field
from pydantic_settings import CliPositionalArg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from hcvae import command_line
from hcvae.errors import UserError
from hcvae.outputs import check_output
from hcvae.progress_lines import line_a_minute
from hcvae.terminal import output_console, print_line

if TYPE_CHECKING:
    from hcvae.bundle import Bundle
    from hcvae.evaluation import EvaluationRows
    from hcvae.evaluation.comparison import Comparison

MODEL_STEPS = 5
"""Progress steps of a bundle: reading, three of metrics, figures."""
BASELINE_STEPS = 4
"""Progress steps of its baselines: three of principal components, recordings."""


class Evaluate(command_line.Command):
    """Evaluate model bundles on data held out from training: a table, evaluation.json, and figures.

    examples:
      hcvae evaluate results/model
      hcvae evaluate results/model results/other-model --part validation --out results/comparison
      hcvae evaluate results/model --data new-recordings.parquet --no-baselines
    """

    bundles: CliPositionalArg[list[str]]
    """The model bundles, folders."""
    data: list[str] = Field([])
    """Waveform tables to evaluate on, all rows. Default: the bundle's own data."""
    part: Literal["test", "validation", "train"] = "test"
    """Part of the bundle's own data to evaluate on."""
    baselines: bool = True
    """Compare with principal components, the mean given the condition, recordings, and the simulator's oracle."""
    out: str | None = None
    """The folder to write to. Default: results/evaluation-NAME with the name of the model; for several bundles
    results/evaluation."""


def run(arguments: Sequence[str]) -> int:
    """Run the command."""
    command = command_line.parse(Evaluate, arguments)
    from hcvae.atomic import write_json
    from hcvae.evaluation.comparison import folder_names

    names = folder_names(command.bundles)
    out = _out(command, names)
    check_output("--out", out, [*command.bundles, *command.data])
    folders = [out] * len(names)
    if len(names) > 1:
        folders = [out / name.replace("/", "-") for name in names]
    comparison = _compare(command, names, out, folders)
    write_json(comparison.as_json(), out / "evaluation.json")
    _show(comparison, output_console())
    print(f"results in {out / 'evaluation.json'}, figures in {', '.join(map(str, folders))}")
    return 0


def _out(command: Evaluate, names: Sequence[str]) -> Path:
    if command.out is not None:
        return Path(command.out)
    if len(names) > 1:
        return Path("results/evaluation")
    return Path(f"results/evaluation-{_model_name(Path(command.bundles[0]).resolve())}")


def _model_name(bundle: Path) -> str:
    """Return a name for the default folder: `jobs.train` leaves OUT/bundle, and a study STUDY/best/trial-NUMBER."""
    if bundle.name == "bundle":
        return bundle.parent.name
    if bundle.parent.name == "best":
        return f"{bundle.parent.parent.name}-{bundle.name}"
    return bundle.name


def _compare(command: Evaluate, names: Sequence[str], out: Path, folders: Sequence[Path]) -> "Comparison":
    """Evaluate each bundle, and write its figures to its folder."""
    from hcvae.bundle import load
    from hcvae.evaluation.comparison import Comparison
    from hcvae.evaluation.figures import Illustrator
    from hcvae.plots import save_figure

    bundles = list(map(load, command.bundles))
    for folder in (out, *folders):
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
            if bar.disable:  # no terminal: one line per step
                print_line(bar.console, step)

        for number, (name, bundle, folder) in enumerate(zip(names, bundles, folders, strict=True)):
            bar.update(task, completed=steps * number)
            progress(f"{name}: reading the data")
            rows = _rows(command, bundle)
            comparison.add(name, bundle, rows, progress, baselines=command.baselines)
            progress(f"{name}: figures")
            for title, figure in Illustrator(bundle, rows).figures():
                save_figure(figure, folder / f"{title}.png")
    return comparison


def _show(comparison: "Comparison", console: Console) -> None:
    for name, source in comparison.sources.items():
        print_line(console, f"{name}: {source}")
    console.print(comparison.table())
    for reason, measures in comparison.reasons().items():
        print_line(console, f"left out ({', '.join(measures)}): {reason}")
    for note in comparison.notes:
        print_line(console, note)


def _progress_bar() -> Progress:
    """Return a bar on stderr, disabled if stderr is not a terminal."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _rows(command: Evaluate, bundle: "Bundle") -> "EvaluationRows":
    from hcvae.evaluation import own_rows, rows_of_tables

    if command.data:
        return rows_of_tables(bundle, command.data)
    return own_rows(bundle, command.part)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"--out {folder}: cannot be made: {error}; name a folder that you may write to") from error
