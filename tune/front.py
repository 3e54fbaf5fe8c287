"""The Pareto set on disk, kept up to date as trials finish.

The bundle of a member is moved to `best/trial-<number>/`; a trial that is dominated, or failed, keeps its metrics in
the study and loses its checkpoints and its bundle (a full checkpoint is about 126 MB).
"""

from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from hcvae.config import Section
from hcvae.training.loop import CHECKPOINTS
from tune.ownership import claim_of
from tune.pareto import DIRECTIONS, OBJECTIVES, REFERENCE, Point, hypervolume, knee, pareto_front
from tune.samplers import OUTSIDE_BUDGET
from tune.study import finished_trials
from tune.study_folder import StudyFolder


class TrialSummary(Section):
    """One trial, as `pareto.json` and the tables show it."""

    number: int
    """Its number in the study."""
    state: str
    """running, complete, pruned or fail."""
    reconstruction_nmse: float | None
    """First objective, at the best epoch."""
    disentanglement: float | None
    """Second objective, at the best epoch."""
    best_epoch: int | None
    """Epoch of the values and of the bundle."""
    seconds: float | None
    """Time spent in its epochs."""
    failure: str | None
    """Why it failed."""
    figure_failure: str | None
    """Why a figure of it is missing."""
    attempt: int = 0
    """The attempt that it ended in."""
    troubles: tuple[str, ...]
    """What the diagnosis of its training found, by name; evidence and remedies are in the study."""
    params: dict[str, Any]
    """What it drew, by dotted path."""
    stopped: str | None = None
    """Why it was stopped before its end."""
    precision: str | None = None
    """In which it was trained."""
    outside_budget: str | None = None
    """Why it is no trial of this search: it was infeasible, or comes from an earlier study."""

    @property
    def point(self) -> Point | None:
        """Its place in the plane of the objectives; None where it did not complete here."""
        if self.reconstruction_nmse is None or self.disentanglement is None or self.outside_budget:
            return None
        return self.reconstruction_nmse, self.disentanglement


class ParetoFile(Section):
    """What `pareto.json` holds."""

    objectives: dict[str, str]
    """Direction of each objective."""
    reference_point: Point = REFERENCE
    """Reference point of the hypervolume."""
    hypervolume: float
    """Area between the front and the reference point."""
    knee: int | None
    """The best compromise, see `tune.pareto.knee`."""
    trials: tuple[TrialSummary, ...]
    """The front, by rising reconstruction_nmse."""


def summarize(trial: FrozenTrial) -> TrialSummary:
    """What the study knows of `trial`."""
    complete = trial.state == TrialState.COMPLETE
    nmse, disentanglement = trial.values if complete else (None, None)
    return TrialSummary(
        number=trial.number,
        state=trial.state.name.lower(),
        reconstruction_nmse=nmse,
        disentanglement=disentanglement,
        best_epoch=trial.user_attrs.get("best_epoch"),
        seconds=trial.user_attrs.get("seconds"),
        failure=trial.user_attrs.get("failure"),
        figure_failure=trial.user_attrs.get("figure_failure"),
        attempt=claim_of(trial).attempt,
        troubles=tuple(finding["trouble"] for finding in trial.user_attrs.get("diagnosis", ())),
        params=trial.params,
        stopped=trial.user_attrs.get("stopped"),
        precision=trial.user_attrs.get("precision"),
        outside_budget=trial.user_attrs.get(OUTSIDE_BUDGET),
    )


class Front:
    """The Pareto set of a study, as far as this process knows. Made, and added to, under the study's lock."""

    def __init__(self, folder: StudyFolder, study: optuna.Study) -> None:
        self.folder = folder
        finished = [summarize(trial) for trial in finished_trials(study)]
        self._members = {summary.number: summary for summary in finished if summary.point}
        self._keep_the_front()
        # An interruption may have fallen between a trial's last word and the export.
        for summary in finished:
            if summary.number not in self._members:
                self._drop(summary.number)
        self._export()

    @property
    def members(self) -> tuple[TrialSummary, ...]:
        """The front's trials by rising reconstruction_nmse."""
        return tuple(self._members.values())

    @property
    def points(self) -> dict[int, Point]:
        """The front's points by trial number."""
        return {number: summary.point for number, summary in self._members.items() if summary.point}

    @property
    def hypervolume(self) -> float:
        """Area between the front and the reference point."""
        return hypervolume(self.points)

    def add(self, summary: TrialSummary) -> None:
        """Take in a trial that has just finished, and write what it changes."""
        before = {*self._members, summary.number}
        if summary.point:
            self._members[summary.number] = summary
            self._keep_the_front()
        for number in before - self._members.keys():
            self._drop(number)
        if summary.number in self._members:
            self._export()

    def _keep_the_front(self) -> None:
        self._members = {number: self._members[number] for number in pareto_front(self.points)}

    def _export(self) -> None:
        for number, member in self._members.items():
            bundle = self.folder.attempt(number, member.attempt) / "bundle"
            if bundle.is_whole():
                bundle.move(self.folder.exported(number))
        content = ParetoFile(
            objectives=dict(zip(OBJECTIVES, DIRECTIONS, strict=True)),
            hypervolume=self.hypervolume,
            knee=knee(self.points),
            trials=self.members,
        )
        self.folder.pareto.write(content.model_dump_json(indent=2).encode())

    def _drop(self, number: int) -> None:
        self.folder.exported(number).remove()
        trial = self.folder.trial(number)
        for attempt in trial.names():
            for part in ("bundle", CHECKPOINTS):
                (trial / attempt / part).remove()
