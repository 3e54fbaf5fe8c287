"""Who may search in the folder of a study: with sqlite one process at a time, with PostgreSQL as many as will."""

import fcntl
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hcvae.errors import UserError
from hcvae.storage import Place
from tune.config import SearchConfig
from tune.database import Database
from tune.study_folder import LOCK, StudyFolder


@contextmanager
def locked_folder(config: SearchConfig) -> Iterator[StudyFolder]:
    """Make the study's folder; with sqlite hold its lock. Where no study is begun, the folders made are removed again.

    Raises:
        UserError: the folder cannot be written, is in use by another search with sqlite, or lies in an object store
            while sqlite needs a disk.
    """
    folder = StudyFolder(Place.of(config.search.storage) / config.search.study)
    database = Database.of(config.search, folder.place)
    database.check()
    with _locked(folder, database) if folder.place.is_local else _writable(folder, database):
        yield folder


@contextmanager
def _writable(folder: StudyFolder, database: Database) -> Iterator[None]:
    """An object store has no locks: the database's are enough, as every process searches in it."""
    if not database.shared:
        raise UserError(
            f"search.database: null means sqlite, which needs a disk, but search.storage is {folder.place.root}; name "
            "a PostgreSQL database, or a folder of this machine"
        )
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
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        lock = (folder.path / LOCK).open("a+")
    except OSError as error:
        raise _cannot_write(folder, error) from None
    with lock:
        try:
            kind = fcntl.LOCK_SH if database.shared else fcntl.LOCK_EX
            fcntl.flock(lock, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise UserError(
                f"{folder}: in use by another search ({lock.read().strip()}); wait for its end, or choose "
                "another search.study; several processes can search one study with search.database postgresql://..."
            ) from None
        try:
            lock.truncate(0)
            os.write(lock.fileno(), f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        except OSError as error:
            raise _cannot_write(folder, error) from None
        try:
            yield
        finally:
            if not folder.record.is_file():
                with database.locked():
                    _remove_unused(folder, made)


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
