"""Who may search in the folder of a study: with sqlite one process at a time, with PostgreSQL as many as will."""

import fcntl
import logging
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from hcvae.errors import UserError
from hcvae.storage import StoragePath
from tune.config import SearchConfig
from tune.study.database import SQLITE, Database
from tune.study.folder import LOCK, StudyFolder

logger = logging.getLogger("hcvae")


@contextmanager
def locked_folder(config: SearchConfig) -> Iterator[StudyFolder]:
    """Make the study's folder; with sqlite hold its lock. Where no study is begun, the folders made are removed again.

    Raises:
        UserError: the folder cannot be written or locked, or is in use by another search with sqlite; or the database
            cannot be used.
    """
    folder = StudyFolder(StoragePath.of(config.search.storage) / config.search.study)
    database = Database.of(config.search, folder.place)
    database.check(begun=folder.place.is_local and folder.record.path.is_file(), write=True)
    with _locked(folder, database) if folder.place.is_local else _writable(folder, database):
        yield folder


@contextmanager
def _writable(folder: StudyFolder, database: Database) -> Iterator[None]:
    """An object store has no locks: the database's are enough, as every process searches in it."""
    try:
        (folder.place / LOCK).write(f"process {os.getpid()} on {socket.gethostname()}\n".encode())
    except OSError as error:
        raise UserError(f"search.storage: cannot write to {folder}: {_last_sentence(error)}") from None
    try:
        yield
    finally:
        if not folder.record.is_file():
            with database.locked():
                if not folder.record.is_file() and not folder.foreign():
                    folder.place.remove()


@contextmanager
def _locked(folder: StudyFolder, database: Database) -> Iterator[None]:
    made = [parent for parent in folder.path.parents if not parent.exists()]
    had_database = (folder.path / SQLITE).exists()
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        lock = (folder.path / LOCK).open("a+")
    except OSError as error:
        raise _cannot_write(folder, error) from None
    with lock:
        refusal = _lock(folder, database, lock)
        try:
            if refusal:
                _go_on_unlocked(folder, database, refusal)
            _sign(folder, lock)
            yield
        finally:
            if not had_database and not folder.record.is_file():
                with database.locked():
                    _remove_unused(folder, made)


def _lock(folder: StudyFolder, database: Database, lock: IO[str]) -> OSError | None:
    """Take the lock; why the file system of the folder has none, as with Lustre and NFS under some mount options."""
    try:
        if not database.shared:
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # sqlite takes locks of this kind
            fcntl.lockf(lock, fcntl.LOCK_UN)
        fcntl.flock(lock, (fcntl.LOCK_SH if database.shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        raise UserError(
            f"{folder}: in use by another search ({lock.read().strip()}); wait for its end, or choose "
            "another search.study; several processes can search one study with search.database postgresql://..."
        ) from None
    except OSError as error:
        return error
    return None


def _go_on_unlocked(folder: StudyFolder, database: Database, refusal: OSError) -> None:
    """The database's own lock is enough for PostgreSQL."""
    if not database.shared:
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


def _remove_unused(folder: StudyFolder, made: list[Path]) -> None:
    if folder.path.exists() and not folder.record.is_file() and not folder.foreign():
        shutil.rmtree(folder.path)
        with suppress(OSError):  # another search may have begun there
            for parent in made:
                parent.rmdir()


def _last_sentence(error: OSError) -> str:
    """What an object store says of an error, without the request that stands before it."""
    return " ".join(str(error).split()).rpartition("Detail: ")[2]
