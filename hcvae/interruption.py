"""Ctrl-C and SIGTERM end a program with one line and exit code 130, whatever it is doing.

While Python imports the program they end the process at once, as there is nothing to clean up yet. In `main` the first
one raises KeyboardInterrupt, and the process has `GRACE_S` seconds to clean up: a library may wait for minutes before
Python can handle a signal, or catch a KeyboardInterrupt that was not meant for it.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

INTERRUPTED = 130
"""The exit code."""
GRACE_S = 8.0
"""How long cleaning up may take."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)

_guarded = threading.Event()
_received = threading.Event()  # a signal that `interruptible` has answered
_announced = threading.Event()


def guard_program() -> None:
    """Prepare this process for signals. For programs only, before their imports."""
    _guarded.set()
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    for number in SIGNALS:
        signal.signal(number, _end)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    sys.unraisablehook = _interrupt_again
    threading.Thread(target=_end_in_time, args=(reader,), daemon=True).start()


def end_interrupted() -> int:
    """Print the line and end a guarded program without the seconds that Python takes to unload libraries.

    Returns:
        The exit code, elsewhere.
    """
    _announced.set()
    print("interrupted", file=sys.stderr, flush=True)
    if _guarded.is_set():
        with suppress(OSError):  # nobody reads it
            sys.stdout.flush()
        _end()
    return INTERRUPTED


@contextmanager
def interruptible() -> Iterator[None]:
    """Let the first Ctrl-C or SIGTERM raise KeyboardInterrupt; later ones do not disturb cleaning up.

    Raises:
        KeyboardInterrupt: also where a later signal met the handler of Ray, which exits while Ray starts.
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
    """Let SIGTERM call the handler of SIGINT, whichever that is when it arrives."""

    def forward(*_: Any) -> None:
        handler = signal.getsignal(signal.SIGINT)
        if not callable(handler):  # a shell starts background commands that ignore SIGINT
            raise KeyboardInterrupt
        handler(signal.SIGINT, None)

    with handled(forward, signal.SIGTERM):
        yield


@contextmanager
def remembered_ctrl_c() -> Iterator[threading.Event]:
    """An event that is set from the first Ctrl-C on: a library may drop the KeyboardInterrupt that it raises."""
    interrupted, before = threading.Event(), signal.getsignal(signal.SIGINT)

    def remember(number: int, frame: Any) -> None:
        interrupted.set()
        if callable(before):
            before(number, frame)

    with handled(remember, signal.SIGINT) if callable(before) else nullcontext():
        yield interrupted


@contextmanager
def handled(handler: Callable[..., Any], *numbers: signal.Signals) -> Iterator[None]:
    """Give these signals to `handler` for a while; without effect in other threads, which may not set handlers."""
    with handlers_kept(*numbers):
        if in_main_thread():
            for number in numbers:
                signal.signal(number, handler)
        yield


@contextmanager
def handlers_kept(*numbers: signal.Signals) -> Iterator[None]:
    """Restore the handlers of these signals in the end, in the system too, where C code may have set its own."""
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        if in_main_thread():
            for number, handler in before.items():
                if handler is not None:  # None: not set by Python, and Python cannot set it
                    signal.signal(number, handler)


def in_main_thread() -> bool:
    """Whether this is the thread that handles signals."""
    return threading.current_thread() is threading.main_thread()


def _interrupt(*_: Any) -> None:
    if not _received.is_set():
        _received.set()
        raise KeyboardInterrupt


def _end(*_: Any) -> None:
    if not _announced.is_set():
        with suppress(OSError):  # nobody reads it
            os.write(2, b"interrupted\n")
    os._exit(INTERRUPTED)


def _end_in_time(reader: int) -> None:
    while numbers := os.read(reader, 64):
        if set(numbers).intersection(SIGNALS):
            time.sleep(GRACE_S)
            _end()


def _interrupt_again(unraisable: "sys.UnraisableHookArgs") -> None:
    """Python drops an exception of a callback, such as that of the lock of a module that is being imported."""
    if not issubclass(unraisable.exc_type, KeyboardInterrupt | SystemExit):  # SystemExit: of Ray, while it starts
        sys.__unraisablehook__(unraisable)
        return
    _received.clear()
    threading.Timer(0.05, signal.raise_signal, (signal.SIGINT,)).start()
