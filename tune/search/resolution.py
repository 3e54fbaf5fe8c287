"""Resolving a search: its configuration becomes one immutable object that holds all that the search needs.

All checks are made here, before a trial starts: places, space, data, objectives, the study that is continued, and the
resources of the cluster.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from optuna.trial import FrozenTrial
from rich.console import Console

from hcvae.counting import counted
from hcvae.data.dataset import Dataset
from hcvae.data.part_contents import split_report
from hcvae.errors import UserError
from hcvae.interruption import sigterm_as_ctrl_c
from hcvae.progress_lines import line_a_minute
from hcvae.readiness import has_row_names, remedy
from hcvae.suggest import did_you_mean
from hcvae.terminal import print_line
from hcvae.training import preflight
from hcvae.training.evaluation import ROUTING_METRICS
from hcvae.training.run import Measurable
from tune.config import SearchConfig
from tune.early_stopping.actor import check_early_stopping, rungs
from tune.objectives import Objectives, chosen_objectives, names_of
from tune.placement.folds import prepare_folds
from tune.placement.gpu_sharing import with_gpus_shared
from tune.placement.ray_connection import ray_cluster
from tune.placement.resources import Plan, WorkerGroup, check_shared_folder, plan_on_cluster
from tune.placement.streaming import prepare
from tune.space.checks import check_space
from tune.space.combinations import combinations
from tune.space.default_space import with_space
from tune.study.initial_trials import check_first_trials, earlier_trials
from tune.study.lock import LockedFolder, locked_folder
from tune.study.opening import check_folder, quiet_optuna
from tune.study.repetition import check_confirmation, with_scale
from tune.study.trial_summary import TrialSummary


@dataclass(frozen=True)
class ResolvedSearch:
    """A search that has passed its checks: everything that it needs, with its folder locked and Ray connected."""

    config: SearchConfig
    """With absolute places, the parameters and objectives of this study, and the part of a GPU that each trial gets."""
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
def resolve(config: SearchConfig, wait: bool, console: Console, allow_change: bool) -> Iterator[ResolvedSearch]:
    """Check a search, and keep its folder locked and Ray connected for the time of the `with` block.

    Args:
        config: the search; relative places are resolved against the working directory.
        wait: wait for a cluster that holds a trial.
        console: shows progress.
        allow_change: the study may be continued with another configuration or other data.

    Raises:
        UserError: the space, the storage, the data or the resources cannot be used.
    """
    config = config.with_absolute_places()
    with sigterm_as_ctrl_c(), quiet_optuna(), locked_folder(config) as folder:
        recorded_space = None
        recorded_objectives = None
        if folder.record.is_file():
            recorded = folder.read_record().config.search
            recorded_space = recorded.space
            recorded_objectives = recorded.compared_by
        # With the widest space first, to report mistakes before the data are read: they decide which parameters apply.
        _check_settings(with_space(config, recorded_space, other_averages=True)[0])
        with line_a_minute(console, lambda: "reading the data"):
            data = prepare(config)
        config, not_searched = with_space(config, recorded_space, other_averages=data.train.has_independent_averages)
        check_first_trials(config)
        measurable = preflight(config.of_a_trial, data, config.search.workers)
        confirm = config.search.confirm
        if confirm is not None:
            repeated = with_scale(config.of_a_trial, confirm.epochs, confirm.width)
            preflight(repeated, data, config.search.workers)
        objectives = chosen_objectives(config.search.objectives, recorded_objectives, measurable.metrics)
        _check_objectives(objectives, config, data, measurable)
        config = config.with_settings(objectives=objectives)
        # Before Ray starts; `open_study` checks again, under the lock of the database.
        check_folder(folder, config, data.fingerprint, allow_change=allow_change)
        earlier = earlier_trials(config, data.fingerprint)
        folds = prepare_folds(config, data)
        with ray_cluster(data.nbytes + sum(fold.nbytes for fold in folds)) as own_ray:
            config = with_gpus_shared(config, data)
            workers = WorkerGroup.of(config.search)
            plan = plan_on_cluster(workers, wait, partial(print_line, console), config.search.max_concurrent)
            check_shared_folder(folder.place)
            yield ResolvedSearch(config, folder, data, own_ray, plan, earlier, measurable, folds, not_searched)


def _check_settings(config: SearchConfig) -> None:
    """Check the space, and what has to suit it.

    Raises:
        UserError: a mistake in one of them.
    """
    check_space(config)
    check_confirmation(config)
    check_early_stopping(config)
    check_first_trials(config)


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
