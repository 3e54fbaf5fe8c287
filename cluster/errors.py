"""Errors that a user can fix, and the exit codes of this package's commands."""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

USER_ERROR = 2
INTERRUPTED = 130
PIPE_CLOSED = 128 + signal.SIGPIPE
"""Exit code of a program whose output nobody reads any more, as shells report it."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Parser(argparse.ArgumentParser):
    """Reads a command line; a mistake in it is a ClusterError."""

    def error(self, message: str) -> NoReturn:
        """Raise one message, without the usage."""
        raise ClusterError(f"{message.removeprefix('argument ')}; see `{self.prog} --help`")


class ClusterError(ValueError):
    """Bad input; exit code 2. The message has the place, the value and what would be right."""


def main(program: Callable[[Sequence[str]], int]) -> int:
    """Run `program` on this process's arguments; a mistake of the user is a message and exit code 2, and Ctrl-C or
    SIGTERM one line and exit code 130."""
    for number in SIGNALS:
        signal.signal(number, _interrupt)
    try:
        return _run_and_flush(program)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more as it ends
        return PIPE_CLOSED
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return USER_ERROR
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise
        print(
            "error: ray is not installed; `pip install --constraint constraints.txt --editable '.[search]'`",
            file=sys.stderr,
        )
        return USER_ERROR
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED


def _run_and_flush(program: Callable[[Sequence[str]], int]) -> int:
    try:
        return program(sys.argv[1:])
    finally:
        sys.stdout.flush()


def _interrupt(*_: Any) -> None:
    for number in SIGNALS:  # further signals do not disturb cleaning up
        signal.signal(number, lambda *_: None)
    raise KeyboardInterrupt
