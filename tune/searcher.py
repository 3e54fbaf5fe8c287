"""Between Ray Tune, which runs trials, and the Optuna study, which is the one source of truth about them.

Tune asks for suggestions and tells of results; each is passed on to the study at once. Nothing is kept here but which
Tune trial is which trial of the study, and Tune's own state is never read back.
"""

import itertools
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import optuna
import ray.tune
import ray.tune.search
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, Trial, TrialState

from hcvae.bundle import nonfinite_to_none
from hcvae.errors import StorageError, UserError
from hcvae.training.diagnosis import diagnose
from tune.config import SearchConfig
from tune.early_stopping.actor import rungs
from tune.internals.optuna_internals import is_in_database, recorded, trial_key
from tune.pareto import OBJECTIVES
from tune.report.progress import Progress
from tune.space.search_space import ParameterValue, apply
from tune.study.artifacts import upload, upload_texts
from tune.study.budget import Budget
from tune.study.database import Database, retry
from tune.study.leases import OUTSIDE_BUDGET, Lease, Leases, in_training, study_id
from tune.study.opening import counts_against_budget, finished_trials, git_revision
from tune.study.pareto_archive import Front
from tune.study.samplers import ask, is_exhausted, suggest_parameters
from tune.study.transaction import transaction
from tune.study.trial_attributes import attributes_of, record
from tune.study.trial_identity import TrialIdentity
from tune.trial.attempt import Attempt
from tune.trial.figures import FIGURES
from tune.trial.outcome import Message, Outcome

MAX_RESTARTS = 3
"""How often a trial is handed out again after the death of its process."""
LOOK_S = 2.0
"""Between two looks for trials that others have finished or given up."""

REPORTED = "epochs_reported"
"""Attribute with the objectives of each epoch: while a trial runs those at rungs, in the end all."""
OWN_ATTRIBUTES = (
    *("failure", "stopped", "deaths", "rungs", "history", "diagnosis", "figure_failure", OUTSIDE_BUDGET, REPORTED),
)
"""Attributes that a search writes, and reads again, or shows."""

T = TypeVar("T")


class StudySearcher(ray.tune.search.Searcher):  # type: ignore[misc]
    """Adopts trials that nobody runs any more, then asks the study; tells it of every end of a trial, truthfully.

    Made under the study's lock. What other processes finish in the same study is taken in when it is looked at.
    """

    def __init__(
        self,
        study: optuna.Study,
        database: Database,
        config: SearchConfig,
        front: Front,
        progress: Progress,
        budget: Budget,
    ) -> None:
        super().__init__()
        self.running: dict[str, Trial] = {}
        """Trials of the study that this process runs, by Tune's identifiers."""
        self.broken: Exception | None = None
        """What went wrong in the study or its folder; Tune would only log it."""
        self.leases = Leases(study, alone=not database.shared)
        self.end_training: Callable[[int, int, str], object] = lambda number, attempt, reason: None
        """Lets the training of an attempt at a trial stop after its epoch; set once trainings can be reached."""
        self.interrupted: Callable[[], bool] = lambda: False
        """Whether there was a Ctrl-C."""
        self._budget = budget
        self._study = study
        self._database = database
        self._config = config
        self._rungs = rungs(config)
        self._front = front
        self._progress = progress
        self._attempts: dict[int, int] = {}  # by number of the trial: the latest that this process has run
        self._git_revision = git_revision()
        self._study_id = study_id(study)
        self._known = {trial.number for trial in finished_trials(study)}
        self._all_ended = 0  # trials of smaller numbers: they are not looked at again
        self._next_look = 0.0

    def owned(self) -> list[Trial]:
        """The trials that this process runs."""
        return list(self.running.values())

    def is_under_way(self) -> bool:
        """Whether there is a trial to hand out, or one that another process runs."""
        has_work, others = self._in_study(self._look)
        return has_work or bool(others)

    def wait_for_work(self) -> bool:
        """Whether there is a trial to hand out; waits while the last ones are run by other processes."""
        while True:
            has_work, others = self._in_study(self._look)
            if has_work or not others:
                return has_work
            self._progress.waiting(others)
            time.sleep(LOOK_S)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The next trial's number, folders and parameters; None while this process's last trials are running, which may
        have to be handed out again; then `FINISHED`."""
        if self.running and time.monotonic() < self._next_look:
            return None
        suggestion = self._in_study(lambda: self._hand_out(trial_id))
        if suggestion is None:
            self._next_look = time.monotonic() + LOOK_S
            return None if self.running else str(ray.tune.search.Searcher.FINISHED)
        return suggestion

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Show the precision or an epoch; the outcome is taken when the trial has ended."""
        message = Message.read(result)
        if message.precision is not None:
            self._progress.precision(self.running[trial_id].number, message.precision)
        if message.epoch is not None:
            trial, metrics = self.running[trial_id], message.epoch
            self._in_study(lambda: self._remember(trial, metrics))
            self._progress.epoch(trial.number, metrics)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell the study. Of a trial without an outcome `EndOfTrials` tells, which knows the reason."""
        if error:
            return
        outcome = Message.read(result or {}).outcome
        assert outcome is not None, "a trial that Tune calls complete has reported its outcome"
        self.tell(trial_id, outcome)

    def tell(self, trial_id: str, outcome: Outcome) -> None:
        """Record the end of a trial in the study, then on disk, then on the screen."""
        self._end(trial_id, lambda trial: self._settle(trial, outcome))

    def died(self, trial_id: str, reason: str) -> None:
        """The process of a trial has died: the trial is free for another attempt, or has failed."""
        deaths = self._in_study(lambda: [*self._listed(self.running[trial_id], "deaths"), reason])
        self._end(trial_id, lambda trial: self._count_death(trial, deaths))

    def ended_elsewhere(self, trial: Trial) -> None:
        """Let the training of a trial stop that another program has ended, or another process adopted."""
        self.end_training(trial.number, self._attempts[trial.number], "another program has ended or adopted the trial")

    def _in_study(self, action: Callable[[], T]) -> T:
        """Do what reads or writes the study; see `retry`.

        Raises:
            UserError: the study is no longer in its database.
        """
        try:
            return retry(action)
        except KeyError:
            # Optuna answers questions about this study alone from what it remembers.
            if is_in_database(self._study):
                raise
            raise UserError(
                f"{self._front.folder}: another program has deleted or renamed the study while it was searched; "
                "its models are still there, and the same command goes on with a renamed study"
            ) from None

    def _end(self, trial_id: str, settle: Callable[[Trial], None]) -> None:
        """`settle` a trial under the study's lock, where it still is this process's."""
        trial = self.running[trial_id]

        def settle_once() -> None:
            with self._database.locked():
                frozen = recorded(self._study, trial)
                if not self.leases.holds(frozen):
                    self._progress.lost(trial.number)
                elif not frozen.state.is_finished():  # it may have been told before the connection broke
                    try:
                        with transaction(self._study):
                            settle(trial)
                    except (UpdateFinishedTrialError, ValueError):
                        if not recorded(self._study, trial).state.is_finished():
                            raise
                        # Another program, which takes no lock, has ended the trial in this moment: that is accepted.

        def take_in() -> None:
            with self._database.locked():
                self._take_in()

        try:
            self._in_study(settle_once)
            self._in_study(take_in)
        except Exception as error:  # noqa: BLE001 - raised again by EndOfTrials, where Tune does not swallow it
            self.broken = error
        del self.running[trial_id]
        self._next_look = 0.0

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune's snapshots are never read, as a search goes on from the study."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing, likewise."""

    def _look(self) -> tuple[bool, list[int]]:
        """Whether there is a trial to hand out, and the numbers of those that only others may end."""
        with self._database.locked():
            running = self._take_in()
            has_work = bool(self._adoptable(running)) or self._has_room(running)
        return has_work, [] if self._budget.spent else [trial.number for trial in running]

    def _hand_out(self, trial_id: str) -> dict[str, Any] | None:
        with self._database.locked() as now:
            running = self._take_in()
            with transaction(self._study):
                handed_out = self._next(running, now)
                if handed_out is None:
                    return None
                trial, params, claim, earlier = handed_out
            self.running[trial_id], self._attempts[trial.number] = trial, claim.attempt
        self._progress.started(trial.number, params)
        folder = self._front.folder
        identity = TrialIdentity(study=claim.study, trial=claim.trial, number=trial.number, params=params)
        places = tuple(folder.attempt(trial.number, number) for number in reversed(earlier))
        events = folder.events(trial.number, claim.attempt)
        attempt = Attempt(folder.attempt(trial.number, claim.attempt), places, identity, events)
        return {"number": trial.number, "attempt_number": claim.attempt, "attempt": attempt, "params": params}

    def _next(
        self, running: list[FrozenTrial], now: float
    ) -> tuple[Trial, dict[str, ParameterValue], Lease, list[int]] | None:
        """A trial to run, owned: its parameters, the claim, and the earlier attempts at it."""
        for frozen in self._adoptable(running):
            trial = Trial(self._study, trial_key(frozen))
            params = suggest_parameters(self._study, trial, self._config, adopted=True)
            if params is not None:
                attempts = self._front.folder.attempts(trial.number)
                claim = self.leases.acquire(trial, now, adopted=True, attempts=max(attempts, default=0))
                return trial, params, claim, attempts
            running.remove(frozen)
        if not self._has_room(running):
            return None
        trial, params = ask(self._study, self._config)
        record(self._study, trial, dict.fromkeys(OWN_ATTRIBUTES))  # of a trial that another program has copied
        attempts = self._front.folder.attempts(trial.number)  # of another trial that had its number
        claim = self.leases.acquire(trial, now, adopted=False, attempts=max(attempts, default=0))
        return trial, params, claim, []

    def _adoptable(self, running: list[FrozenTrial]) -> list[FrozenTrial]:
        # Trials that were interrupted are finished even where the budget has been lowered since.
        return [] if self._budget.out_of_time else self.leases.reclaimable(running)

    def _has_room(self, running: list[FrozenTrial]) -> bool:
        under_way = len(self._known) + len(running)
        if self._budget.spent or under_way >= self._config.search.trials:
            return False
        return not is_exhausted(self._study, self._config)

    def _take_in(self) -> list[FrozenTrial]:
        """Take in the trials that have finished since the last look, here or in another process; those that run."""
        trials = self._study.get_trials(deepcopy=False)[self._all_ended :]
        new = [
            trial
            for trial in trials
            if trial.number not in self._known and counts_against_budget(trial, self._study_id)
        ]
        for trial in sorted(new, key=lambda trial: trial.datetime_complete or datetime.max):
            summary = self._front.summarize(trial)
            self._front.add(summary)  # may have to be done again
            self._known.add(trial.number)
            self._budget.count(summary.number, summary.point)
            self._progress.finished(summary)
        ended = itertools.takewhile(lambda trial: trial.state.is_finished(), trials)
        self._all_ended += sum(1 for _ in ended)
        return [trial for trial in trials if in_training(trial)]

    def _settle(self, trial: Trial, outcome: Outcome) -> None:
        if outcome.state == "suspended":
            self.leases.release(trial)
            self._progress.suspended(trial.number, str(outcome.stopped))
            if outcome.unwritten:
                self.broken = StorageError(f"trial {trial.number}: {outcome.stopped}")
            return
        self._annotate(trial, outcome)
        if outcome.values is not None:
            self.leases.record_values(trial, outcome.values)
        if outcome.state == "complete":
            self._study.tell(trial, outcome.values)
        else:
            self._study.tell(trial, state=TrialState.PRUNED if outcome.state == "pruned" else TrialState.FAIL)

    def _count_death(self, trial: Trial, deaths: list[str]) -> None:
        record(self._study, trial, {"deaths": deaths})
        if len(deaths) > MAX_RESTARTS:
            failure = f"the trial's process died {len(deaths)} times, at last: {deaths[-1]}"
            self._settle(trial, Outcome(state="failed", failure=failure))
        else:
            self.leases.release(trial)
            self._progress.died(trial.number, deaths[-1])

    def _remember(self, trial: Trial, metrics: dict[str, float]) -> None:
        # Its history comes with its end; other trials may be compared with it before, in the next start too.
        if metrics["epoch"] in self._rungs:
            with self._database.locked(), suppress(UpdateFinishedTrialError):  # another program has ended the trial
                if self.leases.holds(trial):
                    reported = [*self._listed(trial, REPORTED), *_reported([metrics])]
                    record(self._study, trial, {REPORTED: reported})

    def _listed(self, trial: Trial, name: str) -> list[Any]:
        """A list in an attribute; empty where another program has put something else there."""
        found = attributes_of(recorded(self._study, trial)).get(name)
        return found if isinstance(found, list) else []

    def _annotate(self, trial: Trial, outcome: Outcome) -> None:
        last = outcome.history[-1] if outcome.state == "pruned" else None
        attributes = {
            "failure": outcome.failure,
            "stopped": outcome.stopped,
            "values_at_stop": [last[name] for name in OBJECTIVES] if last else None,
            "deaths": self._listed(trial, "deaths") or None,
            "traceback": outcome.traceback,
            "best_epoch": outcome.best_epoch,
            "epochs": len(outcome.history),
            "seconds": sum(epoch["seconds"] or 0 for epoch in outcome.history),
            REPORTED: _reported(outcome.history),
            "diagnosis": self._diagnosis(trial, outcome),
            "figure_failure": self._upload(trial, outcome),
            "precision": outcome.precision and outcome.precision.used,
            "precision_choice": outcome.precision and outcome.precision.model_dump(mode="json"),
            "git_revision": self._git_revision,
        }
        record(self._study, trial, attributes)
        upload_texts(self._front.folder, trial, attributes | {REPORTED: None}, outcome.history)

    def _upload(self, trial: Trial, outcome: Outcome) -> str | None:
        """Take in the trial's figures; why one is missing."""
        if not outcome.figures:
            return outcome.figure_failure
        try:
            attempt = self._front.folder.attempt(trial.number, self._attempts[trial.number])
            upload(self._front.folder, trial, attempt / FIGURES, outcome.figures)
        except OSError as error:
            return f"{type(error).__name__}: {error}"
        return outcome.figure_failure

    def _diagnosis(self, trial: Trial, outcome: Outcome) -> list[dict[str, str]] | None:
        if not outcome.history and not outcome.diverged:
            return None  # nothing was trained; its parameters may not even be valid
        config = apply(self._config, trial.params)
        return [asdict(finding) for finding in diagnose(config, outcome.history, diverged=outcome.diverged)]


class EndOfTrials(ray.tune.Callback):  # type: ignore[misc]
    """Tells of trials whose process died, and ends the search when its books cannot be kept."""

    def __init__(self, searcher: StudySearcher) -> None:
        self._searcher = searcher

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """The trial's process died: a training that raises has an outcome."""
        self._searcher.died(trial.trial_id, _reason(Path(trial.error_file)))

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """After each of Tune's steps.

        Raises:
            KeyboardInterrupt: Ctrl-C, where the interrupt that it raised was dropped.
            Exception: what went wrong in the study or its folder.
        """
        if self._searcher.interrupted():
            raise KeyboardInterrupt
        if self._searcher.broken:
            raise self._searcher.broken


def _reported(history: Iterable[Mapping[str, float | None]]) -> list[dict[str, float | None]]:
    """Epoch and objectives of each epoch."""
    return nonfinite_to_none({name: metrics[name] for name in ("epoch", *OBJECTIVES)} for metrics in history)


def _reason(file: Path) -> str:
    lines = [line.strip() for line in file.read_text().splitlines() if line.strip()]
    # Ray's memory monitor says why it killed at the beginning, and how to change it at the end.
    killed = [line for line in lines if "low on memory" in line]
    return (killed or lines)[-1]
