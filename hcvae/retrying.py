"""Storage that refuses for a while, such as a full disk, is waited for."""

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from safetensors import SafetensorError

from hcvae.errors import StorageError

RETRY_FOR_S = 300.0
"""How long a disk, or a database, that refuses is tried again."""
RETRY_EVERY_S = 1.0
DISK_FAULTS = (OSError, SafetensorError)
"""What a disk that is full, or a folder that somebody deletes, raises; safetensors has its own error."""

logger = logging.getLogger("hcvae")
Result = TypeVar("Result")


def retry(action: Callable[[], Result], what: str, faults: tuple[type[Exception], ...] = DISK_FAULTS) -> Result:
    """Do what may be refused for a while, with a warning at the first refusal; `action` may be begun several times.

    Raises:
        StorageError: `what` is still refused after `RETRY_FOR_S` seconds.
    """
    deadline, told = time.monotonic() + RETRY_FOR_S, False
    while True:
        try:
            return action()
        except faults as error:
            reason = f"{what}: {_first_cause(error)}"
            if time.monotonic() > deadline:
                raise StorageError(
                    f"{reason}; tried for {RETRY_FOR_S:.0f} s; once that is mended, the same command goes on"
                ) from error
        if not told:
            logger.warning("%s; tried again for up to %.0f s", reason, RETRY_FOR_S)
            told = True
        time.sleep(RETRY_EVERY_S)


def _first_cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split())
