"""The result of a search, read from the study's folder alone: no Ray, and no lock."""

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from optuna.trial import FrozenTrial
from pydantic import ValidationError

from hcvae.bundle import Bundle, load
from hcvae.config import Config
from hcvae.counting import counted
from hcvae.described import Described
from hcvae.errors import UserError
from hcvae.poor_reconstruction import poor_reconstruction
from hcvae.storage import StoragePath
from hcvae.terminal import TerminalTable
from hcvae.validation import explain
from tune.objectives import Objectives, Point, best_values, find_objective, names_of, shown
from tune.report.front_table import pareto_table, points_of
from tune.space.conditional import paths_in_effect
from tune.study.confirmed_trials import mean_loss, with_confirmations
from tune.study.folder import StudyFolder, StudyRecord
from tune.study.pareto import Compromise, compromise, hypervolume, pareto_front
from tune.study.pareto_archive import model_of, stored_models
from tune.study.repetition import training_of
from tune.study.trial_summary import Confirmed, TrialSummary, summarize

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class SearchResult(Described):
    """The trials of a study and its Pareto front."""

    folder: StoragePath
    """The study's folder."""
    trials: tuple[TrialSummary, ...]
    """All trials, by number."""
    objectives: Objectives
    """What they are compared by."""

    def facts(self) -> dict[str, object]:
        """Return the folder, the trials by state, and the front."""
        return {
            "folder": self.folder,
            "trials": ", ".join(listed_states(self.states)),
            "front": ", ".join(map(str, self.front)),
            "hypervolume": self.hypervolume,
        }

    @classmethod
    def open(cls, folder: str | Path | StoragePath) -> "SearchResult":
        """Read a study's folder, a path or a URI.

        Raises:
            UserError: there is no study in it.
        """
        opened = StudyFolder(folder)
        return cls.of(opened, opened.read_record(), opened.load().get_trials(deepcopy=False))

    @classmethod
    def of(cls, opened: StudyFolder, record: StudyRecord, trials: Sequence[FrozenTrial]) -> "SearchResult":
        """Return the result of a study that has been read: its record, and all its `trials`."""
        objectives = record.config.search.compared_by
        summaries = [summarize(trial, record.identity, objectives) for trial in trials]
        return cls(opened.place, with_confirmations(summaries, objectives), objectives)

    @property
    def states(self) -> Counter[str]:
        """The number of trials in each state."""
        return Counter(trial.state for trial in self.trials)

    @property
    def front(self) -> list[int]:
        """The numbers of the trials of `pareto`."""
        return pareto_front(self._points, self.objectives)

    @property
    def pareto(self) -> tuple[TrialSummary, ...]:
        """The trials that no other dominates, the best in the first objective first; after a confirmation, the
        confirmed configurations that none of them dominates by its means."""
        return tuple(map(self.trial, self.front))

    @property
    def confirmed(self) -> tuple[TrialSummary, ...]:
        """The trials whose configurations have been confirmed, on the front or not; see `TrialSummary.confirmed`."""
        return tuple(map(self.trial, self._confirmations))

    @property
    def average_lost(self) -> Point | None:
        """See `tune.study.confirmed_trials.mean_loss`."""
        return mean_loss(list(self._confirmations.values()))

    @property
    def hypervolume(self) -> float:
        """See `tune.study.pareto.hypervolume`."""
        return hypervolume(self._points, self.objectives)

    @property
    def models(self) -> dict[int, StoragePath]:
        """Folder of each model under `best/`, by number of its trial."""
        stored = stored_models(StudyFolder(self.folder))
        found = {}
        for trial in self.trials:
            place = model_of(trial, stored)
            if place is not None:
                found[trial.number] = place
        return found

    @property
    def why_empty(self) -> str:
        """The reason why there is no front, for a message: the states of the trials, and the latest failure."""
        counts: Counter[str] = Counter()
        infeasible = None
        failure = ""
        for trial in self.trials:
            if not trial.outside_budget:
                counts[trial.state] += 1
            if trial.infeasible:
                infeasible = trial.infeasible
            if trial.failure:
                failure = f"; trial {trial.number} failed: {trial.failure}"
        if not counts:
            return "no trial has completed; run the search first"
        if self.confirmed:
            reasons = "; ".join(f"trial {trial.number}: {trial.why_absent}" for trial in self.confirmed)
            return f"no confirmed configuration has a place on the front ({reasons})"
        states = ", ".join(listed_states(counts))
        if infeasible:
            return (
                f"no complete trial is feasible ({states}); the latest is {infeasible}; loosen search.constraints "
                "in another search.study, or search further"
            )
        return f"no trial has completed ({states}){failure}"

    def compromise(self) -> TrialSummary:
        """Return the default choice: the knee of the front, or the point nearest to the ideal where there is no knee.

        Raises:
            UserError: no trial has completed.
        """
        return self.trial(self.choice.number)

    @cached_property
    def choice(self) -> Compromise:
        """The number of the compromise, and the rule of its choice.

        Raises:
            UserError: no trial has completed.
        """
        found = compromise(self._points, self.objectives)
        if found is None:
            raise UserError(f"{self.folder}: {self.why_empty}")
        return found

    @property
    def warning(self) -> tuple[str, ...]:
        """Lines that warn if no trial is better than the reference point; empty otherwise, and without a front."""
        return front_warning(list(points_of(self.pareto).values()), self.objectives)

    @property
    def confirmation(self) -> tuple[str, ...]:
        """Lines about the confirmation: how many trials are confirmed, which repetitions failed, and how much worse
        the means are than the values by which the trials were chosen; empty before it."""
        if not self.confirmed:
            return ()
        n_confirmed = 0
        failures = []
        for number, confirmed in self._confirmations.items():
            n_confirmed += confirmed.mean is not None
            if confirmed.failed:
                failed = ", ".join(map(str, confirmed.failed))
                failures.append(f"trial {number}: repetitions without values: {failed}")
        others = counted(sum(trial.is_unconfirmed for trial in self.trials), "other trial")
        lines = [f"{counted(n_confirmed, 'trial')} confirmed; {others} left out of the front", *failures]
        lost = self.average_lost
        if lost is not None:
            differences = ", ".join(_differences(lost, self.objectives))
            lines.append(f"means against the values by which these were chosen, on average: {differences}")
        elif n_confirmed:
            lines.append("trained with other epochs or another width, so not compared with the values of the search")
        return tuple(lines)

    def alternatives(self) -> dict[str, TrialSummary]:
        """Return the best trial by each objective, by its name, without the compromise."""
        ends = {}
        for name in names_of(self.objectives):
            trial = self.best(by=name)
            if trial.number != self.choice.number:
                ends[name] = trial
        return ends

    def best(self, by: str) -> TrialSummary:
        """Return the best completed trial by one objective.

        Raises:
            UserError: no such objective, or no trial has completed.
        """
        place = find_objective(self.objectives, by)
        front = self.front
        if not front:
            raise UserError(f"{self.folder}: {self.why_empty}")
        sign = self.objectives[place].sign
        return self.trial(min(front, key=lambda number: sign * self._points[number][place]))

    def trial(self, number: int) -> TrialSummary:
        """Return one trial by its number.

        Raises:
            UserError: there is none.
        """
        if not self.trials:
            raise UserError(f"{self.folder}: has no trials yet, but got trial {number}; run the search first")
        found = self._by_number.get(number)
        if found is None:
            last = self.trials[-1].number
            numbers = f"0 to {last}"
            if last + 1 != len(self.trials):
                numbers += ", with gaps"
            raise UserError(f"{self.folder}: trials are numbered {numbers}, but got {number}")
        return found

    def bundle(self, number: int) -> StoragePath:
        """Return the folder of a trial's model bundle, found by the identifier of the trial. Of a confirmed
        configuration it is the bundle of the repetition nearest to the means.

        Raises:
            UserError: the trial has none; the message names the trials that have one.
        """
        number = self.model_number(number)
        summary = self.trial(number)
        models = self.models
        if number not in models:
            kept = ", ".join(map(str, models)) or "none there"
            raise UserError(
                f"trial {number} ({summary.state}) of {self.folder} has no model: {self._why_without(summary)}bundles "
                f"are kept for the Pareto front ({kept}); `python -m jobs.train --study "
                f"{shlex.quote(str(self.folder))} --trial {number} --out FOLDER` trains its parameters again"
            )
        return models[number]

    def model_number(self, number: int) -> int:
        """Return the number of the trial whose model stands for a trial: of a confirmed one, a repetition of it."""
        confirmed = self.trial(number).confirmed
        if confirmed is None or confirmed.model is None:
            return number
        return confirmed.model

    def _why_without(self, summary: TrialSummary) -> str:
        reason = summary.outside_budget or summary.foreign_values or summary.infeasible
        if reason:
            return f"{reason}; "
        place = StudyFolder(self.folder).exported(summary.number)
        if summary.own_point and place.is_complete():
            return f"{place} holds the model of another trial, or of other values or parameters of this one; "
        if summary in self.pareto:
            return "its folder under best/ was removed; "
        return ""

    def config(self, number: int) -> Config:
        """Return the configuration with which a trial of the study was trained, or would be.

        Raises:
            UserError: there is no such trial, or its parameters are incomplete or invalid.
        """
        summary = self.trial(number)
        config = StudyFolder(self.folder).read_record().config
        missing = sorted(set(paths_in_effect(config.search.space, summary.params)) - summary.params.keys())
        if missing:
            raise UserError(
                f"trial {number} ({summary.state}) of {self.folder}: has no value for {', '.join(missing)}; a trial "
                "that waits, or failed before it was trained, has no parameters yet: name another trial"
            )
        try:
            return training_of(config, summary.params, summary.repetition)
        except ValidationError as error:
            raise UserError(f"trial {number} of {self.folder}: {explain(error, Config)}") from None
        except KeyError as error:
            raise UserError(f"trial {number} of {self.folder}: the configuration has no section {error}") from None

    def load(self, trial: TrialSummary | int) -> Bundle:
        """Load the model bundle of a trial of the Pareto front, such as `result.load(result.compromise())`.

        Raises:
            UserError: as `bundle`.
        """
        if isinstance(trial, TrialSummary):
            trial = trial.number
        return load(self.bundle(trial))

    def to_pandas(self) -> "pd.DataFrame":
        """Return a table with a row for each trial; parameters are columns named by their dotted paths."""
        import pandas as pd

        if not self.trials:
            return pd.DataFrame()
        return pd.DataFrame(map(self._row, self.trials)).set_index("number")

    def _row(self, summary: TrialSummary) -> dict[str, object]:
        row = summary.model_dump(exclude={"params", "repetition", "confirmed"})
        row["confirms"] = summary.repetition and summary.repetition.number
        if summary.confirmed is not None:
            row |= _columns("mean", summary.confirmed.mean, self.objectives)
            row |= _columns("sd", summary.confirmed.sd, self.objectives)
        return row | summary.params

    def table(self) -> TerminalTable:
        """Return the Pareto front for a terminal."""
        return pareto_table(self.pareto, self.objectives)

    @cached_property
    def _by_number(self) -> dict[int, TrialSummary]:
        # Rows deleted from the database leave gaps.
        return {trial.number: trial for trial in self.trials}

    @cached_property
    def _confirmations(self) -> dict[int, Confirmed]:
        return {trial.number: trial.confirmed for trial in self.trials if trial.confirmed}

    @property
    def _points(self) -> dict[int, Point]:
        return points_of(self.trials)


def _columns(suffix: str, point: Point | None, objectives: Objectives) -> dict[str, float]:
    """Return values of the objectives with their names in a table; none where there is no point."""
    if point is None:
        return {}
    return {f"{name}_{suffix}": value for name, value in zip(names_of(objectives), point, strict=True)}


def front_warning(front: Sequence[Point], objectives: Objectives) -> tuple[str, ...]:
    """Return lines that warn of a front without a point better than the reference point in all objectives."""
    points = dict(enumerate(front))
    if not front or hypervolume(points, objectives) > 0:
        return ()
    best = best_values(front, objectives)
    compared = [f"{objective.name} {shown(best[objective.name])} ({objective.reference:g})" for objective in objectives]
    found = (
        "warning: no trial is better than the reference point in all objectives; the best value of each, and the "
        f"reference: {', '.join(compared)}"
    )
    remedy = "search further (--search.trials), with trainings of more epochs (--training.epochs)"
    poor = poor_reconstruction({"validation": best.get("reconstruction_nmse", best.get("denoised_nmse"))})
    if poor is not None:
        remedy = poor.remedy
    return found, f"  what to do: {remedy}"


def listed_states(counts: Counter[str]) -> list[str]:
    """Return the number of trials in each state, such as `3 complete`, by the names of the states."""
    return [f"{count} {state}" for state, count in sorted(counts.items())]


def _differences(lost: Point, objectives: Objectives) -> Iterator[str]:
    """Yield by how much each objective is worse, or better where `lost` is negative."""
    for objective, value in zip(objectives, lost, strict=True):
        word = "worse" if value > 0 else "better"
        yield f"{objective.name} {shown(abs(value))} {word}"
