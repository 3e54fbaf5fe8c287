"""What Optuna writes into a study in many small transactions, written in one: all of it, or nothing.

Optuna commits each parameter and each attribute by itself, and each commit waits for the disk: those of a trial would
cost more time than all else that the search does for it.
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
        """As `sqlalchemy.orm.Session`, outside `transaction`."""
        if self.kept_open:
            self.flush()
        else:
            super().commit()

    def close(self) -> None:
        """As `sqlalchemy.orm.Session`, outside `transaction`."""
        if self.kept_open:
            self.expunge_all()
        else:
            super().close()

    def rollback(self) -> None:
        """As `sqlalchemy.orm.Session`; Optuna may go on after it, `transaction` does not."""
        self.rolled_back = True
        super().rollback()


def keep_sessions(storage: optuna.storages.RDBStorage) -> optuna.storages.RDBStorage:
    """Let `storage` write through sessions that `transaction` knows."""
    storage.scoped_session = sqlalchemy.orm.scoped_session(
        sqlalchemy.orm.sessionmaker(bind=storage.engine, class_=Session)
    )
    return storage


@contextmanager
def transaction(study: optuna.Study) -> Iterator[None]:
    """Let what this thread writes into `study` be there at the end, or, after an exception, not at all.

    Raises:
        StorageInternalError: the database failed; nothing is written.
    """
    session = sessions_of(study)()
    session.kept_open, session.rolled_back = True, False
    try:
        yield
        if session.rolled_back:
            raise StorageInternalError("a part of a transaction failed")
        sqlalchemy.orm.Session.commit(session)
    except BaseException as error:
        sqlalchemy.orm.Session.rollback(session)
        # Optuna's cache may hold what has never been: begin a new one.
        renew_cache(study)
        if isinstance(error, SQLAlchemyError):
            raise StorageInternalError("a transaction failed") from error
        raise
    finally:
        session.kept_open = False
        session.close()
