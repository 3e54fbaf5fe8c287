"""A whole search: checks first, then trials until the budget is spent. The same call again goes on where it stopped."""

import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import ray
import ray.tune
import ray.tune.experiment
import ray.tune.schedulers
from optuna.trial import FrozenTrial
from rich.console import Console

from hcvae.config import Config
from hcvae.data.dataset import Dataset
from hcvae.errors import UserError
from hcvae.interruption import handlers_kept, in_main_thread, remembered_ctrl_c, sigterm_as_ctrl_c
from hcvae.progress_lines import line_a_minute
from hcvae.readiness import has_row_names, remedy
from hcvae.storage import StoragePath
from hcvae.training import preflight
from tune.config import SearchConfig
from tune.early_stopping.actor import check_early_stopping, rungs, start_decisions
from tune.internals.ray_internals import adapted_tune
from tune.placement.gpu_sharing import with_gpus_shared
from tune.placement.resources import Plan, check_shared_folder, plan_on_cluster, ray_cluster
from tune.placement.streaming import prepare
from tune.report.progress import make_progress
from tune.report.results import SearchResult
from tune.searcher import EndOfTrials, StudySearcher
from tune.space.combinations import combinations
from tune.space.search_space import check_space
from tune.study.budget import Budget
from tune.study.database import Database, retry
from tune.study.folder import StudyFolder
from tune.study.initial_trials import add_earlier_trials, check_first_trials, earlier_trials, enqueue_first_trials
from tune.study.leases import heartbeats, own_folder
from tune.study.lock import locked_folder
from tune.study.opening import check_folder, finished_trials, n_finished, open_study
from tune.study.pareto_archive import Front
from tune.study.samplers import is_exhausted
from tune.study.transaction import transaction
from tune.trial.trainable import make_trainable


def run_search(
    config: SearchConfig, *, wait_for_resources: bool = False, log_json: bool = False, allow_change: bool = False
) -> SearchResult:
    """Search until `config.search.trials` trials have finished, continuing the study where there is one.

    Uses the Ray of this process, the cluster of RAY_ADDRESS, or a local one for the time of the search.

    Args:
        config: the search; relative paths are resolved against the working directory.
        wait_for_resources: wait for a cluster that holds a trial, instead of refusing to start.
        log_json: report progress as JSON lines on standard output.
        allow_change: continue a study with another configuration or other data, and record the change in it.

    Raises:
        UserError: the space, the storage, the data or the resources cannot be; no trial has started then.
        StorageError: the study or a checkpoint could not be written for a long time; the same call goes on.
        KeyboardInterrupt: Ctrl-C, or SIGTERM. Running trials keep their checkpoints; the same call continues them.
    """
    console = Console(stderr=log_json)
    json_lines = sys.stdout if log_json else None
    # Ray prints the deaths of processes on standard output, whatever its settings: JSON lines are kept clean of that.
    quiet = redirect_stdout(sys.stderr) if log_json else nullcontext()
    with (
        quiet,
        remembered_ctrl_c() as interrupted,
        _prepared(config, wait_for_resources, console, allow_change) as search,
    ):
        config = search.config
        fingerprint = search.data.fingerprint
        study = retry(lambda: open_study(search.folder, config, fingerprint, allow_change=allow_change))
        with search.database.locked():
            with transaction(study):
                add_earlier_trials(study, config, search.earlier)
                enqueue_first_trials(study, config)
            front, budget = Front(search.folder, study), Budget(config.search, study)
            finished = Counter(trial.state.name.lower() for trial in finished_trials(study))
            progress = make_progress(config, front, finished, console, json_lines)
            searcher = StudySearcher(study, search.database, config, front, progress, budget)
        searcher.interrupted = interrupted.is_set
        if searcher.is_under_way():
            _say(console, search.summary(finished.total()))
            renewed = heartbeats(search.database, searcher.leases, searcher.owned, searcher.ended_elsewhere)
            with progress, renewed, adapted_tune():
                while searcher.wait_for_work():
                    _run_trials(search, study, searcher)
                progress.ended(_ending(search, study, budget))
        _say(console, f"Ended by {_ending(search, study, budget)}")
    return SearchResult.open(search.folder.place)


def plan_search(config: SearchConfig, *, wait_for_resources: bool = False, allow_change: bool = False) -> str:
    """Make all checks that `run_search` makes, start no trial, leave no file, and say what would be done.

    Raises:
        UserError: as `run_search`.
    """
    with _prepared(config, wait_for_resources, Console(stderr=True), allow_change) as search:
        folder = search.folder
        return search.summary(n_finished(folder.load()) if folder.record.is_file() else 0)


@dataclass(frozen=True)
class _Search:
    """A search that has passed its checks, with its folder made and Ray connected."""

    config: SearchConfig
    folder: StudyFolder
    database: Database
    data: Dataset
    own_ray: bool
    plan: Plan
    earlier: tuple[FrozenTrial, ...]
    not_measured: dict[str, str]
    """Why disentanglement cannot be measured, by the part of the split."""

    def summary(self, finished: int) -> str:
        settings, split = self.config.search, self.data.split
        data, read = self.data, "" if self.data.stream is None else ", training ones read again in each epoch"
        rows = f"{data.n_train} train, {len(data.validation)} validation, {len(data.test)} test"
        lines = [
            f"Study {settings.study!r} in {self.folder}: {finished} of {settings.trials} trials finished",
            f"Data: {rows} waveforms{read}; {split.explanation}",
            f"Trials: {settings.workers} worker(s) of {settings.cpus_per_worker} CPU(s) and "
            f"{settings.gpus_per_worker:g} GPU(s) each, up to {self.config.training.epochs} epochs; {self.plan}",
            f"Searched by {settings.sampler}: {', '.join(settings.space)}",
            *self.not_measured.values(),
        ]
        if n_combinations := len(combinations(self.config)):
            lines.append(f"The space holds {n_combinations} combinations; each is tried once")
            if settings.trials > n_combinations:
                lines.append(f"search.trials is {settings.trials}, but the search ends when all combinations are tried")
        if stops := rungs(self.config):
            lines.append(f"Trials that fall behind are stopped at epochs {', '.join(map(str, stops))}")
        if self.earlier:
            lines.append(f"The sampler knows {len(self.earlier)} trials of {settings.warm_start}")
        return "\n".join(lines)


@contextmanager
def _prepared(config: SearchConfig, wait: bool, console: Console, allow_change: bool) -> Iterator[_Search]:
    config = _with_absolute_paths(config)
    check_space(config)
    check_early_stopping(config)
    check_first_trials(config)
    with sigterm_as_ctrl_c(), locked_folder(config) as folder:
        with line_a_minute(console, lambda: "reading the data"):
            data = prepare(config)
        not_measured = preflight(_training(config), data, config.search.workers)
        _check_objectives(config, data, not_measured)
        check_folder(folder, config, data.fingerprint, allow_change=allow_change)
        earlier = earlier_trials(config, data.fingerprint)
        with ray_cluster(data.nbytes) as own_ray:
            config = with_gpus_shared(config, data)
            plan = plan_on_cluster(config.search, wait, lambda text: _say(console, text))
            check_shared_folder(folder.place)
            database = Database.of(config.search, folder.place)
            yield _Search(config, folder, database, data, own_ray, plan, earlier, not_measured)


def _check_objectives(config: SearchConfig, data: Dataset, not_measured: Mapping[str, str]) -> None:
    """Refuse data on which an objective cannot be measured, and name options with which it can.

    Raises:
        UserError: disentanglement cannot be measured on the validation part.
    """
    if "validation" in not_measured:
        raise UserError(
            f"a search compares trials by reconstruction_nmse and disentanglement, but {not_measured['validation']}. "
            f"It can be measured with: {remedy(data, has_row_names(config.data))}. "
            "python -m jobs.train trains one model without it"
        )


class FirstInFirstOut(ray.tune.schedulers.FIFOScheduler):  # type: ignore[misc]
    """As Ray Tune's own, which in each of its steps looks through all trials that have ever been."""

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """A trial that waits for its process; None where there is none."""
        live = tune_controller.get_live_trials()
        return next((trial for trial in live if trial.status == ray.tune.experiment.Trial.PENDING), None)


def _run_trials(search: _Search, study: optuna.Study, searcher: StudySearcher) -> None:
    settings = search.config.search
    scratch = own_folder(search.folder.scratch, searcher.leases.me)
    decisions = start_decisions(search.config, study)
    searcher.end_training = decisions.end.remote
    tuner = ray.tune.Tuner(
        make_trainable(_training(search.config), ray.put(search.data), settings, decisions),
        tune_config=ray.tune.TuneConfig(
            search_alg=searcher,
            scheduler=FirstInFirstOut(),
            num_samples=-1,  # the searcher says when it is over
            max_concurrent_trials=search.plan.at_once,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=ray.tune.RunConfig(
            name="tune",
            storage_path=scratch.key,
            storage_filesystem=scratch.file_system,
            failure_config=ray.tune.FailureConfig(max_failures=0),  # the searcher hands a trial out again
            callbacks=[EndOfTrials(searcher)],
            verbose=0,
        ),
    )
    try:
        _fit(tuner, search.own_ray)
    finally:
        # An actor may still write there for a moment: what is left is removed by the next process without company.
        with suppress(OSError):
            scratch.remove()
            if not search.folder.scratch.listdir():
                search.folder.scratch.remove()
    if searcher.running:
        raise KeyboardInterrupt  # SIGUSR1, at which Tune ends, too


def _ending(search: _Search, study: optuna.Study, budget: Budget) -> str:
    finished = retry(lambda: n_finished(study))
    if finished < search.config.search.trials:
        if budget.spent:
            return budget.spent
        if retry(lambda: is_exhausted(study, search.config)):
            every = len(combinations(search.config))
            return f"search.space: all {every} combinations have been tried; a larger one needs another search.study"
    return f"search.trials: {finished} trials have finished"


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _training(config: SearchConfig) -> Config:
    return Config.model_validate(config.model_dump(include=set(Config.model_fields)))


def _with_absolute_paths(config: SearchConfig) -> SearchConfig:
    # Trials run elsewhere: in a folder of their own, or on another node.
    places = {
        name: str(StoragePath.of(place))
        for name in ("storage", "warm_start")
        if (place := getattr(config.search, name)) is not None
    }
    kind, _, name = (config.search.database or "").partition(":")
    if kind == "file":
        places["database"] = f"file:{Path(name).expanduser().absolute()}"
    return config.model_copy(update={"search": config.search.model_copy(update=places)})


def _fit(tuner: ray.tune.Tuner, own_ray: bool) -> None:
    """Fit until the searcher has no more trials.

    Raises:
        KeyboardInterrupt: Ctrl-C. The end of our own Ray ends the trials; in another's Tune ends them, in up to 15 s.
            Tune's handler of SIGINT then restores the one before, and stays otherwise.
    """
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = str(int(own_ray))
    with handlers_kept(signal.SIGINT, signal.SIGUSR1):
        before = signal.getsignal(signal.SIGINT)
        tuner.fit()
        if not own_ray and in_main_thread() and signal.getsignal(signal.SIGINT) is before:
            raise KeyboardInterrupt
