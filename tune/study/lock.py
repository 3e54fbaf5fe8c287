"""The lock of a study's folder: with sqlite one process at a time may search in it, with PostgreSQL any number."""

import fcntl
import logging
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from hcvae.errors import UserError
from hcvae.storage import StoragePath
from tune.config import SearchConfig
from tune.study.database import SQLITE, Database
from tune.study.folder import LOCK, StudyFolder

logger = logging.getLogger("hcvae")


@dataclass(frozen=True)
class LockedFolder(StudyFolder):
    """The folder of a study in which this process may search, with the study's database."""

    database: Database


@contextmanager
def locked_folder(config: SearchConfig) -> Iterator[LockedFolder]:
    """Make the study's folder, and with sqlite hold its lock; remove the folders made if no study is started in them.

    Raises:
        UserError: the folder cannot be written or locked, or is in use by another search with sqlite; or the database
            cannot be used.
    """
    place = StoragePath.of(config.search.storage) / config.search.study
    folder = LockedFolder(place, Database.of(config.search, place))
    folder.database.check(has_study=place.is_local and folder.record.path.is_file(), write=True)
    with _held(folder):
        yield folder


def _held(folder: LockedFolder) -> AbstractContextManager[None]:
    """Hold the lock of a folder on a disk; an object store has none."""
    if folder.place.is_local:
        return _locked(folder)
    return _writable(folder)


@contextmanager
def _writable(folder: LockedFolder) -> Iterator[None]:
    """Check that an object store can be written. It has no locks: those of the database are enough."""
    try:
        (folder.place / LOCK).write(f"process {os.getpid()} on {socket.gethostname()}\n".encode())
    except OSError as error:
        raise UserError(f"search.storage: cannot write to {folder}: {_last_sentence(error)}") from None
    try:
        yield
    finally:
        if not folder.record.is_file():
            with folder.database.locked():
                if not folder.record.is_file() and not folder.foreign():
                    folder.place.remove()


@contextmanager
def _locked(folder: LockedFolder) -> Iterator[None]:
    created = [parent for parent in folder.path.parents if not parent.exists()]
    had_database = (folder.path / SQLITE).exists()
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        lock = (folder.path / LOCK).open("a+")
    except OSError as error:
        raise _cannot_write(folder, error) from None
    with lock:
        refusal = _lock(folder, lock)
        try:
            if refusal:
                _continue_unlocked(folder, refusal)
            _sign(folder, lock)
            yield
        finally:
            if not had_database and not folder.record.is_file():
                with folder.database.locked():
                    _remove_unused(folder, created)


def _lock(folder: LockedFolder, lock: IO[str]) -> OSError | None:
    """Acquire the lock; return the error where the file system has no locks, as Lustre and NFS under some options."""
    try:
        kind = fcntl.LOCK_SH
        if not folder.database.shared:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # sqlite takes locks of this kind
            fcntl.lockf(lock, fcntl.LOCK_UN)
            kind = fcntl.LOCK_EX
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        raise UserError(
            f"{folder}: in use by another search ({lock.read().strip()}); wait until it ends, or choose "
            "another search.study; several processes can search one study with search.database postgresql://..."
        ) from None
    except OSError as error:
        return error
    return None


def _continue_unlocked(folder: LockedFolder, refusal: OSError) -> None:
    """Warn that there is no lock of the folder: for PostgreSQL the database's own is enough."""
    if not folder.database.shared:
        raise UserError(
            f"search.storage: the file system of {folder} has no file locks ({refusal.strerror}), which sqlite needs; "
            "name a folder on a disk of this machine, or a PostgreSQL database (search.database postgresql://...)"
        )
    logger.warning(
        "%s: its file system has no file locks (%s); PostgreSQL keeps the processes of this search apart",
        folder,
        refusal.strerror,
    )


def _sign(folder: StudyFolder, lock: IO[str]) -> None:
    try:
        lock.truncate(0)
        os.write(lock.fileno(), f"process {os.getpid()} on {socket.gethostname()}\n".encode())
    except OSError as error:
        raise _cannot_write(folder, error) from None


def _cannot_write(folder: StudyFolder, error: OSError) -> UserError:
    advice = "name a folder that you may write to, on a disk with room"
    return UserError(f"search.storage: cannot write to {folder}: {error.strerror}; {advice}")


def _remove_unused(folder: StudyFolder, created: list[Path]) -> None:
    if folder.path.exists() and not folder.record.is_file() and not folder.foreign():
        shutil.rmtree(folder.path)
        with suppress(OSError):  # another search may have started there
            for parent in created:
                parent.rmdir()


def _last_sentence(error: OSError) -> str:
    """Return an object store's message without the request that precedes it."""
    return " ".join(str(error).split()).rpartition("Detail: ")[2]
