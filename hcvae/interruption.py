"""Handling of Ctrl-C and SIGTERM: the program ends with one line and exit code 130, whatever it is doing.

During imports a signal ends the process at once, as there is nothing to clean up yet. In `main` the first signal raises
KeyboardInterrupt, and the process has `GRACE_S` seconds to clean up: a library can wait for minutes before Python
handles a signal, or catch the KeyboardInterrupt.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

INTERRUPTED = 130
"""Exit code of an interrupted program."""
GRACE_S = 8.0
"""Maximum time to clean up."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)

_guarded = threading.Event()
_received = threading.Event()  # `interruptible` has handled a signal
_announced = threading.Event()


def guard_program() -> None:
    """Install the signal handlers. For programs only, before their other imports."""
    _guarded.set()
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    for number in SIGNALS:
        signal.signal(number, _end)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    sys.unraisablehook = _interrupt_again
    threading.Thread(target=_end_in_time, args=(reader,), daemon=True).start()


def end_interrupted() -> int:
    """Print the line and end a guarded program at once, without the seconds that Python needs to unload libraries.

    Returns:
        The exit code, if the program is not guarded.
    """
    _announced.set()
    print("interrupted", file=sys.stderr, flush=True)
    if _guarded.is_set():
        with suppress(OSError):  # the reader has closed the pipe
            sys.stdout.flush()
        _end()
    return INTERRUPTED


@contextmanager
def interruptible() -> Iterator[None]:
    """Let the first Ctrl-C or SIGTERM raise KeyboardInterrupt, and ignore later ones during the clean-up.

    Raises:
        KeyboardInterrupt: also if a later signal reached the handler of Ray, which exits while Ray starts.
    """
    _received.clear()
    try:
        with handled(_interrupt, *SIGNALS):
            yield
    except SystemExit:
        if not _received.is_set():
            raise
        raise KeyboardInterrupt from None


@contextmanager
def sigterm_as_ctrl_c() -> Iterator[None]:
    """Let SIGTERM call whatever handler SIGINT has at that moment."""

    def forward(*_: Any) -> None:
        handler = signal.getsignal(signal.SIGINT)
        if not callable(handler):  # ignored: a shell starts background commands so
            raise KeyboardInterrupt
        handler(signal.SIGINT, None)

    with handled(forward, signal.SIGTERM):
        yield


@contextmanager
def remembered_ctrl_c() -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C sets: a library may swallow the KeyboardInterrupt that it raises."""
    interrupted = threading.Event()
    before = signal.getsignal(signal.SIGINT)

    def remember(number: int, frame: Any) -> None:
        interrupted.set()
        if callable(before):
            before(number, frame)

    if not callable(before):
        yield interrupted
        return
    with handled(remember, signal.SIGINT):
        yield interrupted


@contextmanager
def handled(handler: Callable[..., Any], *numbers: signal.Signals) -> Iterator[None]:
    """Send these signals to `handler` within the block; no effect outside the main thread."""
    with handlers_kept(*numbers):
        if in_main_thread():
            for number in numbers:
                signal.signal(number, handler)
        yield


@contextmanager
def handlers_kept(*numbers: signal.Signals) -> Iterator[None]:
    """Restore the handlers of these signals at the end, also where C code has set its own."""
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        if in_main_thread():
            for number, handler in before.items():
                if handler is not None:  # None: not set by Python, and Python cannot set it
                    signal.signal(number, handler)


def in_main_thread() -> bool:
    """Whether this is the main thread, which handles signals."""
    return threading.current_thread() is threading.main_thread()


def _interrupt(*_: Any) -> None:
    if not _received.is_set():
        _received.set()
        raise KeyboardInterrupt


def _end(*_: Any) -> None:
    if not _announced.is_set():
        with suppress(OSError):  # the reader has closed the pipe
            os.write(2, b"interrupted\n")
    os._exit(INTERRUPTED)


def _end_in_time(reader: int) -> None:
    while numbers := os.read(reader, 64):
        if set(numbers).intersection(SIGNALS):
            time.sleep(GRACE_S)
            _end()


def _interrupt_again(unraisable: "sys.UnraisableHookArgs") -> None:
    """Raise the signal again: Python drops exceptions in callbacks, such as that of a module's import lock."""
    if not issubclass(unraisable.exc_type, KeyboardInterrupt | SystemExit):  # SystemExit: from Ray while it starts
        sys.__unraisablehook__(unraisable)
        return
    _received.clear()
    threading.Timer(0.05, signal.raise_signal, (signal.SIGINT,)).start()
