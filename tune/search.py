"""A whole search: checks first, then trials until the budget is spent. The same call continues an interrupted one."""

import signal
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import optuna
import ray
import ray.tune
import ray.tune.experiment
import ray.tune.schedulers
from optuna.trial import FrozenTrial
from rich.console import Console

from hcvae.config import Config
from hcvae.counting import counted
from hcvae.data.dataset import Dataset
from hcvae.data.part_contents import split_report
from hcvae.errors import UserError
from hcvae.interruption import handlers_kept, in_main_thread, remembered_ctrl_c, sigterm_as_ctrl_c
from hcvae.progress_lines import line_a_minute
from hcvae.readiness import has_row_names, remedy
from hcvae.storage import StoragePath
from hcvae.suggest import did_you_mean
from hcvae.training import preflight
from hcvae.training.evaluation import ROUTING_METRICS
from hcvae.training.run import Measurable
from tune.config import SearchConfig, narrowed
from tune.early_stopping.actor import check_early_stopping, rungs, start_decisions
from tune.internals.ray_internals import adapted_tune, environment_set
from tune.objectives import Objectives, chosen_objectives, names_of
from tune.placement.folds import prepare_folds
from tune.placement.gpu_sharing import with_gpus_shared
from tune.placement.resources import Plan, WorkerGroup, check_shared_folder, plan_on_cluster, ray_cluster
from tune.placement.streaming import prepare
from tune.report.progress import Progress, make_progress
from tune.report.results import SearchResult
from tune.searcher import SearchCallback, StudySearcher
from tune.space.checks import check_space
from tune.space.combinations import combinations
from tune.space.default_space import with_space
from tune.study.budget import Budget
from tune.study.configurations import with_confirmations
from tune.study.database import retry
from tune.study.initial_trials import add_earlier_trials, check_first_trials, earlier_trials, enqueue_first_trials
from tune.study.leases import heartbeats, own_folder, study_id
from tune.study.ledger import TrialLedger
from tune.study.lock import LockedFolder, locked_folder
from tune.study.opening import check_folder, finished_trials, n_finished, open_study, quiet_optuna
from tune.study.pareto_archive import ParetoArchive
from tune.study.repetition import check_confirmation, check_continued, with_scale
from tune.study.samplers import is_exhausted
from tune.study.transaction import transaction
from tune.study.trial_summary import TrialSummary
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
        UserError: the space, the storage, the data or the resources cannot be used; no trial has started then.
        StorageError: the study or a checkpoint could not be written for a long time; the same call continues.
        KeyboardInterrupt: Ctrl-C, or SIGTERM. Running trials keep their checkpoints; the same call continues them.
    """
    console = Console(stderr=log_json)
    # Ray reports deaths of processes on standard output, whatever its settings: keep them out of the JSON lines.
    redirected = redirect_stdout(sys.stderr) if log_json else nullcontext()
    json_lines = sys.stdout if log_json else None
    with (
        redirected,
        remembered_ctrl_c() as interrupted,
        _prepared(config, wait_for_resources, console, allow_change) as search,
    ):
        run = _opened(search, allow_change, console, json_lines)
        searcher = StudySearcher(run.ledger, search.config, run.progress)
        searcher.interrupted = interrupted.is_set
        if searcher.is_under_way():
            _print(console, search.summary(run.progress.counts.total()))
            _search_until_the_end(search, run, searcher)
        _print(console, f"Ended by {_reason_of_end(search, run)}")
    return SearchResult.open(search.folder.place)


def plan_search(config: SearchConfig, *, wait_for_resources: bool = False, allow_change: bool = False) -> str:
    """Make all checks that `run_search` makes, start no trial, leave no file, and return what would be done.

    Raises:
        UserError: as `run_search`.
    """
    with _prepared(config, wait_for_resources, Console(stderr=True), allow_change) as search:
        if not search.folder.record.is_file():
            return search.summary(0)
        study = search.folder.load()
        check_continued(study, search.folder.read_record().identity, search.config.search.confirm)
        return search.summary(n_finished(study))


@dataclass(frozen=True)
class _Search:
    """A search that has passed its checks, with its folder made and Ray connected."""

    config: SearchConfig
    """With absolute paths, and the part of a GPU that each trial gets."""
    folder: LockedFolder
    data: Dataset
    own_ray: bool
    plan: Plan
    earlier: tuple[FrozenTrial, ...]
    """Finished trials of the study of `search.warm_start`."""
    measurable: Measurable
    folds: tuple[Dataset, ...]
    """Data of the repetitions by folds, see `tune.placement.folds`."""
    not_searched: dict[str, str]
    """Why parameters of the default space are left out, by path."""

    def summary(self, finished: int) -> str:
        """Return what the search does, in lines for people."""
        settings = self.config.search
        data = self.data
        rows = f"{data.n_train} train, {len(data.validation)} validation, {len(data.test)} test"
        read = "" if data.stream is None else ", training ones read again in each epoch"
        return "\n".join(
            [
                f"Study {settings.study!r} in {self.folder}: "
                f"{finished} of {counted(settings.trials, 'trial')} finished",
                f"Data: {rows} waveforms{read}; {data.split.explanation}",
                *split_report(self.config.data, data.split),
                f"Trials: {counted(settings.workers, 'worker')} of {counted(settings.cpus_per_worker, 'CPU')} and "
                f"{counted(settings.gpus_per_worker, 'GPU')} each, "
                f"up to {counted(self.config.training.epochs, 'epoch')}; {self.plan}",
                f"Searched by {settings.sampler}: {', '.join(settings.space)}",
                f"Objectives: {', '.join(objective.label for objective in settings.compared_by)}",
                *self.measurable.not_measured.values(),
                *self._notes(),
            ]
        )

    def _notes(self) -> Iterator[str]:
        """Yield what is special about this search."""
        settings = self.config.search
        for path, reason in self.not_searched.items():
            yield f"Not searched: {path}, as {reason}"
        n_combinations = len(combinations(self.config))
        if n_combinations:
            yield f"The space holds {counted(n_combinations, 'combination')}; each is tried once"
            if settings.trials > n_combinations:
                yield f"search.trials is {settings.trials}, but the search ends when all combinations are tried"
        if settings.constraints:
            yield f"Constraints: {', '.join(map(str, settings.constraints))}"
        stops = rungs(self.config)
        if stops:
            yield f"Trials that fall behind are stopped at epochs {', '.join(map(str, stops))}"
        if "denoised_nmse" not in self.measurable.metrics:
            yield (
                "The validation part has no independent averages of a sufficient reliability: denoised_nmse, the error "
                "without the noise of the recordings, cannot be measured"
            )
        if settings.confirm is not None:
            yield f"When the budget is spent, confirms {settings.confirm}"
        if self.earlier:
            yield f"The sampler learns from {counted(len(self.earlier), 'trial')} of {settings.warm_start}"


@contextmanager
def _prepared(config: SearchConfig, wait: bool, console: Console, allow_change: bool) -> Iterator[_Search]:
    config = _with_absolute_paths(config)
    with sigterm_as_ctrl_c(), quiet_optuna(), locked_folder(config) as folder:
        recorded = folder.read_record().config.search if folder.record.is_file() else None
        space = recorded.space if recorded else None
        _check_settings(with_space(config, space, other_averages=True)[0])
        with line_a_minute(console, lambda: "reading the data"):
            data = prepare(config)
        config, not_searched = with_space(config, space, other_averages=data.train.has_independent_averages)
        check_first_trials(config)
        measurable = preflight(narrowed(config, Config), data, config.search.workers)
        confirm = config.search.confirm
        if confirm is not None:
            repeated = with_scale(narrowed(config, Config), confirm.epochs, confirm.width)
            preflight(repeated, data, config.search.workers)
        objectives = chosen_objectives(
            config.search.objectives, recorded.compared_by if recorded else None, measurable.metrics
        )
        _check_objectives(objectives, config, data, measurable)
        config = config.with_settings(objectives=objectives)
        # Before Ray starts; `open_study` checks again, under the lock of the database.
        check_folder(folder, config, data.fingerprint, allow_change=allow_change)
        earlier = earlier_trials(config, data.fingerprint)
        folds = prepare_folds(config, data)
        with ray_cluster(data.nbytes + sum(fold.nbytes for fold in folds)) as own_ray:
            config = with_gpus_shared(config, data)
            workers = WorkerGroup.of(config.search)
            plan = plan_on_cluster(workers, wait, lambda text: _print(console, text), config.search.max_concurrent)
            check_shared_folder(folder.place)
            yield _Search(config, folder, data, own_ray, plan, earlier, measurable, folds, not_searched)


def _check_settings(config: SearchConfig) -> None:
    """Check the space, and what has to suit it.

    Raises:
        UserError: a mistake in one of them.
    """
    check_space(config)
    check_confirmation(config)
    check_early_stopping(config)
    check_first_trials(config)


@dataclass(frozen=True)
class _Run:
    """One start of a search: its study, opened, and what this process keeps about it."""

    study: optuna.Study
    budget: Budget
    progress: Progress
    ledger: TrialLedger


def _opened(search: _Search, allow_change: bool, console: Console, json_lines: TextIO | None) -> _Run:
    config = search.config
    database = search.folder.database
    fingerprint = search.data.fingerprint
    study = retry(lambda: open_study(search.folder, config, fingerprint, allow_change=allow_change))
    check_continued(study, study_id(study), config.search.confirm)
    with database.locked():
        with transaction(study):
            add_earlier_trials(study, config, search.earlier)
            enqueue_first_trials(study, config)
        archive = ParetoArchive.open(search.folder, study, config.search.compared_by)
        budget = Budget(config.search, study)
        finished = Counter(trial.state.name.lower() for trial in finished_trials(study))
        progress = make_progress(config, archive, finished, console, json_lines)
        ledger = TrialLedger(study, database, config, archive, budget, progress)
    return _Run(study, budget, progress, ledger)


def _check_objectives(objectives: Objectives, config: SearchConfig, data: Dataset, measurable: Measurable) -> None:
    """Refuse objectives and constraints that cannot be measured, and name options with which they can.

    Raises:
        UserError: an objective or a constraint is not measured on the validation part, or an objective has the name of
            another field of a trial.
    """
    measured = measurable.metrics
    names = names_of(objectives)
    unmeasured = [name for name in names if name not in measured]
    if set(unmeasured) & set(ROUTING_METRICS):
        raise UserError(
            f"a search compares trials by {' and '.join(names)}, but {measurable.not_measured['validation']}. "
            f"It can be measured with: {remedy(data, has_row_names(config.data))}. "
            "python -m jobs.train trains one model without it; search.objectives chooses other objectives"
        )
    _check_measured("search.objectives", names, measured)
    _check_measured("search.constraints", [each.name for each in config.search.constraints], measured)
    reserved = sorted(set(names) & TrialSummary.model_fields.keys())
    if reserved:
        raise UserError(f"search.objectives: {', '.join(reserved)} names another property of a trial; rename it")


def _check_measured(option: str, names: Sequence[str], measured: Collection[str]) -> None:
    unmeasured = [name for name in names if name not in measured]
    if unmeasured:
        raise UserError(
            f"{option}: {', '.join(unmeasured)} cannot be measured on the validation part"
            f"{did_you_mean(unmeasured[0], sorted(measured))}; a training on these data measures "
            f"{', '.join(sorted(measured))}; a metric of your own must be registered by the program that searches, see "
            "docs/objectives.md"
        )


class FirstInFirstOut(ray.tune.schedulers.FIFOScheduler):  # type: ignore[misc]
    """Ray Tune's own scheduler, but faster: that one looks through all earlier trials in each of its steps."""

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """Return a trial that waits for its process; None where there is none."""
        live = tune_controller.get_live_trials()
        return next((trial for trial in live if trial.status == ray.tune.experiment.Trial.PENDING), None)


def _search_until_the_end(search: _Search, run: _Run, searcher: StudySearcher) -> None:
    leases = run.ledger.leases
    renewed = heartbeats(search.folder.database, leases, searcher.owned, searcher.ended_elsewhere)
    with run.progress, renewed, adapted_tune():
        while searcher.wait_for_work():
            _run_trials(search, run, searcher)
        run.progress.ended(_reason_of_end(search, run))


def _run_trials(search: _Search, run: _Run, searcher: StudySearcher) -> None:
    scratch = own_folder(search.folder.scratch, run.ledger.leases.me)
    decisions = start_decisions(search.config, run.study)
    searcher.end_training = decisions.end.remote
    workers = WorkerGroup.of(search.config.search)
    folds = [ray.put(fold) for fold in search.folds]
    trainable = make_trainable(narrowed(search.config, Config), ray.put(search.data), workers, decisions, folds)
    try:
        _fit(_tuner(trainable, searcher, search.plan.at_once, scratch), search.own_ray)
    finally:
        # An actor may still write there for a moment: the next process that searches alone removes what is left.
        with suppress(OSError):
            scratch.remove()
            if not search.folder.scratch.listdir():
                search.folder.scratch.remove()
    if searcher.running:
        raise KeyboardInterrupt  # SIGUSR1, at which Tune ends, too


def _tuner(trainable: Any, searcher: StudySearcher, at_once: int, scratch: StoragePath) -> ray.tune.Tuner:
    return ray.tune.Tuner(
        trainable,
        tune_config=ray.tune.TuneConfig(
            search_alg=searcher,
            scheduler=FirstInFirstOut(),
            num_samples=-1,  # the searcher ends the search
            max_concurrent_trials=at_once,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: trial.trial_id,
        ),
        run_config=ray.tune.RunConfig(
            name="tune",
            storage_path=scratch.key,
            storage_filesystem=scratch.file_system,
            failure_config=ray.tune.FailureConfig(max_failures=0),  # the searcher hands a trial out again
            callbacks=[SearchCallback(searcher)],
            verbose=0,
        ),
    )


def _fit(tuner: ray.tune.Tuner, own_ray: bool) -> None:
    """Fit until the searcher has no more trials.

    Raises:
        KeyboardInterrupt: Ctrl-C. Our own Ray ends the trials when it ends; in another Ray Tune ends them, in up to
            15 s. Tune's handler of SIGINT then restores the one before, and stays otherwise.
    """
    with (
        environment_set({"TUNE_DISABLE_SIGINT_HANDLER": str(int(own_ray))}),
        handlers_kept(signal.SIGINT, signal.SIGUSR1),
    ):
        before = signal.getsignal(signal.SIGINT)
        tuner.fit()
        if not own_ray and in_main_thread() and signal.getsignal(signal.SIGINT) is before:
            raise KeyboardInterrupt


def _reason_of_end(search: _Search, run: _Run) -> str:
    """Return the budget that is spent, and what has been confirmed."""
    judged = with_confirmations(run.progress.front.ended, search.config.search.compared_by)
    confirmed = [summary.confirmed for summary in judged if summary.confirmed]
    reason = _spent_budget(search, run)
    if not confirmed:
        return reason
    n_complete = sum(len(each.repetitions) for each in confirmed)
    n_confirmed = sum(each.mean is not None for each in confirmed)
    reason += f"; {counted(n_confirmed, 'configuration')} confirmed by {counted(n_complete, 'repetition')}"
    n_failed = sum(len(each.failed) for each in confirmed)
    return f"{reason}, {n_failed} more without values" if n_failed else reason


def _spent_budget(search: _Search, run: _Run) -> str:
    finished = retry(lambda: n_finished(run.study))
    if finished < search.config.search.trials:
        if run.budget.spent:
            return run.budget.spent
        if retry(lambda: is_exhausted(run.study, search.config)):
            every = len(combinations(search.config))
            return f"search.space: all {every} combinations have been tried; a larger one needs another search.study"
    return f"search.trials: {counted(finished, 'trial')} finished"


def _print(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _with_absolute_paths(config: SearchConfig) -> SearchConfig:
    # Trials run elsewhere: in a folder of their own, or on another node.
    resolved = config.with_folders(lambda folder: str(StoragePath.of(folder)))
    kind, _, name = (config.search.database or "").partition(":")
    if kind == "file":
        return resolved.with_settings(database=f"file:{Path(name).expanduser().absolute()}")
    return resolved
