"""Between Ray Tune, which runs trials, and the Optuna study, which is the one source of truth about them.

Tune asks for suggestions and tells of results; each is passed on to the study at once. Nothing is kept here but which
Tune trial is which trial of the study, and Tune's own state is never read back.
"""

from collections import deque
from dataclasses import asdict
from pathlib import Path
from typing import Any

import optuna
import ray.tune
import ray.tune.search
from optuna.trial import Trial, TrialState

from hcvae.bundle import finite
from hcvae.training.diagnosis import diagnose
from tune.artifacts import upload
from tune.budget import Budget
from tune.config import SearchConfig
from tune.decisions import rungs
from tune.front import Front, summarize
from tune.outcome import Message, Outcome
from tune.pareto import OBJECTIVES
from tune.progress import Progress
from tune.samplers import ask, draw
from tune.space import Value, apply
from tune.study import git_revision, interrupted


class StudySearcher(ray.tune.search.Searcher):  # type: ignore[misc]
    """Hands interrupted trials back first, then asks the study; tells it of every end of a trial, truthfully."""

    def __init__(
        self, study: optuna.Study, config: SearchConfig, front: Front, progress: Progress, budget: Budget
    ) -> None:
        super().__init__()
        self.interrupted = deque(interrupted(study))
        """Trials of an earlier process, to be continued under their own number and from their own checkpoint."""
        self.running: dict[str, Trial] = {}
        """Trials of the study by Tune's identifiers."""
        self.broken: Exception | None = None
        """What went wrong in the study or its folder; Tune would only log it."""
        self._budget = budget
        self._study = study
        self._config = config
        self._rungs = rungs(config)
        self._front = front
        self._progress = progress
        self._git_revision = git_revision()

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        """The next trial's number, folder and parameters; `FINISHED` where a budget is spent."""
        handed_out = self._next()
        if handed_out is None:
            return str(ray.tune.search.Searcher.FINISHED)
        trial, params = handed_out
        self.running[trial_id] = trial
        self._progress.started(trial.number, params)
        return {"number": trial.number, "folder": str(self._front.folder.trial(trial.number)), "params": params}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Show an epoch; the outcome is taken when the trial has ended."""
        message = Message.read(result)
        if message.epoch is not None:
            self._remember(self.running[trial_id], message.epoch)
            self._progress.epoch(self.running[trial_id].number, message.epoch)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell the study. A trial without an outcome is told by `EndOfTrials`, which knows the reason."""
        if error:
            return
        outcome = Message.read(result or {}).outcome
        assert outcome is not None, "a trial that Tune calls complete has reported its outcome"
        self.tell(trial_id, outcome)

    def tell(self, trial_id: str, outcome: Outcome) -> None:
        """Record the end of a trial in the study, then on disk, then on the screen."""
        try:
            trial = self.running.pop(trial_id)
            if outcome.state == "suspended":
                self._progress.suspended(trial.number, str(outcome.stopped))
                return
            self._annotate(trial, outcome)
            if outcome.state == "complete":
                frozen = self._study.tell(trial, outcome.values)
            else:
                state = TrialState.PRUNED if outcome.state == "pruned" else TrialState.FAIL
                frozen = self._study.tell(trial, state=state)
            summary = summarize(frozen)
            self._front.add(summary)
            self._budget.count(summary.number, summary.point)
            self._progress.finished(summary)
        except Exception as error:  # noqa: BLE001 - raised again by EndOfTrials, where Tune does not swallow it
            self.broken = error

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune's snapshots are never read, as a search goes on from the study."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing, likewise."""

    def _next(self) -> tuple[Trial, dict[str, Value]] | None:
        while self.interrupted and not self._budget.out_of_time:
            trial = self.interrupted.popleft()
            params = draw(self._study, trial, self._config)
            if params is not None:
                return trial, params
        return None if self._budget.spent else ask(self._study, self._config)

    def _remember(self, trial: Trial, metrics: dict[str, float]) -> None:
        # Its history comes with its end; other trials may be compared with it before, in the next start too.
        if metrics["epoch"] in self._rungs:
            rung = {name: metrics[name] for name in ("epoch", *OBJECTIVES)}
            trial.set_user_attr("rungs", [*trial.user_attrs.get("rungs", ()), *finite([rung])])

    def _annotate(self, trial: Trial, outcome: Outcome) -> None:
        last = outcome.history[-1] if outcome.state == "pruned" else None
        attributes = {
            "failure": outcome.failure,
            "stopped": outcome.stopped,
            "values_at_stop": [last[name] for name in OBJECTIVES] if last else None,
            "traceback": outcome.traceback,
            "best_epoch": outcome.best_epoch,
            "epochs": len(outcome.history),
            "seconds": sum(epoch["seconds"] or 0 for epoch in outcome.history),
            "metrics": outcome.history[outcome.best_epoch - 1] if outcome.best_epoch else None,
            "history": outcome.history,
            "diagnosis": self._diagnosis(trial, outcome),
            "figure_failure": self._upload(trial, outcome),
            "git_revision": self._git_revision,
        }
        for name, value in attributes.items():
            if value is not None:
                trial.set_user_attr(name, value)

    def _upload(self, trial: Trial, outcome: Outcome) -> str | None:
        """Take in the trial's figures; why one is missing."""
        try:
            upload(self._front.folder, trial, outcome.figures)
        except OSError as error:
            return f"{type(error).__name__}: {error}"
        return outcome.figure_failure

    def _diagnosis(self, trial: Trial, outcome: Outcome) -> list[dict[str, str]] | None:
        if not outcome.history and not outcome.diverged:
            return None  # nothing was trained; its parameters may not even be valid
        config = apply(self._config, trial.params)
        return [asdict(finding) for finding in diagnose(config, outcome.history, diverged=outcome.diverged)]


class EndOfTrials(ray.tune.Callback):  # type: ignore[misc]
    """Tells of trials whose process died for good, and ends the search when its books cannot be kept."""

    def __init__(self, searcher: StudySearcher) -> None:
        self._searcher = searcher

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """The trial's process died once more than it may be restarted."""
        reason = _last_line(Path(trial.error_file))
        self._searcher.tell(trial.trial_id, Outcome(state="failed", failure=f"the trial's process died: {reason}"))

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """After each of Tune's steps."""
        if self._searcher.broken:
            raise self._searcher.broken


def _last_line(file: Path) -> str:
    lines = [line.strip() for line in file.read_text().splitlines() if line.strip()]
    return lines[-1]
