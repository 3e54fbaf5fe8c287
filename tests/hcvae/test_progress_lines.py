import io
import time

from rich.console import Console

from hcvae import progress_lines
from hcvae.progress_lines import clock, line_a_minute


def lines_of(console: Console, seconds: float) -> list[str]:
    with line_a_minute(console, lambda: "reading [7]"):
        time.sleep(seconds)
    written = console.file
    assert isinstance(written, io.StringIO)
    time.sleep(0.1)  # nothing is printed afterwards
    return written.getvalue().splitlines()


def test_a_log_gets_a_line_every_interval_and_a_terminal_none(monkeypatch):
    monkeypatch.setattr(progress_lines, "INTERVAL_S", 0.05)
    lines = lines_of(Console(file=io.StringIO()), 0.5)
    assert 2 <= len(lines) <= 10
    assert set(lines) <= {"reading [7]; elapsed 0:00:00", "reading [7]; elapsed 0:00:01"}
    assert lines_of(Console(file=io.StringIO(), force_terminal=True), 0.2) == []


def test_a_short_command_prints_no_line():
    assert lines_of(Console(file=io.StringIO()), 0.0) == []


def test_clock():
    assert [clock(None), clock(9.6), clock(3725)] == ["-:--:--", "0:00:10", "1:02:05"]
