"""Paths and URIs as text. Nothing here accesses a file system, and no pyarrow is loaded."""

import os
from pathlib import Path

from hcvae.errors import UserError
from hcvae.validation import SECRET_ADVICE, shows_secret


def is_uri(location: object) -> bool:
    """Whether `location` is a URI rather than a path on this machine."""
    return "://" in str(location)


def absolute(location: str | Path) -> str:
    """Return an absolute path, or a URI unchanged.

    Raises:
        UserError: the URI holds a secret; the message does not repeat it.
    """
    if not is_uri(location):
        return str(Path(os.path.expanduser(location)).absolute())  # unlike Path.expanduser it accepts an unknown ~user
    if shows_secret(str(location)):
        raise UserError(f"{str(location).partition('://')[0]}://...: {SECRET_ADVICE}")
    return str(location)
