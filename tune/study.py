"""A study: its folder, which anyone may read, and its database, the one source of truth about trials.

    <storage>/<study>/   study.json  study.db  pareto.json  trials/<number>/attempt-<k>/  best/trial-<number>/

`study.json` says what is searched. With sqlite (`study.db`) one process at a time may search.
"""

import fcntl
import os
import platform
import shutil
import socket
import subprocess
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from pydantic import ValidationError

import hcvae
from hcvae.config import Section
from hcvae.errors import UserError
from hcvae.storage import Place
from tune.config import SearchConfig
from tune.database import SQLITE, Database
from tune.pareto import DIRECTIONS, OBJECTIVES
from tune.samplers import OUTSIDE_BUDGET, check_choices, make_sampler

MAY_CHANGE = (
    "search.storage",
    "search.database",
    "search.trials",
    "search.max_concurrent",
    "search.cpus_per_worker",
    "search.gpus_per_worker",
    "search.share_gpus",
    "search.trial_seconds",
    "search.search_seconds",
    "search.stall_trials",
    "search.start_from_defaults",
    "search.first_trials",
    "search.warm_start",
    "data.tables",
)
"""What a continued study may change: where things lie (a fingerprint guards the data), budgets, resources, starts."""

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
"""States of trials that have ended."""


LOCK, ABSENT = ".lock", "(absent)"
STARTS, CREATED = "starts", "created"
"""System attributes of a study: how often a search began with it, and the time in the `study.json` of its folder."""


class Change(Section):
    """A change of a study that was allowed when it was continued."""

    time: datetime
    """When."""
    differences: dict[str, tuple[Any, Any]]
    """Before and after, by dotted path; `data (fingerprint)` where the data changed."""


class StudyRecord(Section):
    """What `study.json` holds."""

    format_version: int = 1
    config: SearchConfig
    """The configuration of the latest start."""
    data_fingerprint: str
    """Of the prepared data set, see `hcvae.data.dataset`."""
    versions: dict[str, str]
    """Of the interpreter and the packages that started the study."""
    git_revision: str | None
    """Of the checkout that started the study; null outside a checkout."""
    created: datetime
    """Time of the first start."""
    changes: tuple[Change, ...] = ()
    """What `--allow-change` allowed."""


@dataclass(frozen=True)
class StudyFolder:
    """Where the parts of a study lie, on a disk or in an object store."""

    where: str | Path | Place

    def __str__(self) -> str:
        return str(self.place)

    @cached_property
    def place(self) -> Place:
        """The folder of the study."""
        return Place.of(self.where)

    @property
    def path(self) -> Path:
        """The folder as a path of this machine.

        Raises:
            ValueError: it lies in an object store.
        """
        return self.place.path

    @property
    def record(self) -> Place:
        """The study's JSON record."""
        return self.place / "study.json"

    @property
    def pareto(self) -> Place:
        """The Pareto set as JSON."""
        return self.place / "pareto.json"

    @property
    def best(self) -> Place:
        """Folder of the Pareto set's model bundles."""
        return self.place / "best"

    @property
    def scratch(self) -> Place:
        """Ray's own bookkeeping during a search, a folder a process; never read back."""
        return self.place / ".ray"

    @property
    def artifacts(self) -> Place:
        """Optuna's artifact store: the figures of the finished trials."""
        return self.place / "artifacts"

    @property
    def trials(self) -> Place:
        """Folder of the trials."""
        return self.place / "trials"

    def trial(self, number: int) -> Place:
        """Folder of one trial."""
        return self.trials / str(number)

    def attempt(self, number: int, attempt: int) -> Place:
        """Folder of one attempt at a trial: checkpoints, TensorBoard events and, until it is judged, its bundle."""
        return self.trial(number) / f"attempt-{attempt}"

    def exported(self, number: int) -> Place:
        """Where the bundle of a trial of the Pareto set lies."""
        return self.best / f"trial-{number}"

    def read_record(self) -> StudyRecord:
        """The study's record.

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
        """The Optuna study.

        Raises:
            UserError: there is no study, or its database cannot be had.
        """
        database = Database.of(self.read_record().config.search, self.place)
        database.check()
        try:
            return optuna.load_study(study_name=database.study, storage=database.storage(), sampler=sampler)
        except KeyError:
            raise UserError(f"{self}: its database does not know study {database.study!r}") from None


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
                if not folder.record.is_file() and not _foreign(folder):
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


def check_folder(
    folder: StudyFolder, config: SearchConfig, data_fingerprint: str, *, allow_change: bool = False
) -> None:
    """Check that a study can be begun, or continued, in a locked folder.

    Raises:
        UserError: the folder holds something else; or, without `allow_change`, a study of another configuration or
            other data.
    """
    if folder.record.is_file():
        if not allow_change:
            _refuse_changes(folder, _differences(folder.read_record(), config, data_fingerprint))
    elif foreign := _foreign(folder):
        raise UserError(f"{folder}: holds {foreign!r} but no study; choose another search.study or storage")


def open_study(
    folder: StudyFolder, config: SearchConfig, data_fingerprint: str, *, allow_change: bool = False
) -> optuna.Study:
    """Create the study in a locked folder, or continue the one that is there; changes that are allowed are recorded.

    Raises:
        UserError: as `check_folder`; or folder and database do not belong together.
    """
    database = Database.of(config.search, folder.place)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with database.locked():
        check_folder(folder, config, data_fingerprint, allow_change=allow_change)
        storage = database.storage()
        record = folder.read_record() if folder.record.is_file() else None
        _check_database(folder, config, storage, record)
        record = _continued(record, config, data_fingerprint) if record else _new_record(config, data_fingerprint)
        folder.record.write(record.model_dump_json(indent=2).encode())
        study = optuna.create_study(
            study_name=config.search.study, storage=storage, directions=DIRECTIONS, load_if_exists=True
        )
        starts = study._storage.get_study_system_attrs(study._study_id).get(STARTS, 0)
        for name, value in ((CREATED, record.created.isoformat()), (STARTS, starts + 1)):
            study._storage.set_study_system_attr(study._study_id, name, value)
        with warnings.catch_warnings():
            # Metric names have been experimental, and unchanged, for years.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.sampler = make_sampler(config, starts)
            study.set_metric_names(list(OBJECTIVES))
    return study


def finished_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that count against the budget: not those that were infeasible, or finished in an earlier study."""
    return [trial for trial in study.get_trials(deepcopy=False, states=FINISHED) if counts(trial)]


def counts(trial: FrozenTrial) -> bool:
    """Whether a trial has ended, and counts against the budget."""
    return trial.state in FINISHED and OUTSIDE_BUDGET not in trial.user_attrs


def n_finished(study: optuna.Study) -> int:
    """How many trials count against the budget."""
    return len(finished_trials(study))


def git_revision() -> str | None:
    """The checkout's revision, with `-dirty` where files differ from it; None outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()


def _remove_unused(folder: StudyFolder, made: list[Path]) -> None:
    if folder.path.exists() and not folder.record.is_file() and not _foreign(folder):
        shutil.rmtree(folder.path)
        with suppress(OSError):  # another search may have begun there
            for parent in made:
                parent.rmdir()


def _foreign(folder: StudyFolder) -> str | None:
    return next((name for name in folder.place.names() if not name.startswith((LOCK, SQLITE))), None)


def _last_sentence(error: OSError) -> str:
    """What an object store says of an error, without the request that stands before it."""
    return " ".join(str(error).split()).rpartition("Detail: ")[2]


def _check_database(
    folder: StudyFolder, config: SearchConfig, storage: optuna.storages.RDBStorage, record: StudyRecord | None
) -> None:
    name = config.search.study
    try:
        study = storage.get_study_id_from_name(name)
    except KeyError:
        if record is not None and folder.trials.names():
            raise UserError(
                f"search.database: does not know study {name!r}, whose trials lie in {folder}; name the database "
                "that the study was begun with, or choose another search.study"
            ) from None
        return
    created = record.created.isoformat() if record else None
    if created != storage.get_study_system_attrs(study).get(CREATED, created):
        raise UserError(
            f"search.database: holds a study {name!r} that was begun in another folder than {folder}; choose "
            "another search.study, or the search.storage of that study"
        )
    for trial in storage.get_all_trials(study):
        check_choices(trial, config, str(folder), "choose another search.study")


def _new_record(config: SearchConfig, data_fingerprint: str) -> StudyRecord:
    return StudyRecord(
        config=config,
        data_fingerprint=data_fingerprint,
        versions=_versions(),
        git_revision=git_revision(),
        created=datetime.now(UTC),
    )


def _continued(record: StudyRecord, config: SearchConfig, data_fingerprint: str) -> StudyRecord:
    differences = _differences(record, config, data_fingerprint)
    changes = [*record.changes, *([Change(time=datetime.now(UTC), differences=differences)] if differences else [])]
    update = {"config": config, "data_fingerprint": data_fingerprint, "changes": tuple(changes)}
    return record.model_copy(update=update)


def _differences(record: StudyRecord, config: SearchConfig, data_fingerprint: str) -> dict[str, tuple[Any, Any]]:
    old, new = flatten(record.config.model_dump(mode="json")), flatten(config.model_dump(mode="json"))
    pairs = {path: (old.get(path, ABSENT), new.get(path, ABSENT)) for path in sorted(old.keys() | new.keys())}
    pairs = {path: pair for path, pair in pairs.items() if path not in MAY_CHANGE and pair[0] != pair[1]}
    if record.data_fingerprint != data_fingerprint:
        pairs["data (fingerprint)"] = (record.data_fingerprint[:12], data_fingerprint[:12])
    return pairs


def _refuse_changes(folder: StudyFolder, differences: Mapping[str, tuple[Any, Any]]) -> None:
    if differences:
        lines = [f"  {path}: {old} -> {new}" for path, (old, new) in differences.items()]
        raise UserError(
            f"{folder}: this study was begun with another configuration or other data:\n"
            + "\n".join(lines)
            + "\nrun it with what it was begun with, choose another search.study, or let --allow-change record it"
        )


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Leaves of a nested mapping by dotted path; an empty mapping is a leaf."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            leaves |= flatten(value, f"{prefix}{key}.")
        else:
            leaves[f"{prefix}{key}"] = value
    return leaves


def _versions() -> dict[str, str]:
    packages = {name: version(name) for name in ("torch", "ray", "optuna")}
    return {"python": platform.python_version(), **packages, "hcvae": hcvae.__version__}
