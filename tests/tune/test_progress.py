import io
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from optuna.trial import FrozenTrial
from rich.console import Console

from hcvae.training.precision import decide
from tests.fixtures.studies import SmallSearch
from tune.config import SearchConfig
from tune.objectives import SPECIFIED
from tune.report.progress import JsonProgress, LineProgress, LiveProgress, Progress, make_progress
from tune.study.lock import locked_folder
from tune.study.opening import open_study
from tune.study.pareto_archive import ParetoArchive

Run = Callable[[Progress], None]


def metrics(epoch: int) -> dict[str, float]:
    return {
        "epoch": epoch,
        "phase": 1,
        "validation_loss": 1.25,
        "reconstruction_nmse": 0.5,
        "disentanglement": 0.125,
        "seconds": 1,
    }


@pytest.fixture
def config(small_search: SmallSearch) -> SearchConfig:
    return small_search(trials=4, training={"epochs": 10})


@pytest.fixture
def front(config: SearchConfig, tell_trained: Callable[..., FrozenTrial]) -> Iterator[ParetoArchive]:
    """The front of a study with one finished trial."""
    with locked_folder(config) as folder:
        study = open_study(folder, config, "data")
        front = ParetoArchive.open(folder, study, SPECIFIED)
        front.add(front.summarize(tell_trained(study, study.ask(), (0.25, 0.5))))
        yield front


def play(progress: Progress, front: ParetoArchive) -> None:
    """Trial 1 is in its fifth epoch, trial 2 has just begun, trial 0 has finished."""
    for number in (0, 1, 2):
        progress.started(number, {"model.global_latent_dim": 32})
    for epoch in range(1, 6):
        progress.epoch(1, metrics(epoch))
    progress.finished(front.members[0])


def test_a_precision_is_shown_once_and_each_that_warns(config: SearchConfig, front: ParetoArchive) -> None:
    chosen = [decide("auto", {"fp32": 60.0, "bf16": 150.0}), decide("bf16", {"fp32": 60.0, "bf16": 1.0})]
    plain, terminal = io.StringIO(), io.StringIO()
    for console in (Console(file=plain, width=300), Console(file=terminal, force_terminal=True, width=300)):
        with make_progress(config, front, Counter(), console, None) as progress:
            for number, choice in enumerate((*chosen, *chosen)):
                progress.precision(number, choice)
    wanted = [
        "trial 0 trains in bf16 (measured: fp32 60 GFLOP/s, bf16 150 GFLOP/s)",
        "trial 1 trains in bf16 (measured: fp32 60 GFLOP/s, bf16 1 GFLOP/s); warning: " + str(chosen[1].warning),
    ]
    assert plain.getvalue().splitlines() == wanted
    assert [terminal.getvalue().count(line) for line in wanted] == [1, 1]


def test_a_trial_that_was_continued_is_announced_once(config: SearchConfig, front: ParetoArchive) -> None:
    plain, terminal, lines = io.StringIO(), io.StringIO(), io.StringIO()
    views = [(Console(file=plain), None), (Console(file=terminal, force_terminal=True), None), (Console(), lines)]
    for console, stream in views:
        with make_progress(config, front, Counter(), console, stream) as progress:
            for number, first in ((1, 7), (2, 1)):
                progress.started(number, {})
                progress.epoch(number, metrics(first))
                progress.epoch(number, metrics(first + 1))
    assert plain.getvalue() == "trial 1 continues after epoch 6\n"
    assert terminal.getvalue().count("trial 1 continues after epoch 6") == 1
    continued = [event for event in map(json.loads, lines.getvalue().splitlines()) if event["event"] == "continued"]
    assert [(event["trial"], event["after_epoch"]) for event in continued] == [(1, 6)]


def test_json_lines_tell_everything(config: SearchConfig, front: ParetoArchive) -> None:
    stream = io.StringIO()
    with make_progress(config, front, Counter(), Console(), stream) as progress:
        assert isinstance(progress, JsonProgress)
        play(progress, front)
    events = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [event["event"] for event in events] == ["started"] * 3 + ["epoch"] * 5 + ["finished"]
    assert events[3]["metrics"] == metrics(1)
    assert events[-1]["front"] == [0]
    assert events[-1]["hypervolume"] == 0.75 * 0.5


def test_a_log_gets_a_line_a_trial(config: SearchConfig, front: ParetoArchive) -> None:
    stream = io.StringIO()
    with make_progress(config, front, Counter(), Console(file=stream), None) as progress:
        assert isinstance(progress, LineProgress)
        play(progress, front)
    [line] = stream.getvalue().splitlines()
    assert line.startswith(
        "trial 0 complete: reconstruction_nmse 0.2500, disentanglement 0.5000; 2 running, 1/4 finished"
    )
    assert "hypervolume 0.3750" in line


def test_a_log_gets_a_line_a_minute(
    config: SearchConfig, front: ParetoArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the first trial has ended, and while nothing runs."""
    monkeypatch.setattr("hcvae.progress_lines.INTERVAL_S", 0.05)
    stream = io.StringIO()
    with make_progress(config, front, Counter(), Console(file=stream), None) as progress:
        time.sleep(0.2)
        progress.started(3, {})
        progress.started(4, {})
        progress.epoch(3, metrics(5))
        time.sleep(0.2)
    shown = {line.rpartition("; elapsed")[0] for line in stream.getvalue().splitlines()}
    rest = "0 of 4 trials finished; best so far: reconstruction_nmse 0.2500, disentanglement 0.5000"
    assert {f"running: no trial; {rest}", f"running: trial 3 epoch 5/10, trial 4 epoch 0/10; {rest}"} <= shown
    for number in range(5, 25):
        progress.started(number, {})
    assert "trial 10 epoch 0/10 and 14 more; " in progress.under_way()


def test_a_terminal_gets_a_live_view(config: SearchConfig, front: ParetoArchive) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with make_progress(config, front, Counter({"fail": 1}), console, None) as progress:
        assert isinstance(progress, LiveProgress)
        play(progress, front)
        text = Console(width=120, record=True, file=io.StringIO())
        text.print(progress.render())
    shown = text.export_text()
    assert "2 running, 2/4 finished, 1 complete, 1 fail; hypervolume 0.3750" in shown
    assert "5/10" in shown
    assert "0/10" in shown
    assert "1.2500" in shown
    assert "0.1250" in shown
    assert "0 *" not in shown.partition("Pareto front")[0]
    assert "0 *" in shown.partition("Pareto front")[2]


def test_failures_are_shown_with_their_reason(config: SearchConfig, front: ParetoArchive) -> None:
    console = Console(file=io.StringIO(), force_terminal=True)
    with LiveProgress(config, front, Counter(), console) as progress:
        failed = front.members[0].model_copy(update={"number": 3, "state": "fail", "failure": "TrainingDiverged: nan"})
        progress.finished(failed)
        text = Console(record=True, file=io.StringIO())
        text.print(progress.render())
    assert "trial 3 failed: TrainingDiverged: nan" in text.export_text()


def test_pruned_and_suspended_trials_are_told_of(config: SearchConfig, front: ParetoArchive) -> None:
    stream, lines = io.StringIO(), io.StringIO()
    pruned = front.members[0].model_copy(
        update={"number": 1, "state": "pruned", "stopped": "fell behind", "reconstruction_nmse": None}
    )
    for progress in (
        JsonProgress(config, front, Counter(), stream),
        LineProgress(config, front, Counter(), Console(file=lines)),
    ):
        play(progress, front)
        progress.finished(pruned)
        progress.suspended(2, "no time")
        assert progress.running == {}
        assert progress.headline.startswith("0 running, 2/4 finished, 1 complete, 1 pruned")
        progress.ended("search.search_seconds")
    finished, suspended, ended = (json.loads(line) for line in stream.getvalue().splitlines()[-3:])
    assert (finished["state"], finished["stopped"]) == ("pruned", "fell behind")
    assert (suspended["event"], suspended["trial"], suspended["reason"]) == ("suspended", 2, "no time")
    assert (ended["event"], ended["reason"]) == ("ended", "search.search_seconds")
    assert lines.getvalue().splitlines()[-1].startswith("trial 1 pruned: fell behind; 1 running, 2/4 finished")


def test_time_left_follows_the_epochs(
    config: SearchConfig, front: ParetoArchive, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    progress = Progress(config, front, Counter({"complete": 1}))
    assert progress.left_s is None
    progress.started(1, {})
    progress.epoch(1, metrics(6))  # goes on from epoch 5: one epoch of this start
    now = 103.0
    # 0.1 of a trial in 3 s; 2.9 of the 3 trials left.
    assert progress.left_s == pytest.approx(87)
    progress.epoch(1, metrics(10))
    assert progress.left_s == pytest.approx(3 * 2.5 / 0.5)


@pytest.mark.parametrize("end", ["died", "lost", "suspended"])
def test_a_trial_that_this_process_runs_no_more_counts_no_more(
    config: SearchConfig, front: ParetoArchive, end: str
) -> None:
    progress = Progress(config, front, Counter())
    play(progress, front)
    before = progress.left_s
    getattr(progress, end)(1, *([] if end == "lost" else ["why"]))
    assert "1 running" in progress.headline
    assert before is not None
    assert progress.left_s is not None
    assert progress.left_s > before
    progress.started(1, {})  # again, perhaps
    assert progress.left_s is not None
