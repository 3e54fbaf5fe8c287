"""One transaction for all that is written into a study at once: Optuna writes it in many small ones.

Optuna commits each parameter and each attribute by itself, and each commit waits for the disk: those of a trial would
take more time than everything else that the search does for it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import optuna
import sqlalchemy.orm
from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import SQLAlchemyError

from tune.internals.optuna_internals import renew_cache, sessions_of


class Session(sqlalchemy.orm.Session):
    """A session of Optuna's storage that leaves the end of its transaction to `transaction` while there is one."""

    kept_open = False
    rolled_back = False

    def commit(self) -> None:
        """Commit, or inside `transaction` only flush."""
        if self.kept_open:
            self.flush()
        else:
            super().commit()

    def close(self) -> None:
        """Close, or inside `transaction` only forget the objects."""
        if self.kept_open:
            self.expunge_all()
        else:
            super().close()

    def rollback(self) -> None:
        """Roll back, and let `transaction` fail even where Optuna continues after it."""
        self.rolled_back = True
        super().rollback()


def keep_sessions(storage: optuna.storages.RDBStorage) -> optuna.storages.RDBStorage:
    """Let `storage` write through sessions that `transaction` can keep open."""
    storage.scoped_session = sqlalchemy.orm.scoped_session(
        sqlalchemy.orm.sessionmaker(bind=storage.engine, class_=Session)
    )
    return storage


@contextmanager
def transaction(study: optuna.Study) -> Iterator[None]:
    """Commit what this thread writes into `study` at the end, or after an exception nothing of it.

    Raises:
        StorageInternalError: the database failed; nothing is written.
    """
    session = sessions_of(study)()
    session.kept_open = True
    session.rolled_back = False
    try:
        yield
        if session.rolled_back:
            raise StorageInternalError("a part of a transaction failed")
        sqlalchemy.orm.Session.commit(session)
    except BaseException as error:
        sqlalchemy.orm.Session.rollback(session)
        # Optuna's cache may hold what was rolled back: start a new one.
        renew_cache(study)
        if isinstance(error, SQLAlchemyError):
            raise StorageInternalError("a transaction failed") from error
        raise
    finally:
        session.kept_open = False
        session.close()
