"""Where the driver of a search spends its time: a clock by parts, and a searcher that it watches."""

import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import ray
import sqlalchemy.orm

from tune.search.searcher import StudySearcher
from tune.study import pareto_archive

PARTS = ("sampler", "database", "searcher", "front", "tune")
"""Drawing parameters; Optuna's storage; leases, diagnosis and progress; the Pareto front; Ray Tune's own loop."""
WAITING = "waiting"
"""For the trials: no work of the driver."""
SAMPLER_METHODS = (
    "infer_relative_search_space",
    "sample_relative",
    "sample_independent",
    "before_trial",
    "after_trial",
)
STORAGE_METHODS = (
    "create_new_trial",
    "get_all_trials",
    "get_trial",
    "get_study_system_attrs",
    "get_study_user_attrs",
    "set_trial_param",
    "set_trial_state_values",
    "set_trial_system_attr",
    "set_trial_user_attr",
)

Times = dict[str, tuple[float, float]]
"""Seconds, and seconds of CPU, by part."""


class Clock:
    """Time of the main thread by part: it counts for the innermost, but all within the sampler for the sampler."""

    def __init__(self) -> None:
        self._spent: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        self._parts = ["tune"]
        self._last = self._now()

    @property
    def times(self) -> Times:
        """The times until now."""
        self._charge()
        return {name: (wall, cpu) for name, (wall, cpu) in self._spent.items()}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count time for `name`."""
        if threading.current_thread() is not threading.main_thread() or self._parts[-1] == "sampler":
            yield
            return
        self._charge()
        self._parts.append(name)
        try:
            yield
        finally:
            self._charge()
            self._parts.pop()

    def watch(self, owner: Any, names: tuple[str, ...], part: str) -> None:
        """Count the time within the functions `names` of `owner` for `part`."""
        for name in names:
            setattr(owner, name, self._timed(getattr(owner, name), part))

    def _timed(self, function: Callable[..., Any], part: str) -> Callable[..., Any]:
        @wraps(function)
        def timed(*arguments: Any, **options: Any) -> Any:
            with self.part(part):
                return function(*arguments, **options)

        return timed

    def _charge(self) -> None:
        now = self._now()
        for index in (0, 1):
            self._spent[self._parts[-1]][index] += now[index] - self._last[index]
        self._last = now

    @staticmethod
    def _now() -> tuple[float, float]:
        return time.perf_counter(), time.thread_time()


def watched(report: Callable[[int, Times, dict[int, float]], None], every: int) -> type[StudySearcher]:
    """Make a searcher that reports, with its first suggestion and after each `every` trials, how many have ended, the
    times until then, and when each trial was handed out. Use it for one search in a process of its own."""
    clock = Clock()
    handed_out = dict[int, float]()
    clock.watch(ray, ("wait",), WAITING)
    clock.watch(sqlalchemy.orm.Session, ("commit",), "database")
    clock.watch(pareto_archive.ParetoArchive, ("add", "summarize"), "front")

    class Watched(StudySearcher):
        def __init__(self, ledger: Any, *arguments: Any) -> None:
            study = ledger.leases.study
            clock.watch(study.sampler, SAMPLER_METHODS, "sampler")
            clock.watch(study._storage, STORAGE_METHODS, "database")
            super().__init__(ledger, *arguments)
            self._ended = 0

        def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
            if not handed_out:
                self._tell()
            with clock.part("searcher"):
                suggestion = super().suggest(trial_id)
            if isinstance(suggestion, dict):
                handed_out[suggestion["number"]] = time.time()
            return suggestion

        def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
            with clock.part("searcher"):
                super().on_trial_result(trial_id, result)

        def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
            with clock.part("searcher"):
                super().on_trial_complete(trial_id, result, error)
            self._ended += 1
            if self._ended % every == 0:
                self._tell()

        def _tell(self) -> None:
            with clock.part("benchmark"):
                report(self._ended, clock.times, handed_out)

    return Watched


def resident_mib() -> float:
    """Return the memory of this process, see proc(5)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
