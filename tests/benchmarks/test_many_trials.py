"""The benchmark of many trials: its clock and its rows, on times that are known."""

import time
from inspect import signature
from pathlib import Path

import pytest

from benchmarks.many_trials import ready, trained
from benchmarks.many_trials_clock import Clock, Times
from benchmarks.many_trials_report import Row, Run, Snapshot, write_report
from tune.trial.trainable import make_trainable


def test_time_counts_for_the_innermost_part_and_all_of_the_samplers_for_the_sampler() -> None:
    clock = Clock()
    with clock.part("searcher"):
        time.sleep(0.02)
        with clock.part("database"):
            time.sleep(0.04)
        with clock.part("sampler"):
            time.sleep(0.06)
            with clock.part("database"):
                time.sleep(0.08)
    times = clock.times
    # A sleep is never shorter than it says, and uses no CPU.
    for part, slept in {"searcher": 0.02, "database": 0.04, "sampler": 0.14}.items():
        wall, cpu = times[part]
        assert wall >= slept
        assert cpu < slept / 2
    assert times["database"][0] < times["sampler"][0]


def snapshot(trials: int, seconds: float, times: Times) -> Snapshot:
    return trials, seconds, 2 * seconds, times, 600.0, trials / 100


BEFORE = snapshot(100, 10.0, {"tune": (1.0, 0.5), "sampler": (2.0, 1.0)})
AFTER = snapshot(200, 30.0, {"tune": (3.0, 1.5), "sampler": (7.0, 3.0), "front": (0.5, 0.1)})
FIRST = Row.between(snapshot(0, 0.0, {}), BEFORE, [0.5])
SECOND = Row.between(BEFORE, AFTER, [number / 1000 for number in range(101)])


def test_a_row_holds_milliseconds_a_trial() -> None:
    assert SECOND.trials == 200
    assert SECOND.wall_ms == pytest.approx({"tune": 20, "sampler": 50, "front": 5})
    assert SECOND.cpu_ms == pytest.approx({"tune": 10, "sampler": 20, "front": 1})
    assert SECOND.own(SECOND.wall_ms) == pytest.approx(25)
    assert (SECOND.elapsed_ms, SECOND.process_cpu_ms) == pytest.approx((200, 400))
    assert SECOND.start_ms == pytest.approx((50, 95, 100))


def test_the_table_of_a_search_replaces_the_old_one(tmp_path: Path) -> None:
    page, results = tmp_path / "page.md", tmp_path / "results.jsonl"
    run = Run(name="sqlite", machine="two cores", revision="abc", rows=(FIRST, SECOND))
    results.write_text(run.model_dump_json() + "\n")
    page.write_text("before\n<!-- table: sqlite -->\nold\n<!-- end -->\nafter\n")
    write_report(page, results)
    text = page.read_text()
    assert "| 101 to 200 | 20.0 | 0.0 | 0.0 | 1.0 | 10.0 | 11.0 | 25.0 | 400.0 | 600 | 2.0 | 50 (95, 100) |" in text
    assert "| 1 to 100 | 10.0 |" in text
    assert "old" not in text


def test_replaced_trials_take_the_arguments_of_those_of_a_search(tmp_path: Path) -> None:
    expected = list(signature(make_trainable).parameters)
    for make in (ready({}, 1, tmp_path), trained(tmp_path)):
        assert list(signature(make).parameters) == expected
