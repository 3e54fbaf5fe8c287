"""`python -m jobs.train`: train one model, on one process or on data-parallel workers."""

import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import AfterValidator, Field
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hcvae import command_line
from hcvae.config import Config
from hcvae.counting import counted
from hcvae.errors import UserError
from hcvae.outputs import check_output
from hcvae.progress_lines import line_a_minute
from hcvae.storage import StoragePath
from hcvae.terminal import print_line
from jobs.arguments import COMMON_OPTIONS, CONFIG_HELP, lasting, main, read_config, start
from tune.config import narrowed

if TYPE_CHECKING:
    from hcvae.data.dataset import Dataset
    from hcvae.training.precision import PrecisionChoice
    from tune.placement.resources import WorkerGroup
    from tune.study.outcome import Outcome

OnEpoch = Callable[[dict[str, float]], None]


class TrainCommand(Config, command_line.Command):  # type: ignore[misc] # both configure pydantic
    """Train one model and leave it as a bundle in OUT/bundle. The same command again continues an interrupted
    training from its last checkpoint.

    examples:
      python -m jobs.train --config configs/quickstart.json --out results/one-model
      python -m jobs.train --config configs/quickstart.json --out results/on-two --workers 2
      python -m jobs.train --study results/quickstart --trial 3 --training.epochs 100 --out results/longer
      python -m jobs.train --config configs/quickstart.json --out "s3://models/one?region=eu-central-1"
    """

    common: ClassVar = COMMON_OPTIONS | {
        *("cpus-per-worker", "gpus-per-worker", "study", "training.compile", "training.start_from", "trial", "workers")
    }
    out: Annotated[str, AfterValidator(lasting)]
    """Folder for checkpoints, TensorBoard events, figures and the bundle: a path, or a URI such as s3://bucket/model."""
    config: str | None = Field(None, description=CONFIG_HELP)
    study: str | None = None
    """Folder of a study; takes the configuration of its trial --trial."""
    trial: int | None = None
    """Number of the trial."""
    workers: int = Field(1, ge=1)
    """Data-parallel workers; 2 or more train through Ray Train."""
    cpus_per_worker: int = Field(1, ge=1)
    """CPUs, and so threads, of each worker."""
    gpus_per_worker: int = Field(0, ge=0)
    """GPUs of each worker."""
    dry_run: bool = False
    """Print the resolved configuration, check everything, start nothing."""
    log_json: bool = False
    """Report progress as one JSON object a line, for programs."""
    wait_for_resources: bool = False
    """Wait until the cluster has the workers and GPUs, instead of refusing to start."""

    @classmethod
    def values_not_given(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the configuration of the file, or that of the trial."""
        file = given.get("config")
        study = given.get("study")
        trial = given.get("trial")
        if study is None:
            if trial is not None:
                raise UserError(f"--trial {trial}: needs a study; give --study FOLDER as well")
            content = read_config(file) if file else {}
            content.pop("search", None)  # a search's configuration trains the model that the search starts from
            return content
        if file is not None or trial is None:
            raise UserError("--study: takes the configuration from a trial; give --trial NUMBER, and no --config")
        return _config_of_trial(study, trial)


def run(arguments: Sequence[str]) -> int:
    """Train, and print where the model is and what to do next."""
    command = command_line.parse(TrainCommand, arguments)
    config = narrowed(command, Config)
    start(f"Training of {command.out}: reading the data", config.data.tables, ray=command.workers > 1)
    from hcvae.data.part_contents import split_report
    from hcvae.training import preflight
    from tune.placement.streaming import prepare

    console = Console(stderr=command.log_json)
    out = StoragePath.of(command.out)
    check_output("--out", command.out, [command.study])
    check_output("--out", f"{command.out}/bundle", [config.training.start_from])
    _check_out(out)
    with line_a_minute(console, lambda: "reading the data"):
        data = prepare(config)
    not_measured = preflight(config, data, command.workers).not_measured
    with _resources(command, data, console):
        for line in (data.split.explanation, *split_report(config.data, data.split)):
            print_line(console, line)
        for reason in not_measured.values():
            print_line(console, f"the training runs, but {reason}")
        if command.dry_run:
            console.print_json(config.model_dump_json())
            print("Dry run: no training was started, and nothing was written", file=sys.stderr)  # after the JSON
            return 0
        with _progress(config, console, command.log_json) as on_epoch:
            outcome = _train(command, out, config, data, on_epoch, partial(_show_precision, console))
    _show_result(outcome, out, console)
    return 0


def _show_result(outcome: "Outcome", out: StoragePath, console: Console) -> None:
    from hcvae.bundle import load
    from hcvae.poor_reconstruction import reconstruction_warning
    from jobs.next_steps import from_here, generate_command

    if outcome.figure_failure:
        print_line(console, f"no figures: {outcome.figure_failure}")
    best = outcome.history[(outcome.best_epoch or 0) - 1]
    bundle = load(out / "bundle")
    warning = [f"{line}\n" for line in reconstruction_warning(bundle.reconstruction_nmse)]
    print_line(
        console,
        f"\n{_objectives(best)} (validation part, best epoch)\n"
        f"{_objectives(bundle.metrics['test'])} (test part)\n{''.join(warning)}\n"
        f"model                 {from_here(out / 'bundle')}\n"
        f"generate with it      {generate_command(out / 'bundle', from_here(out / 'bundle'))}\n"
        f"look at the training  {_events(out)}\n"
        f"pictures              {from_here(out / 'figures')}",
    )


def _objectives(metrics: Mapping[str, float | None]) -> str:
    shown = []
    for name in ("reconstruction_nmse", "disentanglement"):
        value = metrics.get(name, "not measured")
        if isinstance(value, float):
            value = f"{value:.4f}"
        shown.append(f"{name} {value or 'not finite'}")
    return ", ".join(shown)


def _events(out: StoragePath) -> str:
    """Return how to look at the training on this machine; for an object store, where its events are."""
    from jobs.next_steps import from_here

    events = from_here(out / "tensorboard")
    if not out.is_local:
        return events
    return shlex.join(["tensorboard", "--logdir", events])


def _config_of_trial(study: str, trial: str) -> dict[str, Any]:
    start(f"Reading trial {trial} of {study}", ray=False)
    from tune.report.results import SearchResult

    if not trial.isdecimal():
        raise UserError(f"--trial: must be the number of a trial, but got {trial!r}")
    return SearchResult.open(lasting(study)).config(int(trial)).model_dump(mode="json")


def _check_out(out: StoragePath) -> None:
    if (out / "normalization.json").is_file():
        raise UserError(f"--out: {out} is a model bundle; name another folder")
    if out.is_local:
        existing = next(folder for folder in (out.path, *out.path.parents) if folder.exists())
        if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
            raise UserError(f"--out: cannot write to {out}; name a folder that you may write to")
        return
    probe = out / ".writable"
    try:
        probe.write(b"")
        probe.remove()
    except OSError as error:
        raise UserError(f"--out: cannot write to {out}: {error}") from None


@contextmanager
def _resources(command: TrainCommand, data: "Dataset", console: Console) -> Iterator[None]:
    """Provide what the training runs on: this process for one worker, a Ray cluster that is large enough for more.

    Tables that do not fit into memory are read through a Ray cluster, too.
    """
    from tune.placement.ray_connection import ray_cluster
    from tune.placement.resources import plan_on_cluster

    if command.workers > 1:
        with ray_cluster(data.nbytes):
            plan_on_cluster(_workers(command), command.wait_for_resources, partial(print_line, console))
            yield
        return
    import torch

    if command.gpus_per_worker > torch.cuda.device_count():
        raise UserError(
            f"--gpus-per-worker: this machine has {counted(torch.cuda.device_count(), 'GPU')}, "
            f"but got {command.gpus_per_worker}"
        )
    with nullcontext() if data.stream is None else ray_cluster(data.nbytes):
        yield


def _workers(command: TrainCommand) -> "WorkerGroup":
    from tune.placement.resources import WorkerGroup

    return WorkerGroup(command.workers, command.cpus_per_worker, command.gpus_per_worker)


def _show_precision(console: Console, precision: "PrecisionChoice") -> None:
    warning = f"; warning: {precision.warning}" if precision.warning else ""
    print_line(console, f"trains in {precision}{warning}")


def _train(
    command: TrainCommand,
    out: StoragePath,
    config: Config,
    data: "Dataset",
    on_epoch: OnEpoch,
    on_precision: Callable[["PrecisionChoice"], None],
) -> "Outcome":
    from tune.trial.attempt import Attempt

    attempt = Attempt(out, events=out / "tensorboard" / out.name)
    if command.workers == 1:
        import torch

        from tune.early_stopping.actor import Listener

        torch.set_num_threads(command.cpus_per_worker)
        return attempt.train(config, data, Listener(on_epoch, on_precision=on_precision))
    import ray

    from tune.trial.data_parallel import TrainingFailed, train_with_workers

    workers = _workers(command)
    try:
        outcome = train_with_workers(config, ray.put(data), attempt, workers, on_epoch, on_precision=on_precision)
    except TrainingFailed as failed:
        raise failed.error from failed
    if outcome.failure is not None:
        raise RuntimeError(outcome.failure)
    return outcome


@contextmanager
def _progress(config: Config, console: Console, as_json: bool) -> Iterator[OnEpoch]:
    if as_json:
        yield lambda metrics: print(json.dumps(metrics), flush=True)
        return
    epochs = config.training.epochs
    done = 0
    columns = (BarColumn(None), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with (
        Progress(*columns, console=console, expand=True, disable=not console.is_terminal) as progress,
        line_a_minute(console, lambda: f"{done} of {counted(epochs, 'epoch')} done"),
    ):
        task = progress.add_task("epochs", total=epochs)

        def on_epoch(metrics: dict[str, float]) -> None:
            nonlocal done
            if not done and metrics["epoch"] > 1:
                console.print(f"continues after epoch {metrics['epoch'] - 1:.0f}", highlight=False)
            done = round(metrics["epoch"])
            figures = [f"phase {metrics['phase']:.0f}", f"nmse {metrics['reconstruction_nmse']:.4f}"]
            if "disentanglement" in metrics:
                figures.append(f"disentanglement {metrics['disentanglement']:+.4f}")
            else:
                figures.append("disentanglement not measured")
            progress.update(task, completed=done, description="\n".join(["epochs", *figures]))
            if not console.is_terminal:
                line = f"epoch {done}/{epochs}, {', '.join(figures)}"
                print_line(console, line)

        yield on_epoch


if __name__ == "__main__":
    sys.exit(main(run))
