"""The Pareto front on disk, kept up to date as trials finish.

The bundle of a member is moved to `best/trial-<number>/`; a trial that is dominated, or failed, keeps its metrics in
the study and loses its checkpoints and its bundle (a full checkpoint is about 126 MB). The bundles of repetitions are
kept, too, dominated or not: which configurations are on the front is known only after the last of them.

A model is deleted only where another model that is there dominates it, and only by its trial's identifier: what other
programs add to a study, end in it, copy or renumber deletes none.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import optuna
from optuna.trial import FrozenTrial

from hcvae.config import Section
from hcvae.storage import StoragePath
from hcvae.training.loop import CHECKPOINTS
from tune.objectives import Objectives, Point, directions_of, names_of
from tune.study.confirmed_trials import with_confirmations
from tune.study.folder import StudyFolder
from tune.study.leases import study_id
from tune.study.opening import ended_trials
from tune.study.pareto import compromise, hypervolume, pareto_front
from tune.study.trial_identity import TrialIdentity, identity_of_model, read_identity
from tune.study.trial_summary import TrialSummary, summarize

logger = logging.getLogger("tune")


class ParetoFile(Section):
    """What `pareto.json` holds."""

    objectives: dict[str, str]
    """Direction of each objective."""
    reference_point: Point
    """Reference point of the hypervolume."""
    hypervolume: float
    """Share of the volume between the ideal and the reference point that the front dominates."""
    knee: int | None
    """The trial at the front's knee; null where it has none."""
    compromise: int | None
    """The trial that `jobs.pull` takes: the knee, or else the one nearest to the ideal, see `tune.study.pareto`."""
    trials: tuple[TrialSummary, ...]
    """The front, the best in the first objective first; after a confirmation, confirmed configurations alone."""
    models: dict[int, str]
    """Folder of each model under `best/`, by number of its trial, in the study's folder."""


@dataclass(frozen=True)
class StoredModel:
    """A model under `best/`."""

    place: StoragePath
    identity: TrialIdentity


def stored_models(folder: StudyFolder) -> list[StoredModel]:
    """Return the models under `best/`, including those of trials that the study no longer has."""
    stored = []
    for name in folder.best.listdir():
        place = folder.best / name
        if place.is_complete():
            identity = identity_of_model(place)
            if identity is not None:
                stored.append(StoredModel(place, identity))
    return stored


def points_of(summaries: Iterable[TrialSummary]) -> dict[int, Point]:
    """Return the points of the `summaries` that have one, by number."""
    return {summary.number: summary.point for summary in summaries if summary.point}


def front_of(summaries: Iterable[TrialSummary], objectives: Objectives) -> dict[int, TrialSummary]:
    """Return the front of `summaries` by number, the best in the first objective first."""
    known = _by_number(summaries)
    points = points_of(known.values())
    return {number: known[number] for number in pareto_front(points, objectives)}


def model_of(summary: TrialSummary, stored: Iterable[StoredModel]) -> StoragePath | None:
    """Return where the model of a trial lies; None where it has none."""
    for model in stored:
        if summary.owns(model.identity):
            return model.place
    return None


class ParetoArchive:
    """The Pareto front of a study, as far as this process has seen it. Use it under the study's lock."""

    def __init__(self, folder: StudyFolder, study_id: str | None, objectives: Objectives) -> None:
        self.folder = folder
        self.objectives = objectives
        self._study_id = study_id
        self._ended: dict[int, TrialSummary] = {}
        self._has_repetitions = False
        self._front: dict[int, TrialSummary] = {}  # by the values of single trainings
        self._members: dict[int, TrialSummary] = {}
        self._models: dict[int, StoragePath] = {}  # folders under `best/`, by number of the trial

    @classmethod
    def open(cls, folder: StudyFolder, study: optuna.Study, objectives: Objectives) -> "ParetoArchive":
        """Return the archive of a study, and complete on disk what an interruption left undone: it may have fallen
        between a trial's end in the study and the export of its model."""
        archive = cls(folder, study_id(study), objectives)
        finished = list(map(archive.summarize, ended_trials(study)))
        archive._read(finished)
        for summary in finished:
            archive._export_and_clear(summary)
        archive._write()
        return archive

    @property
    def ended(self) -> tuple[TrialSummary, ...]:
        """The trials that have ended, repetitions included, each with the values of its own training."""
        return tuple(self._ended.values())

    @property
    def members(self) -> tuple[TrialSummary, ...]:
        """The front's trials, the best in the first objective first."""
        return tuple(self._members.values())

    @property
    def points(self) -> dict[int, Point]:
        """The front's points by trial number."""
        return points_of(self._members.values())

    @property
    def hypervolume(self) -> float:
        """See `tune.study.pareto.hypervolume`."""
        return hypervolume(self.points, self.objectives)

    def summarize(self, trial: FrozenTrial) -> TrialSummary:
        """Return what this study records of `trial`."""
        return summarize(trial, self._study_id, self.objectives)

    def add(self, summary: TrialSummary) -> None:
        """Add a trial that has just finished, and write what it changes; may be repeated."""
        self._take_in([summary])
        self._models = {number: place for number, place in self._models.items() if place.is_complete()}
        if not self._bundle_in_attempt(summary).is_complete():
            place = model_of(summary, stored_models(self.folder))
            if place is not None:  # another process, or an earlier try, has exported it
                self._models[summary.number] = place
        self._export_and_clear(summary)
        if summary.number in self._members or summary.number in self._models or summary.repetition is not None:
            self._write()

    def _read(self, finished: Sequence[TrialSummary]) -> None:
        """Read the front from the `finished` trials, and which models are under `best/`."""
        self._take_in(finished)
        stored = stored_models(self.folder)
        orphans = {model.place for model in stored}
        for summary in finished:
            place = model_of(summary, stored)
            if place is not None:
                self._models[summary.number] = place
                orphans.discard(place)
        for orphan in orphans:
            logger.warning("%s: the model of a trial that the study does not hold; it is kept", orphan)

    def _take_in(self, finished: Sequence[TrialSummary]) -> None:
        """Take in trials that have ended, and renew the front."""
        new = _by_number(finished)
        self._ended |= new
        self._front = front_of((self._front | new).values(), self.objectives)
        self._members = self._front
        self._has_repetitions |= any(summary.repetition is not None for summary in finished)
        if self._has_repetitions:
            self._members = front_of(with_confirmations(self.ended, self.objectives), self.objectives)

    def _export_and_clear(self, summary: TrialSummary) -> None:
        """Export the model of a finished trial, then delete what the models under `best/` make superfluous."""
        if summary.own_point is None and summary.state == "complete" and summary.infeasible is None:
            return  # another program ended it: the files of its training are kept
        if summary.own_point is not None and summary.number not in self._models:
            place = self._export(summary)
            if place is None and (summary.repetition is not None or not self._is_dominated(summary.own_point)):
                return  # its model was deleted by hand; only its checkpoints are left
            if place is not None:
                self._models[summary.number] = place
        self._remove_dominated_models()
        if summary.number not in self._models:
            self._clear(summary)

    def _remove_dominated_models(self) -> None:
        stored = self._stored_points
        for number in stored.keys() - pareto_front(stored, self.objectives):
            self._models.pop(number).remove()
            self._clear(self._ended[number])

    def _export(self, summary: TrialSummary) -> StoragePath | None:
        """Move the model of a trial from its attempt to `best/`; return None where the attempt has none."""
        bundle = self._bundle_in_attempt(summary)
        if not bundle.is_complete() or not summary.owns(identity_of_model(bundle)):
            return None
        place = self.folder.exported(summary.number)
        if place.is_complete():  # the model of another trial, which had this number before
            place = self.folder.best / f"{place.name}-{summary.identity}"
        bundle.move(place)
        return place

    def _bundle_in_attempt(self, summary: TrialSummary) -> StoragePath:
        return self.folder.attempt(summary.number, summary.attempt) / "bundle"

    @property
    def _stored_points(self) -> dict[int, Point]:
        """The points of the models under `best/`, by number of the trial; without those of repetitions."""
        return points_of(self._ended[number] for number in self._models)

    def _is_dominated(self, point: Point) -> bool:
        """Return whether the stored front would reject `point` (-1 stands for it)."""
        return -1 not in pareto_front({**self._stored_points, -1: point}, self.objectives)

    def _clear(self, summary: TrialSummary) -> None:
        """Delete checkpoints and bundles of a trial's attempts, but not those of another trial that had its number."""
        trial = self.folder.trial(summary.number)
        for attempt in trial.listdir():
            if _recorded_trial(trial / attempt) == summary.identity:
                for part in ("bundle", CHECKPOINTS):
                    (trial / attempt / part).remove()

    def _write(self) -> None:
        best = compromise(self.points, self.objectives)
        chosen = best.number if best else None
        knee = best.number if best and best.rule == "knee" else None
        content = ParetoFile(
            objectives=dict(zip(names_of(self.objectives), directions_of(self.objectives), strict=True)),
            reference_point=tuple(objective.reference for objective in self.objectives),
            hypervolume=self.hypervolume,
            knee=knee,
            compromise=chosen,
            trials=self.members,
            models={number: f"best/{place.name}" for number, place in sorted(self._models.items())},
        )
        self.folder.pareto.write(content.model_dump_json(indent=2).encode())


def _by_number(summaries: Iterable[TrialSummary]) -> dict[int, TrialSummary]:
    return {summary.number: summary for summary in summaries}


def _recorded_trial(attempt: StoragePath) -> str | None:
    """Return the unique identifier of the trial that `attempt` belongs to; None: an earlier version trained it."""
    identity = read_identity(attempt)
    if identity is None:
        return None
    return identity.trial
