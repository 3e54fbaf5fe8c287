"""Files and folders that nobody sees half written."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hcvae.errors import UserError


def check_writable(path: str | Path) -> None:
    """Refuse a file that could not be written, before the work whose result it is to hold.

    Raises:
        UserError: a folder of that name, or one around it that may not be written to.
    """
    path = Path(path).absolute()
    folder = next(folder for folder in path.parents if os.path.lexists(folder))
    if os.path.isdir(path):  # unlike Path.is_dir, False in a folder that may not be entered
        raise UserError(f"{path}: is a folder; name a file")
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"{path}: cannot be written, as {folder} is no folder that you may write to")


@contextmanager
def written_whole(path: str | Path) -> Iterator[Path]:
    """A temporary name beside `path` to write to; it becomes `path` at the end, and is removed where writing failed.

    Raises:
        UserError: the folder is missing, or may not be written to.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error}; name a file in a folder that you may write to") from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def folder_written_whole(target: Path) -> Iterator[Path]:
    """A temporary folder beside `target` to fill; it becomes `target`, in place of what is there, at the end.

    Where filling it failed it is removed: on a full disk others need its room.

    Raises:
        OSError: a folder cannot be made, removed or renamed.
    """
    temporary = target.with_name(f"{target.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if target.exists():
            shutil.rmtree(target)
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
