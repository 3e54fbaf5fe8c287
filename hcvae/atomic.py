"""Atomic writes: a reader sees the old file or folder or the new one, never a part of it."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from hcvae.errors import UserError


def temporary_path(path: Path) -> Path:
    """Return the hidden name beside `path` under which this process writes it."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


@contextmanager
def renamed_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; rename it to `path` at the end, or remove it on an error.

    Raises:
        OSError: the file cannot be written or renamed.
    """
    temporary = temporary_path(path)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        with suppress(OSError):  # already renamed, or never created
            temporary.unlink()


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path to write to; rename it to `path` at the end, or remove it on an error.

    Raises:
        UserError: the folder is missing or not writable.
    """
    try:
        with renamed_file(Path(path)) as temporary:
            yield temporary
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error}; name a file in a folder that you may write to") from error


def write_json(content: Mapping[str, Any], path: str | Path) -> None:
    """Write `content` as JSON, atomically.

    Raises:
        UserError: see `atomic_write`.
    """
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, allow_nan=False))


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary folder to fill; replace `target` by it at the end, or remove it on an error.

    Raises:
        OSError: a folder cannot be made, removed or renamed.
    """
    temporary = target.with_name(f"{target.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)  # left by a process that was killed
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if target.exists():
            shutil.rmtree(target)
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary folder to fill; rename it to `target`, which must not exist, or remove it on an error.

    Raises:
        OSError: a folder cannot be made or renamed.
    """
    temporary = temporary_path(target)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
