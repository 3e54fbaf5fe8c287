"""Views of a running search: a live view for terminals, plain lines for logs, or JSON lines for programs.

The searcher reports each event; the view shows trials by state, epochs, the objectives of the front, hypervolume and
the time left.
"""

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from hcvae.counting import counted
from hcvae.progress_lines import clock, line_a_minute
from hcvae.terminal import TerminalTable, print_line
from hcvae.training.precision import PrecisionChoice
from tune.config import SearchConfig
from tune.objectives import best_values, names_of, shown
from tune.report.front_table import pareto_table
from tune.report.results import listed_states
from tune.space.entries import ParameterValue
from tune.study.confirmed_trials import ended_in_round
from tune.study.pareto_archive import ParetoArchive
from tune.study.repetition import Repetition
from tune.study.trial_summary import TrialSummary

MAX_LISTED = 8
"""Limit of running trials in one line."""


class Progress:
    """The state of a search by its events. This base class shows nothing; subclasses show each event."""

    def __init__(self, config: SearchConfig, front: ParetoArchive, finished: Counter[str]) -> None:
        self.budget = config.search.trials
        self.objectives = config.search.compared_by
        self.epochs = config.training.epochs
        self.repeated_epochs = self.epochs
        """Epochs of a repetition."""
        self.front = front
        self.repetitions: dict[int, Repetition] = {}
        """What the running repetitions repeat, by number."""
        self.round: Repetition | None = None
        """The latest repetition that was handed out: it names its round of confirmation."""
        self.counts = finished
        """Finished trials by state, those of earlier starts included."""
        self.running: dict[int, dict[str, float]] = {}
        """Metrics of the latest epoch of each running trial."""
        self._precisions: set[tuple[object, ...]] = set()
        self._at_start = finished.total()
        self._n_repeated = 0
        self._n_planned = 0
        confirm = config.search.confirm
        if confirm is not None:
            self.repeated_epochs = confirm.epochs or self.epochs
            n_ended = sum(summary.repetition is not None for summary in front.ended)
            self._n_planned = max(0, confirm.members * confirm.repeats - n_ended)
        self._first_epoch: dict[int, float] = {}  # by trial; not 0 for one that was continued
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        pass

    def started(self, number: int, params: dict[str, ParameterValue], repetition: Repetition | None = None) -> None:
        """Report that a trial was handed out."""
        self.running[number] = {}
        fields: dict[str, Any] = {"trial": number, "params": params}
        if repetition is not None:
            self.repetitions[number] = self.round = repetition
            fields["repetition"] = repetition.model_dump()
        self.show("started", **fields)

    def precision(self, number: int, choice: PrecisionChoice) -> None:
        """Report the precision of a trial, once for each precision and warning: trials on one node are alike."""
        kind = (choice.used, choice.before, choice.warning is None)
        if kind not in self._precisions:
            self._precisions.add(kind)
            self.show("precision", trial=number, text=str(choice), **choice.model_dump(mode="json"))

    def epoch(self, number: int, metrics: dict[str, float]) -> None:
        """Report that a running trial has finished an epoch, and before its first one here, that it was continued."""
        if number not in self._first_epoch:
            self._first_epoch[number] = metrics["epoch"] - 1
            if metrics["epoch"] > 1:
                self.show("continued", trial=number, after_epoch=metrics["epoch"] - 1)
        self.running[number] = metrics
        self.show("epoch", trial=number, metrics=metrics)

    def finished(self, trial: TrialSummary) -> None:
        """Report that a trial has ended, after the study and the front were updated."""
        self._runs_no_more(trial.number)
        if trial.repetition is None:
            self.counts[trial.state] += 1
        else:
            self.round = trial.repetition
            self._n_repeated += 1
        front = list(self.front.points)
        self.show("finished", **trial.model_dump(), hypervolume=self.front.hypervolume, front=front, left_s=self.left_s)

    def suspended(self, number: int, reason: str) -> None:
        """Report that a running trial was left for the next start of the search."""
        self._runs_no_more(number)
        self.show("suspended", trial=number, reason=reason)

    def died(self, number: int, reason: str) -> None:
        """Report that the process of a running trial died; the trial is handed out again."""
        self._runs_no_more(number)
        self.show("died", trial=number, reason=reason)

    def lost(self, number: int) -> None:
        """Report that another process adopted a running trial: the result of this process is dropped."""
        self._runs_no_more(number)
        self.show("lost", trial=number)

    def waiting(self, numbers: Sequence[int]) -> None:
        """Report that only the trials `numbers` of other processes are left, which may end or have to be adopted."""
        self.show("waiting", trials=list(numbers))

    def ended(self, reason: str) -> None:
        """Report that the search has ended; `reason` names the budget that is spent."""
        self.show("ended", reason=reason)

    def show(self, event: str, **fields: Any) -> None:
        """Show one event."""

    def epochs_of(self, number: int) -> int:
        """Return the epochs of a running trial."""
        if number in self.repetitions:
            return self.repeated_epochs
        return self.epochs

    def _runs_no_more(self, number: int) -> None:
        self.running.pop(number, None)
        self.repetitions.pop(number, None)
        self._first_epoch.pop(number, None)

    @property
    def left_s(self) -> float | None:
        """Expected time to the end of the search in seconds, from the share of its epochs done since the start."""
        repetition = self.repeated_epochs / self.epochs  # in trainings of the search
        ended = self.counts.total() - self._at_start + self._n_repeated * repetition
        epochs = 0.0
        for number, first in self._first_epoch.items():
            epochs += self.running[number]["epoch"] - first
        done = ended + epochs / self.epochs
        if not done:
            return None
        left = max(0.0, max(0, self.budget - self._at_start) + self._n_planned * repetition - done)
        return (time.monotonic() - self._started) * left / done

    @property
    def headline(self) -> str:
        """Trials by state, hypervolume and time, in one line."""
        states = [f"{len(self.running)} running", f"{self.counts.total()}/{self.budget} finished"]
        states += listed_states(self.counts)
        if self.round is not None:
            states.append(f"{ended_in_round(self.front.ended, self.round.round)}/{self.round.size} repetitions")
        area = f"hypervolume {self.front.hypervolume:.4f}"
        times = f"elapsed {clock(time.monotonic() - self._started)}, left {clock(self.left_s)}"
        return "; ".join([", ".join(states), area, times])


class LineProgress(Progress):
    """A line for each trial that ends, and one a minute: for logs."""

    def __init__(self, config: SearchConfig, front: ParetoArchive, finished: Counter[str], console: Console) -> None:
        super().__init__(config, front, finished)
        self._console = console
        self._lines = line_a_minute(console, self.under_way)

    def __enter__(self) -> Self:
        self._lines.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._lines.__exit__(kind, error, at)

    def under_way(self) -> str:
        """Return the epochs of the running trials, and the best value of each objective so far."""
        epochs = []
        for number, metrics in list(self.running.items()):
            epochs.append(f"trial {number} epoch {metrics.get('epoch', 0):.0f}/{self.epochs_of(number)}")
        running = ", ".join(epochs[:MAX_LISTED]) or "no trial"
        if len(epochs) > MAX_LISTED:
            running += f" and {len(epochs) - MAX_LISTED} more"
        finished = f"{self.counts.total()} of {counted(self.budget, 'trial')} finished"
        best = "none"
        points = self.front.points.values()
        if points:
            best = listed_values(best_values(points, self.objectives))
        return f"running: {running}; {finished}; best so far: {best}"

    def show(self, event: str, **fields: Any) -> None:
        """Print the precision, the continuation and the end of a trial."""
        if event in LINES:
            print_line(self._console, LINES[event](fields))
        if event != "finished":
            return
        reason = fields["failure"] or fields["stopped"] or fields["foreign_values"]
        values = {name: fields[name] for name in names_of(self.objectives) if fields[name] is not None}
        result = reason or listed_values(values) or "another program ended it"
        if fields["infeasible"]:
            result += f" ({fields['infeasible']})"
        if fields["figure_failure"]:
            result += f" (without figures: {fields['figure_failure']})"
        which = f"trial {fields['number']}"
        if fields["repetition"]:
            which += f" ({Repetition.model_validate(fields['repetition'])})"
        print_line(self._console, f"{which} {fields['state']}: {result}; {self.headline}")


class JsonProgress(Progress):
    """Each event as one JSON object a line."""

    def __init__(self, config: SearchConfig, front: ParetoArchive, finished: Counter[str], stream: TextIO) -> None:
        super().__init__(config, front, finished)
        self._stream = stream

    def show(self, event: str, **fields: Any) -> None:
        """Print the event."""
        print(json.dumps({"event": event, "time": time.time(), **fields}), file=self._stream, flush=True)


class LiveProgress(Progress):
    """A view that is kept up to date on a terminal."""

    def __init__(self, config: SearchConfig, front: ParetoArchive, finished: Counter[str], console: Console) -> None:
        super().__init__(config, front, finished)
        self._failures: list[str] = []
        self._live = Live(get_renderable=self.render, console=console, refresh_per_second=2, transient=True)

    def __enter__(self) -> Self:
        self._live.start(refresh=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._live.stop()
        self._live.console.print(Text("\n".join([*self._failures, self.headline])))

    def show(self, event: str, **fields: Any) -> None:
        """Print the precision and the continuation of a trial, and keep failures; the state renders the view."""
        if event in LINES:
            self._live.console.print(Text(LINES[event](fields)))
        if event == "finished" and fields["failure"]:
            self._failures.append(f"trial {fields['number']} failed: {fields['failure']}")
        if event == "finished" and fields["figure_failure"]:
            self._failures.append(f"trial {fields['number']} has no figures: {fields['figure_failure']}")

    def render(self) -> RenderableType:
        """Return the view."""
        table = TerminalTable("Running", ("trial", "epoch", "phase", "validation loss", *names_of(self.objectives)))
        for number, metrics in list(self.running.items()):
            if metrics:
                values = [shown(metrics[name]) for name in ("validation_loss", *names_of(self.objectives))]
                epoch = f"{metrics['epoch']:.0f}/{self.epochs_of(number)}"
                table.rows.append((str(number), epoch, f"{metrics['phase']:.0f}", *values))
            else:
                table.rows.append((str(number), f"0/{self.epochs_of(number)}", *("-" * (2 + len(self.objectives)))))
        failures = [Text(line, style="red") for line in self._failures[-3:]]
        return Group(Text(self.headline), table, pareto_table(self.front.members, self.objectives), *failures)


def make_progress(
    config: SearchConfig, front: ParetoArchive, finished: Counter[str], console: Console, json_lines: TextIO | None
) -> Progress:
    """Return the view for the place where the search runs."""
    if json_lines is not None:
        return JsonProgress(config, front, finished, json_lines)
    if console.is_terminal:
        return LiveProgress(config, front, finished, console)
    return LineProgress(config, front, finished, console)


def listed_values(values: Mapping[str, float]) -> str:
    """Return values with their names, such as `r2 0.9000, parameters 120,000`."""
    return ", ".join(f"{name} {shown(value)}" for name, value in values.items())


def precision_line(fields: Mapping[str, Any]) -> str:
    """Return the line about the precision of a trial, with a warning if there is one."""
    line = f"trial {fields['trial']} trains in {fields['text']}"
    if fields["warning"]:
        line += f"; warning: {fields['warning']}"
    return line


def continued_line(fields: Mapping[str, Any]) -> str:
    """Return the line about a trial that was continued."""
    return f"trial {fields['trial']} continues after epoch {fields['after_epoch']:.0f}"


LINES = {"precision": precision_line, "continued": continued_line}
"""Functions of the fields of an event, for events that are one line in every view."""
