"""Retries of writes that fail temporarily, for example on a full disk."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from safetensors import SafetensorError

from hcvae.errors import StorageError

RETRY_FOR_S = 300.0
"""How long a failing operation is retried."""
RETRY_EVERY_S = 1.0
DISK_FAULTS = (OSError, SafetensorError)
"""Errors of a full disk or a deleted folder; safetensors has its own."""

logger = logging.getLogger("hcvae")
Result = TypeVar("Result")


def retry(action: Callable[[], Result], what: str, faults: tuple[type[Exception], ...] = DISK_FAULTS) -> Result:
    """Call `action` until it succeeds, with a warning at the first failure.

    Raises:
        StorageError: it still fails after `RETRY_FOR_S` seconds; the message starts with `what`.
    """
    deadline = time.monotonic() + RETRY_FOR_S
    has_warned = False
    while True:
        try:
            return action()
        except faults as error:
            reason = f"{what}: {_first_cause(error)}"
            if time.monotonic() > deadline:
                raise StorageError(
                    f"{reason}; retried for {RETRY_FOR_S:.0f} s; once this is fixed, the same command continues"
                ) from error
        if not has_warned:
            logger.warning("%s; retrying for up to %.0f s", reason, RETRY_FOR_S)
            has_warned = True
        time.sleep(RETRY_EVERY_S)


def _first_cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split())
