"""Adapter between Ray Tune, which runs trials, and the ledger of the study.

Tune asks for suggestions and reports results; each is passed on to the ledger at once. Nothing is kept here but which
Tune trial is which trial of the study, and Tune's own state is never read back.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray.tune
import ray.tune.search
from optuna.trial import Trial

from hcvae.errors import StorageError
from tune.config import SearchConfig
from tune.early_stopping.actor import rungs
from tune.report.progress import Progress
from tune.study.ledger import TrialLedger
from tune.study.outcome import Outcome
from tune.trial.attempt import Attempt
from tune.trial.message import Message

LOOK_S = 2.0
"""Between two looks for trials that other processes have finished or given up."""


class StudySearcher(ray.tune.search.Searcher):  # type: ignore[misc]
    """Hands the ledger's trials to Ray Tune, and their ends to the ledger."""

    def __init__(self, ledger: TrialLedger, config: SearchConfig, progress: Progress) -> None:
        super().__init__()
        self.running: dict[str, Trial] = {}
        """Trials of the study that this process runs, by Tune's identifiers."""
        self.broken: Exception | None = None
        """The error in the study or its folder that ends the search; Tune would only log it."""
        self.end_training: Callable[[int, int, str], object] = lambda number, attempt, reason: None
        """Stops the training of an attempt at a trial after its epoch; set once trainings can be reached."""
        self.interrupted: Callable[[], bool] = lambda: False
        """Whether there was a Ctrl-C."""
        self._ledger = ledger
        self._progress = progress
        self._rungs = rungs(config)
        self._settings = config.search
        self._next_look = 0.0

    def owned(self) -> list[Trial]:
        """Return the trials of the study that this process runs."""
        return list(self.running.values())

    def is_under_way(self) -> bool:
        """Return whether there is a trial to hand out, or one that another process runs."""
        has_work, elsewhere = self._ledger.look()
        return has_work or bool(elsewhere)

    def wait_for_work(self) -> bool:
        """Wait while the last trials are run by other processes; return whether there is a trial to hand out."""
        while True:
            has_work, elsewhere = self._ledger.look()
            if has_work or not elsewhere:
                return has_work
            self._progress.waiting(elsewhere)
            time.sleep(LOOK_S)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the next trial's number, attempt and parameters; None while this process's last trials are running,
        which may have to be handed out again; then `FINISHED`."""
        if self.running and time.monotonic() < self._next_look:
            return None
        assignment = self._ledger.hand_out()
        if assignment is None:
            self._next_look = time.monotonic() + LOOK_S
            if self.running:
                return None
            return str(ray.tune.search.Searcher.FINISHED)
        number = assignment.trial.number
        self.running[trial_id] = assignment.trial
        self._progress.started(number, assignment.params, assignment.repetition)
        attempt = Attempt(
            assignment.place,
            assignment.earlier,
            assignment.identity,
            assignment.events,
            self._settings.compared_by,
            self._settings.constraints,
        )
        return {
            "number": number,
            "attempt_number": assignment.lease.attempt,
            "attempt": attempt,
            "params": assignment.params,
            "repetition": assignment.repetition,
        }

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Show the precision or an epoch; the outcome is recorded when the trial has ended."""
        message = Message.read(result)
        if message.precision is not None:
            self._progress.precision(self.running[trial_id].number, message.precision)
        if message.epoch is not None:
            trial = self.running[trial_id]
            if message.epoch["epoch"] in self._rungs:
                self._ledger.record_epoch(trial, message.epoch)
            self._progress.epoch(trial.number, message.epoch)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Record the outcome. A trial without one is left to `SearchCallback`, which has the reason."""
        if error:
            return
        outcome = Message.read(result or {}).outcome
        assert outcome is not None, "a trial that Tune calls complete has reported its outcome"
        self.end(trial_id, outcome)

    def end(self, trial_id: str, outcome: Outcome) -> None:
        """Record the end of a trial; where its files cannot be written, the search ends too."""
        trial = self.running[trial_id]
        self._record(trial_id, lambda: self._ledger.end(trial, outcome))
        if self._ledger.unwritten is not None and self.broken is None:
            self.broken = StorageError(self._ledger.unwritten)

    def end_by_death(self, trial_id: str, reason: str) -> None:
        """Record that the process of a trial has died."""
        trial = self.running[trial_id]
        self._record(trial_id, lambda: self._ledger.end_by_death(trial, reason))

    def ended_elsewhere(self, trial: Trial) -> None:
        """Stop the training of a trial that another program has ended, or another process adopted."""
        attempt = self._ledger.attempt_at(trial.number)
        self.end_training(trial.number, attempt, "another program has ended or adopted the trial")

    def _record(self, trial_id: str, record: Callable[[], None]) -> None:
        try:
            record()
        except Exception as error:  # noqa: BLE001 - raised again by SearchCallback, where Tune does not swallow it
            self.broken = error
        del self.running[trial_id]
        self._next_look = 0.0

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: Tune's snapshots are never read, as a search continues from the study."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Save nothing, likewise."""


class SearchCallback(ray.tune.Callback):  # type: ignore[misc]
    """Passes the deaths of trials' processes to the searcher, and ends the search at an error or a Ctrl-C."""

    def __init__(self, searcher: StudySearcher) -> None:
        self._searcher = searcher

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Record the death of the trial's process; a training that raises has an outcome instead."""
        self._searcher.end_by_death(trial.trial_id, _reason(Path(trial.error_file)))

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """End the search after one of Tune's steps, if it has to end.

        Raises:
            KeyboardInterrupt: Ctrl-C, where a library dropped the interrupt.
            Exception: an error in the study or its folder.
        """
        if self._searcher.interrupted():
            raise KeyboardInterrupt
        if self._searcher.broken:
            raise self._searcher.broken


def _reason(file: Path) -> str:
    lines = file.read_text().strip().splitlines()
    # Ray's memory monitor gives the reason at the beginning, and at the end how to change its settings.
    for line in reversed(lines):
        if "low on memory" in line:
            return line.strip()
    return lines[-1].strip()
