"""Progress of a long command as log lines, where no terminal shows a progress bar."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

from hcvae.terminal import print_line

INTERVAL_S = 60.0
"""Time between two lines."""


@contextmanager
def line_a_minute(console: Console, text: Callable[[], str]) -> Iterator[None]:
    """Print `text()` and the elapsed time every `INTERVAL_S` seconds, unless `console` is a terminal."""
    if console.is_terminal:
        yield
        return
    started = time.monotonic()
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(INTERVAL_S):
            line = f"{text()}; elapsed {clock(time.monotonic() - started)}"
            print_line(console, line)

    thread = threading.Thread(target=repeat, name="progress lines", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def clock(seconds: float | None) -> str:
    """Format a duration as h:mm:ss."""
    if seconds is None:
        return "-:--:--"
    minutes, second = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{second:02d}"
