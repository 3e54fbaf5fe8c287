"""A whole search: checks first, then trials until the budget is spent. The same call continues an interrupted one."""

import signal
import sys
from collections import Counter
from contextlib import nullcontext, redirect_stdout, suppress
from dataclasses import dataclass
from typing import Any, TextIO

import optuna
import ray
import ray.tune
import ray.tune.experiment
import ray.tune.schedulers
from rich.console import Console

from hcvae.counting import counted
from hcvae.interruption import handlers_kept, in_main_thread, remembered_ctrl_c
from hcvae.storage import StoragePath
from hcvae.terminal import print_line
from tune.config import SearchConfig
from tune.early_stopping.actor import start_decisions
from tune.internals.ray_internals import adapted_tune, environment_set
from tune.placement.resources import WorkerGroup
from tune.report.progress import Progress, make_progress
from tune.report.results import SearchResult
from tune.search.resolution import ResolvedSearch, resolve
from tune.search.searcher import SearchCallback, StudySearcher
from tune.space.combinations import combinations
from tune.study.budget import Budget
from tune.study.confirmed_trials import with_confirmations
from tune.study.database import retry
from tune.study.initial_trials import add_earlier_trials, enqueue_first_trials
from tune.study.leases import heartbeats, own_folder, study_id
from tune.study.ledger import TrialLedger
from tune.study.opening import finished_trials, n_finished, open_study
from tune.study.pareto_archive import ParetoArchive
from tune.study.repetition import check_continued
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
        resolve(config, wait_for_resources, console, allow_change) as search,
    ):
        run = _opened(search, allow_change, console, json_lines)
        searcher = StudySearcher(run.ledger, search.config, run.progress)
        searcher.interrupted = interrupted.is_set
        if searcher.is_under_way():
            print_line(console, search.summary(run.progress.counts.total()))
            _search_until_the_end(search, run, searcher)
        print_line(console, f"Ended by {_reason_of_end(search, run)}")
    return SearchResult.open(search.folder.place)


def plan_search(config: SearchConfig, *, wait_for_resources: bool = False, allow_change: bool = False) -> str:
    """Make all checks that `run_search` makes, start no trial, leave no file, and return what would be done.

    Raises:
        UserError: as `run_search`.
    """
    with resolve(config, wait_for_resources, Console(stderr=True), allow_change) as search:
        if not search.folder.record.is_file():
            return search.summary(0)
        study = search.folder.load()
        check_continued(study, search.folder.read_record().identity, search.config.search.confirm)
        return search.summary(n_finished(study))


@dataclass(frozen=True)
class _Run:
    """One start of a search: its study, opened, and what this process keeps about it."""

    study: optuna.Study
    budget: Budget
    progress: Progress
    ledger: TrialLedger


def _opened(search: ResolvedSearch, allow_change: bool, console: Console, json_lines: TextIO | None) -> _Run:
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


class FirstInFirstOut(ray.tune.schedulers.FIFOScheduler):  # type: ignore[misc]
    """Ray Tune's own scheduler, but faster: that one looks through all earlier trials in each of its steps."""

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """Return a trial that waits for its process; None where there is none."""
        live = tune_controller.get_live_trials()
        return next((trial for trial in live if trial.status == ray.tune.experiment.Trial.PENDING), None)


def _search_until_the_end(search: ResolvedSearch, run: _Run, searcher: StudySearcher) -> None:
    leases = run.ledger.leases
    renewed = heartbeats(search.folder.database, leases, searcher.owned, searcher.ended_elsewhere)
    with run.progress, renewed, adapted_tune():
        while searcher.wait_for_work():
            _run_trials(search, run, searcher)
        run.progress.ended(_reason_of_end(search, run))


def _run_trials(search: ResolvedSearch, run: _Run, searcher: StudySearcher) -> None:
    scratch = own_folder(search.folder.scratch, run.ledger.leases.me)
    decisions = start_decisions(search.config, run.study)
    searcher.end_training = decisions.end.remote
    workers = WorkerGroup.of(search.config.search)
    folds = [ray.put(fold) for fold in search.folds]
    trainable = make_trainable(search.config.of_a_trial, ray.put(search.data), workers, decisions, folds)
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
            15 s.
    """
    with (
        environment_set({"TUNE_DISABLE_SIGINT_HANDLER": str(int(own_ray))}),
        handlers_kept(signal.SIGINT, signal.SIGUSR1),
    ):
        before = signal.getsignal(signal.SIGINT)
        tuner.fit()
        # At Ctrl-C Tune's own handler of SIGINT restores the one before it; otherwise only `handlers_kept` does, later.
        if not own_ray and in_main_thread() and signal.getsignal(signal.SIGINT) is before:
            raise KeyboardInterrupt


def _reason_of_end(search: ResolvedSearch, run: _Run) -> str:
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


def _spent_budget(search: ResolvedSearch, run: _Run) -> str:
    finished = retry(lambda: n_finished(run.study))
    if finished < search.config.search.trials:
        if run.budget.spent:
            return run.budget.spent
        if retry(lambda: is_exhausted(run.study, search.config)):
            every = len(combinations(search.config))
            return f"search.space: all {every} combinations have been tried; a larger one needs another search.study"
    return f"search.trials: {counted(finished, 'trial')} finished"
