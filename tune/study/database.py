"""The database of a study: sqlite in its folder for one searching process, PostgreSQL for several at once.

A password stays in this process: it is not in the configuration, in `study.json` or in a storage's URL.
"""

import os
import shlex
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import quote

import optuna
import sqlalchemy
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, ProgrammingError

from hcvae import retrying
from hcvae.errors import UserError
from hcvae.storage import StoragePath
from hcvae.validation import shows_secret
from tune.config import PASSWORD_ADVICE, SearchSettings
from tune.study.sqlite_file import BUSY_TIMEOUT_S, check_file, sqlite_uri
from tune.study.transaction import keep_sessions

SQLITE = "study.db"
_THREADS = threading.Lock()

T = TypeVar("T")


@dataclass(frozen=True)
class Database:
    """The database of one study."""

    url: str
    """For SQLAlchemy; without a password."""
    study: str
    """Name of the study in it."""
    password: str | None = field(default=None, repr=False)
    file: StoragePath | None = None
    """The file of sqlite; None: PostgreSQL."""

    @classmethod
    def of(cls, settings: SearchSettings, folder: Path | StoragePath) -> Self:
        """Return the database that `search.database` names, of the study in `folder`.

        Raises:
            UserError: the place that it names holds no URL of a PostgreSQL database.
        """
        if settings.database is None:
            file = StoragePath.of(folder / SQLITE)
            # Quoted, as Optuna formats the URL and SQLAlchemy splits it.
            return cls(f"sqlite:///{quote(str(file))}", settings.study, file=file)
        try:
            url = sqlalchemy.make_url(_read(settings.database))
        except ArgumentError:
            raise UserError(f"search.database: {_source(settings.database)} holds no URL; {PASSWORD_ADVICE}") from None
        if url.get_backend_name() != "postgresql" or "password" in url.query:
            raise UserError(
                f"search.database: {_source(settings.database)} must hold postgresql://USER:PASSWORD@HOST/DATABASE"
            )
        password = str(url.password) if url.password is not None else None
        plain = url.set(drivername="postgresql+psycopg")._replace(password=None)
        return cls(plain.render_as_string(), settings.study, password)

    @property
    def shared(self) -> bool:
        """Whether several processes may search in it at once."""
        return self.file is None

    def check(self, *, has_study: bool = True, write: bool = False) -> None:
        """Connect once; check that sqlite's file can be used, and that it exists and is intact if it `has_study`.

        Raises:
            UserError: the server does not answer, or refuses; or sqlite's file cannot be used.
        """
        if self.file is not None:
            if not self.file.is_local:
                raise UserError(
                    f"search.database: null means sqlite, which needs a disk, but the study lies in {self.file.root}; "
                    "name a PostgreSQL database, or a folder of this machine"
                )
            check_file(self.file.path, has_study=has_study, write=write)
            return
        try:
            with self._engine.connect():
                pass
        except DBAPIError as error:
            reason = " ".join(str(error.orig).split())
            raise UserError(f"search.database: cannot connect: {reason}; {PASSWORD_ADVICE}") from None

    def storage(self, *, new: bool = False) -> optuna.storages.RDBStorage:
        """Return Optuna's storage in it; its file and tables are created for a `new` study only.

        Raises:
            UserError: it has no tables of this version of Optuna.
        """
        url = self.url
        options = self._connection
        if self.file is not None:
            mode = "rwc" if new else "rw"
            url = f"sqlite:///{quote(sqlite_uri(self.file.path, mode), safe='/:?=')}&uri=true"
            options = {"timeout": BUSY_TIMEOUT_S}
        engine = {"connect_args": options, "pool_pre_ping": self.shared}
        try:
            return keep_sessions(optuna.storages.RDBStorage(url, engine, skip_table_creation=not new))
        except RuntimeError as error:
            advice = str(error).replace("`$ ", "`").replace("$STORAGE_URL", shlex.quote(self.url))
            raise UserError(
                f"{self._place}: made by another version of Optuna; keep a copy of the file: {advice}"
            ) from None
        except StorageInternalError as error:
            if not isinstance(error.__cause__, ProgrammingError):
                raise
            raise UserError(f"{self._place}: holds no study of Optuna; name the database of the study") from None

    @property
    def _place(self) -> str:
        return "search.database" if self.file is None else str(self.file)

    @contextmanager
    def locked(self) -> Iterator[float]:
        """Lock the owners of the study's trials against changes by other threads and processes. Do not nest.

        Yields the time in seconds by the clock that all of them share. With sqlite it locks out threads alone: the lock
        of the study's folder excludes other processes.
        """
        if not self.shared:
            with _THREADS:
                yield time.time()
            return
        with self._engine.begin() as connection:
            name = {"name": f"hcvae study {self.study}"}
            connection.execute(sqlalchemy.text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), name)
            yield float(connection.scalar(sqlalchemy.text("SELECT extract(epoch FROM clock_timestamp())")))

    @cached_property
    def _engine(self) -> sqlalchemy.Engine:
        # A new connection for each lock: none goes stale when the server restarts.
        return sqlalchemy.create_engine(self.url, poolclass=sqlalchemy.NullPool, connect_args=self._connection)

    @property
    def _connection(self) -> dict[str, Any]:
        options: dict[str, Any] = {"connect_timeout": 10}
        if self.password is not None:
            options["password"] = self.password
        return options


def retry(action: Callable[[], T]) -> T:
    """Call `action` again while the database or the study's folder refuses it: during a restart, on a full disk.

    An action may be repeated after it succeeded, where the answer was lost.

    Raises:
        StorageError: it is still refused after `hcvae.retrying.RETRY_FOR_S` seconds.
    """
    faults = (StorageInternalError, OperationalError, *retrying.DISK_FAULTS)
    return retrying.retry(action, "the study cannot be written", faults)


def _read(place: str) -> str:
    """Return the URL that `search.database` names."""
    kind, _, name = place.partition(":")
    try:
        if kind == "env":
            return os.environ[name]
        if kind == "file":
            return Path(name).read_text().strip()
        return place
    except (KeyError, OSError, UnicodeDecodeError):
        raise UserError(f"search.database: {_source(place)} cannot be read; {PASSWORD_ADVICE}") from None


def _source(place: str) -> str:
    return "the URL" if shows_secret(place) or "://" in place else repr(place)
