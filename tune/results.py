"""What a search came to, read from the study's folder alone: no Ray, and no lock."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table

from hcvae.bundle import Bundle, load
from hcvae.errors import UserError
from hcvae.storage import Place
from tune.front import TrialSummary, summarize
from tune.pareto import DIRECTIONS, OBJECTIVES, hypervolume, knee, pareto_front
from tune.study_folder import StudyFolder

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class SearchResult:
    """The trials of a study and its Pareto set."""

    folder: Place
    """The study's folder."""
    trials: tuple[TrialSummary, ...]
    """All trials, by number."""

    @classmethod
    def open(cls, folder: str | Path | Place) -> "SearchResult":
        """Read a study's folder, a path or a URI.

        Raises:
            UserError: there is no study in it.
        """
        study = StudyFolder(folder).load()
        return cls(Place.of(folder), tuple(summarize(trial) for trial in study.get_trials(deepcopy=False)))

    @property
    def pareto(self) -> tuple[TrialSummary, ...]:
        """The trials that no other dominates, by rising reconstruction_nmse."""
        return tuple(self.trials[number] for number in pareto_front(self._points))

    @property
    def hypervolume(self) -> float:
        """Area between the front and the reference point (1, 0)."""
        return hypervolume(self._points)

    def knee(self) -> TrialSummary:
        """The front's point farthest from the chord of its normalised ends: the default choice.

        Raises:
            UserError: no trial has completed.
        """
        number = knee(self._points)
        if number is None:
            raise UserError(f"{self.folder}: no trial has completed; run the search first")
        return self.trials[number]

    def best(self, by: str) -> TrialSummary:
        """The best completed trial by one objective.

        Raises:
            UserError: no such objective, or no trial has completed.
        """
        if by not in OBJECTIVES:
            raise UserError(f"objective: must be one of {', '.join(OBJECTIVES)}, but got {by!r}")
        self.knee()
        return self.pareto[0 if by == OBJECTIVES[0] else -1]

    def trial(self, number: int) -> TrialSummary:
        """One trial by its number.

        Raises:
            UserError: there is none.
        """
        if not 0 <= number < len(self.trials):
            raise UserError(f"{self.folder}: trials are numbered 0 to {len(self.trials) - 1}, but got {number}")
        return self.trials[number]

    def bundle(self, number: int) -> Place:
        """Folder of a trial's model bundle.

        Raises:
            UserError: the trial has none, as only the Pareto set's are kept.
        """
        summary, folder = self.trial(number), StudyFolder(self.folder).exported(number)
        if not folder.is_whole():
            kept = ", ".join(str(member.number) for member in self.pareto) or "none yet"
            raise UserError(
                f"trial {number} ({summary.state}) of {self.folder} has no model: bundles are kept for the Pareto "
                f"front ({kept}); `python -m jobs.train` can train its parameters again"
            )
        return folder

    def load(self, trial: TrialSummary | int) -> Bundle:
        """The model bundle of a trial of the Pareto set, such as `result.load(result.knee())`.

        Raises:
            UserError: as `bundle`.
        """
        return load(self.bundle(trial if isinstance(trial, int) else trial.number))

    def to_pandas(self) -> "pd.DataFrame":
        """One row a trial; parameters are columns named by their dotted paths."""
        import pandas as pd

        rows = [summary.model_dump(exclude={"params"}) | summary.params for summary in self.trials]
        return pd.DataFrame(rows).set_index("number") if rows else pd.DataFrame()

    def table(self) -> Table:
        """The Pareto front for a terminal."""
        return pareto_table(self.pareto, self.hypervolume)

    @property
    def _points(self) -> dict[int, tuple[float, float]]:
        return {summary.number: summary.point for summary in self.trials if summary.point}


def pareto_table(members: tuple[TrialSummary, ...], area: float) -> Table:
    """Both objectives and the parameters of each member of a front; `*` marks the knee."""
    best = knee({member.number: member.point for member in members if member.point})
    arrows = {"minimize": "v", "maximize": "^"}
    title = f"Pareto front, hypervolume {area:.4f}"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, show_edge=False, padding=0)
    names = list(dict.fromkeys(name for member in members for name in member.params))
    headers = [f"{name}\n{arrows[way]}" for name, way in zip(OBJECTIVES, DIRECTIONS, strict=True)]
    for header in ("trial", *headers, *(name.rpartition(".")[2] for name in names)):
        table.add_column(header.replace("_", "_\n"), justify="right")
    for member in members:
        label = f"{member.number}{' *' if member.number == best else ''}"
        objectives = [f"{value:.4f}" for value in member.point or ()]
        table.add_row(label, *objectives, *(_short(member.params.get(name)) for name in names))
    return table


def _short(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
