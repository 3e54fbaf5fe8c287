"""The result of a search, read from the study's folder alone: no Ray, and no lock."""

import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from optuna.trial import FrozenTrial
from pydantic import ValidationError

from hcvae.bundle import Bundle, load
from hcvae.config import Config
from hcvae.described import Described
from hcvae.errors import UserError
from hcvae.poor_reconstruction import poor_reconstruction
from hcvae.storage import StoragePath
from hcvae.terminal import TerminalTable
from hcvae.validation import explain
from tune.pareto import (
    DIRECTIONS,
    OBJECTIVES,
    REFERENCE,
    Compromise,
    Point,
    compromise,
    hypervolume,
    pareto_front,
)
from tune.space.search_space import apply
from tune.study.folder import StudyFolder
from tune.study.pareto_archive import model_of, stored_models
from tune.study.trial_summary import TrialSummary, summarize

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, repr=False)
class SearchResult(Described):
    """The trials of a study and its Pareto set."""

    folder: StoragePath
    """The study's folder."""
    trials: tuple[TrialSummary, ...]
    """All trials, by number."""

    def facts(self) -> dict[str, object]:
        """Return the folder, the trials by state, and the front."""
        states = sorted(Counter(trial.state for trial in self.trials).items())
        return {
            "folder": self.folder,
            "trials": ", ".join(f"{count} {state}" for state, count in states),
            "front": ", ".join(str(trial.number) for trial in self.pareto),
            "hypervolume": self.hypervolume,
        }

    @classmethod
    def open(cls, folder: str | Path | StoragePath) -> "SearchResult":
        """Read a study's folder, a path or a URI.

        Raises:
            UserError: there is no study in it.
        """
        opened = StudyFolder(folder)
        identity = opened.read_record().identity
        trials = opened.load().get_trials(deepcopy=False)
        return cls(opened.place, tuple(summarize(trial, identity) for trial in trials))

    @property
    def pareto(self) -> tuple[TrialSummary, ...]:
        """The trials that no other dominates, by rising reconstruction_nmse."""
        return tuple(self.trial(number) for number in pareto_front(self._points))

    @property
    def hypervolume(self) -> float:
        """Area between the front and the reference point (1, 0)."""
        return hypervolume(self._points)

    @property
    def models(self) -> dict[int, StoragePath]:
        """Folder of each model under `best/`, by number of its trial."""
        stored = stored_models(StudyFolder(self.folder))
        found = {trial.number: model_of(trial, stored) for trial in self.trials}
        return {number: place for number, place in found.items() if place is not None}

    @property
    def why_empty(self) -> str:
        """The reason why there is no front, for a message: the states of the trials, and the latest failure."""
        counts = Counter(trial.state for trial in self.trials if not trial.outside_budget)
        if not counts:
            return "no trial has completed; run the search first"
        states = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
        message = f"no trial has completed ({states})"
        failed = [trial for trial in self.trials if trial.failure]
        if failed:
            message += f"; trial {failed[-1].number} failed: {failed[-1].failure}"
        return message

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
        found = compromise(self._points)
        if found is None:
            raise UserError(f"{self.folder}: {self.why_empty}")
        return found

    @property
    def warning(self) -> tuple[str, ...]:
        """Lines that warn if no trial is better than the reference point; empty otherwise, and without a front."""
        return front_warning([trial.point for trial in self.pareto if trial.point])

    def alternatives(self) -> dict[str, TrialSummary]:
        """Return the best trial by each objective, by its name, without the compromise."""
        ends = {name: self.best(by=name) for name in OBJECTIVES}
        return {name: trial for name, trial in ends.items() if trial.number != self.choice.number}

    def best(self, by: str) -> TrialSummary:
        """Return the best completed trial by one objective.

        Raises:
            UserError: no such objective, or no trial has completed.
        """
        if by not in OBJECTIVES:
            raise UserError(f"objective: must be one of {', '.join(OBJECTIVES)}, but got {by!r}")
        if not self.pareto:
            raise UserError(f"{self.folder}: {self.why_empty}")
        if by == OBJECTIVES[0]:
            return self.pareto[0]
        return self.pareto[-1]

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
        """Return the folder of a trial's model bundle, found by the identifier of the trial.

        Raises:
            UserError: the trial has none; the message names the trials that have one.
        """
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

    def _why_without(self, summary: TrialSummary) -> str:
        if summary.outside_budget or summary.foreign_values:
            return f"{summary.outside_budget or summary.foreign_values}; "
        place = StudyFolder(self.folder).exported(summary.number)
        if summary.point and place.is_complete():
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
        missing = sorted(config.search.space.keys() - summary.params)
        if missing:
            raise UserError(
                f"trial {number} ({summary.state}) of {self.folder}: has no value for {', '.join(missing)}; a trial "
                "that waits, or failed before it was trained, has no parameters yet: name another trial"
            )
        try:
            return apply(config, summary.params)
        except ValidationError as error:
            raise UserError(f"trial {number} of {self.folder}: {explain(error, Config)}") from None
        except KeyError as error:
            raise UserError(f"trial {number} of {self.folder}: the configuration has no section {error}") from None

    def load(self, trial: TrialSummary | int) -> Bundle:
        """Load the model bundle of a trial of the Pareto set, such as `result.load(result.compromise())`.

        Raises:
            UserError: as `bundle`.
        """
        number = trial if isinstance(trial, int) else trial.number
        return load(self.bundle(number))

    def to_pandas(self) -> "pd.DataFrame":
        """Return a table with a row for each trial; parameters are columns named by their dotted paths."""
        import pandas as pd

        rows = [summary.model_dump(exclude={"params"}) | summary.params for summary in self.trials]
        return pd.DataFrame(rows).set_index("number") if rows else pd.DataFrame()

    def table(self) -> TerminalTable:
        """Return the Pareto front for a terminal."""
        return pareto_table(self.pareto, self.hypervolume)

    @cached_property
    def _by_number(self) -> dict[int, TrialSummary]:
        # Rows deleted from the database leave gaps.
        return {trial.number: trial for trial in self.trials}

    @property
    def _points(self) -> dict[int, tuple[float, float]]:
        return {summary.number: summary.point for summary in self.trials if summary.point}


def front_warning(front: Sequence[Point]) -> tuple[str, ...]:
    """Return lines that warn of a front without a point better than the reference point in both objectives."""
    if not front or any(nmse < REFERENCE[0] and disentanglement > REFERENCE[1] for nmse, disentanglement in front):
        return ()
    nmse = min(point[0] for point in front)
    disentanglement = max(point[1] for point in front)
    found = (
        f"warning: no trial is better than the reference point (reconstruction_nmse {REFERENCE[0]:g}, the mean of all "
        f"waveforms; disentanglement {REFERENCE[1]:g}) in both objectives: the lowest reconstruction_nmse is "
        f"{nmse:.4f}, the highest disentanglement {disentanglement:.4f}"
    )
    remedy = "search further (--search.trials), with trainings of more epochs (--training.epochs)"
    poor = poor_reconstruction({"validation": nmse})
    if poor is not None:
        remedy = poor.remedy
    return found, f"  what to do: {remedy}"


def parameter_names(trials: Iterable[TrialSummary | FrozenTrial]) -> list[str]:
    """Return the names of the parameters of `trials`, in the order in which they first appear."""
    names: dict[str, None] = {}
    for trial in trials:
        names |= dict.fromkeys(trial.params)
    return list(names)


def pareto_table(members: tuple[TrialSummary, ...], area: float) -> TerminalTable:
    """Return a table of the objectives and parameters of each member of a front; `*` marks the compromise."""
    best = compromise({member.number: member.point for member in members if member.point})
    arrows = {"minimize": "v", "maximize": "^"}
    objectives = [f"{name} {arrows[way]}" for name, way in zip(OBJECTIVES, DIRECTIONS, strict=True)]
    names = parameter_names(members)
    headers = ("trial", *objectives, *(name.rpartition(".")[2] for name in names))
    caption = f"* {best}" if best else ""
    table = TerminalTable(f"Pareto front, hypervolume {area:.4f}", headers, caption=caption)
    for member in members:
        label = str(member.number)
        if best and member.number == best.number:
            label += " *"
        values = [f"{value:.4f}" for value in member.point or ()]
        table.rows.append((label, *values, *(_short(member.params.get(name)) for name in names)))
    return table


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
