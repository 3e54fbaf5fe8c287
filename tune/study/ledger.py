"""The trials of a study as one searching process handles them: which one to train next, and what to record at its end.

The study is the one source of truth about its trials. Nothing is kept here but this process's attempts at them, and
which trials it has already seen finished. Other processes may search in the same study at the same time.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeVar

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, Trial, TrialState

from hcvae.errors import UserError
from hcvae.storage import StoragePath
from tune.config import SearchConfig
from tune.internals.optuna_internals import (
    hidden_from_sampler,
    is_in_database,
    recorded,
    start_waiting,
    trial_key,
)
from tune.space.search_space import Values
from tune.study.budget import Budget
from tune.study.confirmation import enqueue, next_round
from tune.study.database import Database, retry
from tune.study.leases import Lease, Leases, in_training, study_id
from tune.study.opening import ended_at, ended_trials, has_ended
from tune.study.outcome import Ending, Outcome
from tune.study.pareto_archive import ParetoArchive
from tune.study.recording import TrialRecorder
from tune.study.repetition import Repetition, is_repetition, repetition_of
from tune.study.samplers import ask, is_exhausted, suggest_parameters
from tune.study.transaction import transaction
from tune.study.trial_identity import TrialIdentity
from tune.study.trial_summary import TrialSummary

MAX_RESTARTS = 3
"""How often a trial is handed out again after the death of its process."""

T = TypeVar("T")


class Events(Protocol):
    """What a ledger reports as it happens."""

    def finished(self, trial: TrialSummary) -> None:
        """Report that a trial has finished, here or in another process."""

    def suspended(self, number: int, reason: str) -> None:
        """Report that a trial of this process was left for the next start of the search."""

    def died(self, number: int, reason: str) -> None:
        """Report that the process of a trial died, and the trial can be handed out again."""

    def lost(self, number: int) -> None:
        """Report that another process has adopted a trial of this one."""


@dataclass(frozen=True)
class Assignment:
    """A trial that this process is to train."""

    trial: Trial
    params: Values
    lease: Lease
    place: StoragePath
    """Folder of the attempt."""
    earlier: tuple[StoragePath, ...]
    """Folders of the earlier attempts at it, the latest first."""
    events: StoragePath
    """Folder of the attempt's TensorBoard events."""
    repetition: Repetition | None
    """Which trial it repeats; None: it is a trial of the search."""

    @property
    def identity(self) -> TrialIdentity:
        """The trial as its attempt's folder and its bundle record it."""
        number = self.trial.number
        return TrialIdentity(study=self.lease.study, trial=self.lease.trial, number=number, params=self.params)


class UnderWay(NamedTuple):
    """The trials that have not ended."""

    running: list[FrozenTrial]
    """Those in training, here or in another process, and interrupted ones."""
    waiting: list[FrozenTrial]
    """Enqueued repetitions."""


class TrialLedger:
    """Adopts trials that nobody runs any more, then starts the repetitions of a confirmation that has begun, then asks
    the study for new trials, and once the budget is spent confirms the most promising; records the end of each.

    Made under the study's lock. Every method that reads or writes the study tries again for a while where the database
    or the disk refuses, see `tune.study.database.retry`, and raises:

    Raises:
        StorageError: it was refused for a long time.
        UserError: the study is no longer in its database.
    """

    def __init__(
        self,
        study: optuna.Study,
        database: Database,
        config: SearchConfig,
        archive: ParetoArchive,
        budget: Budget,
        events: Events,
    ) -> None:
        self.leases = Leases(study, alone=not database.shared)
        self.unwritten: str | None = None
        """Why a trial of this process was suspended whose files cannot be written; the search then has to end."""
        self._study = study
        self._database = database
        self._config = config
        self._archive = archive
        self._budget = budget
        self._events = events
        self._attempts: dict[int, int] = {}  # by number of the trial: the latest attempt of this process
        self._recorder = TrialRecorder(study, archive.folder, config)
        self._study_id = study_id(study)
        self._seen_finished: set[int] = set()  # trials that count against the budget
        self._seen_repeated: set[int] = set()
        for trial in ended_trials(study):
            self._see(trial)
        self._n_all_ended = 0  # all trials of smaller numbers have ended, and are not looked at again

    def attempt_at(self, number: int) -> int:
        """Return the number of this process's latest attempt at a trial."""
        return self._attempts[number]

    def look(self) -> tuple[bool, list[int]]:
        """Return whether there is a trial to hand out, and the numbers of those that only other processes can end."""
        return self._retried(self._look)

    def hand_out(self) -> Assignment | None:
        """Own the next trial and return it; None where there is none now."""
        return self._retried(self._hand_out)

    def record_epoch(self, trial: Trial, metrics: dict[str, float]) -> None:
        """Record the objectives of an epoch of a running trial: others may be compared with it before it ends."""
        self._retried(lambda: self._record_epoch(trial, metrics))

    def end(self, trial: Trial, outcome: Outcome) -> None:
        """Record the end of a trial in the study, then on disk, then report it."""
        self._settle(trial, lambda: self._record_outcome(trial, outcome))

    def end_by_death(self, trial: Trial, reason: str) -> None:
        """Record the death of a trial's process: the trial can be handed out again, or has failed."""
        before = self._retried(lambda: self._recorder.deaths(trial))
        deaths = (*before, reason)  # counted once, however often it is written
        self._settle(trial, lambda: self._record_deaths(trial, deaths))

    def _retried(self, action: Callable[[], T]) -> T:
        try:
            return retry(action)
        except KeyError:
            # Optuna answers questions about this study alone from its cache.
            if is_in_database(self._study):
                raise
            raise UserError(
                f"{self._archive.folder}: another program has deleted or renamed the study while it was searched; "
                "its models are still there, and the same command continues a renamed study"
            ) from None

    def _look(self) -> tuple[bool, list[int]]:
        with self._database.locked():
            running, waiting = self._take_in()
            has_work = bool(self._adoptable(running) or waiting) or self._has_room(running)
            has_work = has_work or bool(self._round_to_begin(running))
        if self._budget.spent:
            return has_work, []
        return has_work, [trial.number for trial in running]

    def _hand_out(self) -> Assignment | None:
        with self._database.locked() as now:
            running, waiting = self._take_in()
            with transaction(self._study):
                assignment = self._adopt(running, now) or self._repeat(waiting, now) or self._start(running, now)
                if assignment is None and not waiting:
                    assignment = self._begin_round(running, now)
            if assignment is not None:
                self._attempts[assignment.trial.number] = assignment.lease.attempt
        return assignment

    def _adopt(self, running: list[FrozenTrial], now: float) -> Assignment | None:
        """Own an interrupted trial; those whose parameters are refused are removed from `running`."""
        for frozen in self._adoptable(running):
            with hidden_from_sampler(self._study, is_repetition):
                trial = Trial(self._study, trial_key(frozen))
                params = suggest_parameters(self._study, trial, self._config, adopted=True)
            if params is not None:
                return self._assign(trial, params, now, adopted=True, repetition=self._repetition_of(frozen))
            running.remove(frozen)
        return None

    def _repeat(self, waiting: list[FrozenTrial], now: float) -> Assignment | None:
        """Own the first of the `waiting` repetitions whose parameters are not refused."""
        for frozen in waiting:
            with hidden_from_sampler(self._study, is_repetition):
                trial = start_waiting(self._study, frozen)
                if trial is None:
                    continue
                params = suggest_parameters(self._study, trial, self._config)
            if params is not None:
                self._recorder.clear(trial)
                return self._assign(trial, params, now, adopted=False, repetition=self._repetition_of(frozen))
        return None

    def _start(self, running: list[FrozenTrial], now: float) -> Assignment | None:
        if not self._has_room(running):
            return None
        trial, params = ask(self._study, self._config)
        self._recorder.clear(trial)
        return self._assign(trial, params, now, adopted=False, repetition=None)

    def _begin_round(self, running: list[FrozenTrial], now: float) -> Assignment | None:
        """Enqueue a round of confirmation, and own its first repetition."""
        repetitions = self._round_to_begin(running)
        if not repetitions:
            return None
        enqueue(self._study, repetitions, self._archive.ended)
        waiting = self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        return self._repeat(self._repetitions_among(waiting), now)

    def _assign(
        self, trial: Trial, params: Values, now: float, *, adopted: bool, repetition: Repetition | None
    ) -> Assignment:
        folder = self._archive.folder
        number = trial.number
        attempts = folder.attempts(number)  # where not adopted: of another trial that had this number
        lease = self.leases.acquire(trial, now, adopted=adopted, attempts=max(attempts, default=0))
        earlier = []
        if adopted:
            earlier = [folder.attempt(number, attempt) for attempt in reversed(attempts)]
        return Assignment(
            trial,
            params,
            lease,
            folder.attempt(number, lease.attempt),
            tuple(earlier),
            folder.events(number, lease.attempt),
            repetition,
        )

    def _adoptable(self, running: list[FrozenTrial]) -> list[FrozenTrial]:
        # Interrupted trials are finished even where the budget has been lowered since.
        if self._budget.out_of_time:
            running = self._repetitions_among(running)
        return self.leases.reclaimable(running)

    def _has_room(self, running: list[FrozenTrial]) -> bool:
        under_way = len(self._seen_finished) + len(running) - len(self._repetitions_among(running))
        if self._budget.spent or under_way >= self._config.search.trials:
            return False
        return not is_exhausted(self._study, self._config)

    def _round_to_begin(self, running: list[FrozenTrial]) -> list[Repetition]:
        """Return the next round of confirmation, where nothing else is to hand out, once no process trains a trial of
        the search, and the last round has ended: after `search.search_seconds`, suspended trials stay as they are."""
        if self._config.search.confirm is None or self._has_room(running):
            return []
        if len(self.leases.reclaimable(running)) < len(running):
            return []
        not_ended = self._study.get_trials(deepcopy=False, states=(TrialState.WAITING, TrialState.RUNNING))
        if self._repetitions_among(not_ended):
            return []
        return next_round(self._archive.ended, self._config.search, self._study_id)

    def _take_in(self) -> UnderWay:
        """Take in the trials that have finished since the last look, here or in another process; return the others."""
        trials = self._study.get_trials(deepcopy=False)[self._n_all_ended :]
        for trial in sorted(filter(self._is_new, trials), key=ended_at):
            summary = self._archive.summarize(trial)
            self._archive.add(summary)  # may have to be done again
            self._see(trial)
            if summary.repetition is None:
                self._budget.count(summary.number, summary.own_point)
            self._events.finished(summary)
        self._pass_over_ended(trials)
        waiting = [trial for trial in trials if trial.state == TrialState.WAITING]
        return UnderWay(list(filter(in_training, trials)), self._repetitions_among(waiting))

    def _pass_over_ended(self, trials: Iterable[FrozenTrial]) -> None:
        """Do not look again at those of `trials` before the first one that has not ended."""
        for trial in trials:
            if not trial.state.is_finished():
                return
            self._n_all_ended += 1

    def _is_new(self, trial: FrozenTrial) -> bool:
        seen = trial.number in self._seen_finished or trial.number in self._seen_repeated
        return not seen and has_ended(trial, self._study_id)

    def _see(self, trial: FrozenTrial) -> None:
        if self._repetition_of(trial) is None:
            self._seen_finished.add(trial.number)
        else:
            self._seen_repeated.add(trial.number)

    def _repetition_of(self, trial: FrozenTrial) -> Repetition | None:
        return repetition_of(trial, self._study_id)

    def _repetitions_among(self, trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
        return list(filter(self._repetition_of, trials))

    def _settle(self, trial: Trial, write: Callable[[], None]) -> None:
        """Call `write` under the study's lock, if this process still owns `trial`; then take in what has finished."""

        def take_in() -> None:
            with self._database.locked():
                self._take_in()

        self._retried(lambda: self._write_if_owned(trial, write))
        self._retried(take_in)

    def _write_if_owned(self, trial: Trial, write: Callable[[], None]) -> None:
        with self._database.locked():
            frozen = recorded(self._study, trial)
            if not self.leases.holds(frozen):
                self._events.lost(trial.number)
                return
            if frozen.state.is_finished():  # it was written before the connection broke
                return
            try:
                with transaction(self._study):
                    write()
            except (UpdateFinishedTrialError, ValueError):
                # Another program, which takes no lock, may have ended the trial at this moment: that is accepted.
                if not recorded(self._study, trial).state.is_finished():
                    raise

    def _record_outcome(self, trial: Trial, outcome: Outcome) -> None:
        if outcome.state in (Ending.SUSPENDED, Ending.UNWRITTEN):
            self.leases.release(trial)
            self._events.suspended(trial.number, str(outcome.stopped))
            if outcome.state == Ending.UNWRITTEN:
                self.unwritten = f"trial {trial.number}: {outcome.stopped}"
            return
        if outcome.values is not None:
            self.leases.record_values(trial, outcome.values)
        self._recorder.end(trial, self._attempts[trial.number], outcome)

    def _record_deaths(self, trial: Trial, deaths: tuple[str, ...]) -> None:
        self._recorder.write_deaths(trial, deaths)
        if len(deaths) > MAX_RESTARTS:
            failure = f"the trial's process died {len(deaths)} times, most recently: {deaths[-1]}"
            self._record_outcome(trial, Outcome(state=Ending.FAILED, failure=failure))
        else:
            self.leases.release(trial)
            self._events.died(trial.number, deaths[-1])

    def _record_epoch(self, trial: Trial, metrics: dict[str, float]) -> None:
        with self._database.locked(), suppress(UpdateFinishedTrialError):  # another program has ended the trial
            if self.leases.holds(trial):
                self._recorder.add_epoch(trial, metrics)
