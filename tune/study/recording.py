"""Recording trials in the study: epochs at rungs, deaths of processes, and outcomes with their artifacts."""

from dataclasses import asdict
from typing import Any

import optuna
from optuna.trial import Trial, TrialState

from hcvae.training.diagnosis import diagnose
from tune.config import SearchConfig
from tune.internals.optuna_internals import recorded
from tune.space.conditional import by_path
from tune.study.artifacts import upload, upload_texts
from tune.study.folder import StudyFolder
from tune.study.leases import OUTSIDE_BUDGET, study_id
from tune.study.opening import git_revision
from tune.study.outcome import Ending, Outcome
from tune.study.repetition import repetition_of, training_of
from tune.study.trial_attributes import set_attributes
from tune.study.trial_record import TrialRecord, objectives_by_epoch


class TrialRecorder:
    """Writes the records of running trials. Use it under the study's lock, and for several writes in a transaction."""

    def __init__(self, study: optuna.Study, folder: StudyFolder, config: SearchConfig) -> None:
        self._study = study
        self._folder = folder
        self._config = config
        self._objectives = config.search.compared_by
        self._git_revision = git_revision()
        self._study_id = study_id(study)

    def clear(self, trial: Trial) -> None:
        """Remove the record of a new trial: another program may have copied it from another trial."""
        set_attributes(self._study, trial, dict.fromkeys((*TrialRecord.model_fields, OUTSIDE_BUDGET)))

    def add_epoch(self, trial: Trial, metrics: dict[str, float]) -> None:
        """Add the objectives of an epoch."""
        before = self._record(trial).epochs_reported or ()
        record = TrialRecord(epochs_reported=(*before, *objectives_by_epoch([metrics], self._objectives)))
        record.write(self._study, trial)

    def deaths(self, trial: Trial) -> tuple[str, ...]:
        """Return why each process that died while it ran the trial did so."""
        return self._record(trial).deaths or ()

    def write_deaths(self, trial: Trial, deaths: tuple[str, ...]) -> None:
        """Record the deaths of a trial's processes."""
        TrialRecord(deaths=deaths).write(self._study, trial)

    def end(self, trial: Trial, attempt: int, outcome: Outcome) -> None:
        """Record the outcome of an attempt at a trial, with its artifacts, and end the trial in the study."""
        record = TrialRecord.of(
            outcome,
            self._objectives,
            self.deaths(trial),
            diagnosis=self._diagnosis(trial, outcome),
            figure_failure=self._upload_figures(trial, attempt, outcome),
            git_revision=self._git_revision,
        )
        record.write(self._study, trial)
        texts = record.attributes() | {"epochs_reported": None}  # the history has them
        upload_texts(self._folder, trial, texts, outcome.history)
        if outcome.state == Ending.COMPLETE:
            for name, value in outcome.violations.items():
                trial.set_constraint(name, value)
            self._study.tell(trial, outcome.values)
        elif outcome.state == Ending.PRUNED:
            self._study.tell(trial, state=TrialState.PRUNED)
        else:
            self._study.tell(trial, state=TrialState.FAIL)

    def _record(self, trial: Trial) -> TrialRecord:
        return TrialRecord.read(recorded(self._study, trial))[0]

    def _diagnosis(self, trial: Trial, outcome: Outcome) -> list[dict[str, Any]] | None:
        has_diverged = outcome.state == Ending.DIVERGED
        if not outcome.history and not has_diverged:
            return None  # nothing was trained; its parameters may not even be valid
        repetition = repetition_of(recorded(self._study, trial), self._study_id)
        config = training_of(self._config, by_path(trial.params), repetition)
        return list(map(asdict, diagnose(config, outcome.history, diverged=has_diverged)))

    def _upload_figures(self, trial: Trial, attempt: int, outcome: Outcome) -> str | None:
        """Upload the trial's figures; return the reason why one is missing."""
        if not outcome.figures:
            return outcome.figure_failure
        try:
            upload(self._folder, trial, self._folder.figures(trial.number, attempt), outcome.figures)
        except OSError as error:
            return f"{type(error).__name__}: {error}"
        return outcome.figure_failure
