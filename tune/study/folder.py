"""The folder of a study, which anyone may read, and the record of the search in it.

<storage>/<study>/   study.json  study.db  pareto.json  trials/<number>/attempt-<k>/  best/trial-<number>/
                     artifacts/  tensorboard/<study>-trial-<number>-attempt-<k>/
"""

from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import optuna
from pydantic import ValidationError

from hcvae.config import Section
from hcvae.errors import UserError
from hcvae.storage import StoragePath
from tune.config import SearchConfig
from tune.study.database import SQLITE, Database
from tune.study.lookup import find_study

TENSORBOARD = "tensorboard"
FIGURES = "figures"
"""Folder of the figures of an attempt."""
LOCK = ".lock"
"""File that the searching processes lock."""


class Change(Section):
    """A change to a study that was allowed when it was continued."""

    time: datetime
    """When."""
    differences: dict[str, tuple[Any, Any]]
    """Values before and after, by dotted path; `data (fingerprint)` where the data changed."""


class StudyRecord(Section):
    """What `study.json` holds."""

    format_version: int = 1
    config: SearchConfig
    """The configuration of the latest start."""
    data_fingerprint: str
    """Fingerprint of the prepared data set, see `hcvae.data.dataset`."""
    versions: dict[str, str]
    """Versions of the interpreter and of the packages that started the study."""
    git_revision: str | None
    """Revision of the checkout that started the study; null outside a checkout."""
    created: datetime
    """Time of the first start."""
    changes: tuple[Change, ...] = ()
    """The changes that `--allow-change` allowed."""

    @property
    def identity(self) -> str:
        """Identifier of the study, in its database and in this record; it does not depend on the study's name."""
        return self.created.isoformat()


@dataclass(frozen=True)
class StudyFolder:
    """The paths of the parts of a study, on a disk or in an object store."""

    where: str | Path | StoragePath

    def __str__(self) -> str:
        return str(self.place)

    @cached_property
    def place(self) -> StoragePath:
        """The folder of the study."""
        return StoragePath.of(self.where)

    @property
    def path(self) -> Path:
        """The folder as a path of this machine.

        Raises:
            ValueError: it lies in an object store.
        """
        return self.place.path

    @property
    def record(self) -> StoragePath:
        """The study's JSON record."""
        return self.place / "study.json"

    @property
    def pareto(self) -> StoragePath:
        """The Pareto front as JSON."""
        return self.place / "pareto.json"

    @property
    def best(self) -> StoragePath:
        """Folder of the Pareto front's model bundles."""
        return self.place / "best"

    @property
    def scratch(self) -> StoragePath:
        """Ray's own files during a search, in a folder for each process; never read back."""
        return self.place / ".ray"

    @property
    def artifacts(self) -> StoragePath:
        """Optuna's artifact store: the figures of the finished trials."""
        return self.place / "artifacts"

    @property
    def trials(self) -> StoragePath:
        """Folder of the trials."""
        return self.place / "trials"

    def trial(self, number: int) -> StoragePath:
        """Return the folder of one trial."""
        return self.trials / str(number)

    def attempt(self, number: int, attempt: int) -> StoragePath:
        """Return the folder of one attempt at a trial: checkpoints, figures and, until the trial ends, its bundle."""
        return self.trial(number) / f"attempt-{attempt}"

    def figures(self, number: int, attempt: int) -> StoragePath:
        """Return the folder of the figures of one attempt at a trial."""
        return self.attempt(number, attempt) / FIGURES

    @property
    def tensorboard(self) -> StoragePath:
        """Folder of the TensorBoard events; earlier versions left them in the folders of the attempts."""
        return self.place / TENSORBOARD

    def events(self, number: int, attempt: int) -> StoragePath:
        """Return the folder of the TensorBoard events of one attempt at a trial; TensorBoard shows its name."""
        return self.tensorboard / f"{self.place.name}-trial-{number:04}-attempt-{attempt}"

    def exported(self, number: int) -> StoragePath:
        """Return the folder of the bundle of a trial of the Pareto front."""
        return self.best / f"trial-{number}"

    def attempts(self, number: int) -> list[int]:
        """Return the numbers of the attempts that have a folder, rising; an earlier trial of this number may have made
        some."""
        names = [name.removeprefix("attempt-") for name in self.trial(number).listdir()]
        return sorted(int(name) for name in names if name.isdecimal())

    def read_record(self) -> StudyRecord:
        """Return the study's record.

        Raises:
            UserError: the folder holds no study, or an unreadable one.
        """
        if not self.record.is_file():
            raise UserError(f"{self}: no study here; name a folder that holds a study.json")
        try:
            return StudyRecord.model_validate_json(self.record.read_text())
        except ValidationError as error:
            raise UserError(f"{self.record}: not a study record of this version: {error}") from None

    def load(self, sampler: optuna.samplers.BaseSampler | None = None) -> optuna.Study:
        """Return the Optuna study.

        Raises:
            UserError: there is no study, or its database cannot be used, or no longer holds it.
        """
        record = self.read_record()
        database = Database.of(record.config.search, self.place)
        database.check()
        storage = database.storage()
        name = find_study(storage, database.study, record.identity, private=not database.shared)
        if name is None:
            raise UserError(self.study_is_gone(database.study))
        return optuna.load_study(study_name=name, storage=storage, sampler=sampler)

    def study_is_gone(self, name: str) -> str:
        """Return the message for a database that no longer holds the study of this folder."""
        return (
            f"search.database: does not hold the study {name!r} of {self}: another program has deleted it, or it lies "
            "in another database; restore a copy of the database, name the right one with search.database, or choose "
            f"another search.study; its models are still under {self.best}"
        )

    def foreign(self) -> str | None:
        """Return the name of something in the folder that is neither a lock nor a database; None: there is nothing."""
        for name in self.place.listdir():
            if not name.startswith((LOCK, SQLITE)):
                return name
        return None
