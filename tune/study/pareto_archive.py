"""The Pareto set on disk, kept up to date as trials finish.

The bundle of a member is moved to `best/trial-<number>/`; a trial that is dominated, or failed, keeps its metrics in
the study and loses its checkpoints and its bundle (a full checkpoint is about 126 MB).

A model is deleted only where another model that is there dominates it, and only by its trial's identifier: what other
programs add to a study, end in it, copy or renumber deletes none.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial

from hcvae.config import Section
from hcvae.storage import StoragePath
from hcvae.training.loop import CHECKPOINTS
from tune.pareto import DIRECTIONS, OBJECTIVES, REFERENCE, Point, compromise, hypervolume, pareto_front
from tune.study.folder import StudyFolder
from tune.study.leases import study_id
from tune.study.opening import finished_trials
from tune.study.trial_identity import TrialIdentity, identity_of_model, read_identity
from tune.study.trial_summary import TrialSummary, summarize

logger = logging.getLogger("tune")


class ParetoFile(Section):
    """What `pareto.json` holds."""

    objectives: dict[str, str]
    """Direction of each objective."""
    reference_point: Point = REFERENCE
    """Reference point of the hypervolume."""
    hypervolume: float
    """Area between the front and the reference point."""
    knee: int | None
    """The trial at the front's knee; null where it has none."""
    compromise: int | None
    """The trial that `jobs.pull` takes: the knee, or else the one nearest to the ideal, see `tune.pareto`."""
    trials: tuple[TrialSummary, ...]
    """The front, by rising reconstruction_nmse."""
    models: dict[int, str]
    """Folder of each model under `best/`, by number of its trial, in the study's folder."""


@dataclass(frozen=True)
class StoredModel:
    """A model under `best/`."""

    place: StoragePath
    identity: TrialIdentity


def stored_models(folder: StudyFolder) -> list[StoredModel]:
    """The models under `best/`, those of trials that the study no longer has included."""
    places = [folder.best / name for name in folder.best.listdir()]
    found = [(place, identity_of_model(place)) for place in places if place.is_complete()]
    return [StoredModel(place, identity) for place, identity in found if identity is not None]


def model_of(summary: TrialSummary, stored: Iterable[StoredModel]) -> StoragePath | None:
    """Where the model of a trial lies; None where it has none."""
    return next((model.place for model in stored if summary.owns(model.identity)), None)


class Front:
    """The Pareto set of a study, as far as this process knows. Made, and added to, under the study's lock."""

    def __init__(self, folder: StudyFolder, study: optuna.Study) -> None:
        self.folder = folder
        self._study_id = study_id(study)
        finished = [self.summarize(trial) for trial in finished_trials(study)]
        self._members = {summary.number: summary for summary in finished if summary.point}
        self._keep_the_front()
        stored = stored_models(folder)
        self._models = {
            summary.number: (summary, place) for summary in finished if (place := model_of(summary, stored)) is not None
        }
        for orphan in {model.place for model in stored} - {place for _, place in self._models.values()}:
            logger.warning("%s: the model of a trial that the study does not hold; it is kept", orphan)
        # An interruption may have fallen between a trial's end in the study and the export of its model.
        for summary in finished:
            self._file(summary)
        self._write()

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

    def summarize(self, trial: FrozenTrial) -> TrialSummary:
        """What this study records of `trial`."""
        return summarize(trial, self._study_id)

    def add(self, summary: TrialSummary) -> None:
        """Take in a trial that has just finished, and write what it changes; may be done again."""
        if summary.point:
            self._members[summary.number] = summary
            self._keep_the_front()
        self._models = {number: model for number, model in self._models.items() if model[1].is_complete()}
        if not self._in_attempt(summary).is_complete() and (place := model_of(summary, stored_models(self.folder))):
            self._models[summary.number] = summary, place  # another process, or an earlier try, has exported it
        self._file(summary)
        if summary.number in self._members or summary.number in self._models:
            self._write()

    def _keep_the_front(self) -> None:
        self._members = {number: self._members[number] for number in pareto_front(self.points)}

    def _file(self, summary: TrialSummary) -> None:
        """Export the model of a finished trial, then delete what the models under `best/` make superfluous."""
        if summary.point is None and summary.state == "complete":
            return  # another program ended it: what its training left is kept
        if summary.point is not None and summary.number not in self._models:
            place = self._export(summary)
            if place is None and not self._is_dominated(summary.point):
                return  # its model was deleted by hand; its checkpoints are all there is of it
            if place is not None:
                self._models[summary.number] = summary, place
        for number in self._models.keys() - pareto_front(self._stored_points):
            dominated, place = self._models.pop(number)
            place.remove()
            self._clear(dominated)
        if summary.number not in self._models:
            self._clear(summary)

    def _export(self, summary: TrialSummary) -> StoragePath | None:
        """Move the model of a trial from its attempt to `best/`; None where the attempt has none."""
        bundle = self._in_attempt(summary)
        if not bundle.is_complete() or not summary.owns(identity_of_model(bundle)):
            return None
        place = self.folder.exported(summary.number)
        if place.is_complete():  # the model of another trial, which had this number before
            place = self.folder.best / f"{place.name}-{summary.identity}"
        bundle.move(place)
        return place

    def _in_attempt(self, summary: TrialSummary) -> StoragePath:
        return self.folder.attempt(summary.number, summary.attempt) / "bundle"

    @property
    def _stored_points(self) -> dict[int, Point]:
        """The points of the models under `best/`, by number of the trial."""
        return {number: model.point for number, (model, _) in self._models.items() if model.point}

    def _is_dominated(self, point: Point) -> bool:
        return -1 not in pareto_front({**self._stored_points, -1: point})

    def _clear(self, summary: TrialSummary) -> None:
        """Delete the checkpoints and bundles of a trial's attempts, not those of another one that had its number."""
        trial = self.folder.trial(summary.number)
        for attempt in trial.listdir():
            found = read_identity(trial / attempt)
            if (found.trial if found else None) == summary.identity:
                for part in ("bundle", CHECKPOINTS):
                    (trial / attempt / part).remove()

    def _write(self) -> None:
        best = compromise(self.points)
        content = ParetoFile(
            objectives=dict(zip(OBJECTIVES, DIRECTIONS, strict=True)),
            hypervolume=self.hypervolume,
            knee=best.number if best and best.rule == "knee" else None,
            compromise=best.number if best else None,
            trials=self.members,
            models={number: f"best/{place.name}" for number, (_, place) in sorted(self._models.items())},
        )
        self.folder.pareto.write(content.model_dump_json(indent=2).encode())
