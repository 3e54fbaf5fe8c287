"""SHA-256 digests of files."""

import hashlib
from pathlib import Path
from typing import IO


def sha256_of_file(path: Path) -> str:
    """Return the digest of the file at `path`, in hexadecimal."""
    with path.open("rb") as stream:
        return sha256_of_stream(stream)


def sha256_of_stream(stream: IO[bytes]) -> str:
    """Return the digest of the rest of `stream`, in hexadecimal."""
    return hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]
