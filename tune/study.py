"""A study on disk: one folder that one process at a time may search in, and that anyone may read.

    <storage>/<study>/   study.json  study.db  pareto.json  trials/<number>/  best/trial-<number>/

`study.db` is Optuna's sqlite database and the one source of truth about trials; `study.json` says what is searched.
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
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState
from pydantic import ValidationError

import hcvae
from hcvae.config import Section
from hcvae.errors import UserError
from tune.config import SearchConfig
from tune.pareto import DIRECTIONS, OBJECTIVES
from tune.samplers import OUTSIDE_BUDGET, make_sampler

MAY_CHANGE = (
    "search.storage",
    "search.trials",
    "search.max_concurrent",
    "search.cpus_per_worker",
    "search.gpus_per_worker",
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


@dataclass(frozen=True)
class StudyFolder:
    """Where the parts of a study lie."""

    path: Path

    @property
    def record(self) -> Path:
        """The study's JSON record."""
        return self.path / "study.json"

    @property
    def database(self) -> Path:
        """Optuna's sqlite database."""
        return self.path / "study.db"

    @property
    def pareto(self) -> Path:
        """The Pareto set as JSON."""
        return self.path / "pareto.json"

    @property
    def best(self) -> Path:
        """Folder of the Pareto set's model bundles."""
        return self.path / "best"

    @property
    def scratch(self) -> Path:
        """Ray's own bookkeeping during a search; never read back."""
        return self.path / ".ray"

    @property
    def artifacts(self) -> Path:
        """Optuna's artifact store: the figures of the finished trials."""
        return self.path / "artifacts"

    def trial(self, number: int) -> Path:
        """Folder of one trial: checkpoints, TensorBoard events and, until it is judged, its bundle."""
        return self.path / "trials" / str(number)

    def exported(self, number: int) -> Path:
        """Where the bundle of a trial of the Pareto set lies."""
        return self.best / f"trial-{number}"

    @property
    def url(self) -> str:
        """Optuna's storage URL of the database."""
        return f"sqlite:///{quote(str(self.database))}"

    def read_record(self) -> StudyRecord:
        """The study's record.

        Raises:
            UserError: the folder holds no study, or an unreadable one.
        """
        if not self.record.is_file():
            raise UserError(f"{self.path}: no study here; name a folder that holds a study.json")
        try:
            return StudyRecord.model_validate_json(self.record.read_text())
        except ValidationError as error:
            raise UserError(f"{self.record}: not a study record of this version: {error}") from None

    def load(self, sampler: optuna.samplers.BaseSampler | None = None) -> optuna.Study:
        """The Optuna study."""
        name = self.read_record().config.search.study
        return optuna.load_study(study_name=name, storage=_storage(self), sampler=sampler)


@contextmanager
def locked_folder(config: SearchConfig) -> Iterator[StudyFolder]:
    """Make the study's folder and hold its lock; where no study is begun, the folders made are removed again.

    Raises:
        UserError: the folder cannot be written, holds something else, or is in use by another search.
    """
    folder = StudyFolder(Path(config.search.storage).absolute() / config.search.study)
    made = [parent for parent in folder.path.parents if not parent.exists()]
    try:
        folder.path.mkdir(parents=True, exist_ok=True)
        lock = (folder.path / ".lock").open("a+")
    except OSError as error:
        raise UserError(
            f"search.storage: cannot write to {folder.path}: {error.strerror}; name a folder that you may write to"
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise UserError(
                f"{folder.path}: in use by another search ({lock.read().strip()}); wait for its end, or choose "
                "another search.study"
            ) from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        lock.flush()
        try:
            yield folder
        finally:
            if not folder.record.exists() and not _foreign(folder):
                shutil.rmtree(folder.path)
                with suppress(OSError):  # another search may have begun there
                    for parent in made:
                        parent.rmdir()


def check_folder(folder: StudyFolder, config: SearchConfig, data_fingerprint: str) -> None:
    """Check that a study can be begun, or continued, in a locked folder.

    Raises:
        UserError: the folder holds something else, or a study of another configuration or other data.
    """
    if folder.record.exists():
        _refuse_changes(folder, folder.read_record(), config, data_fingerprint)
    elif foreign := _foreign(folder):
        raise UserError(f"{folder.path}: holds {foreign!r} but no study; choose another search.study or storage")


def open_study(folder: StudyFolder, config: SearchConfig, data_fingerprint: str) -> optuna.Study:
    """Create the study in a locked folder, or continue the one that is there.

    Raises:
        UserError: as `check_folder`.
    """
    check_folder(folder, config, data_fingerprint)
    if folder.record.exists():
        folder_record = folder.read_record().model_copy(update={"config": config})
    else:
        folder_record = StudyRecord(
            config=config,
            data_fingerprint=data_fingerprint,
            versions=_versions(),
            git_revision=git_revision(),
            created=datetime.now(UTC),
        )
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        study_name=config.search.study,
        storage=_storage(folder),
        directions=DIRECTIONS,
        load_if_exists=True,
    )
    with warnings.catch_warnings():
        # Metric names have been experimental, and unchanged, for years.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.sampler = make_sampler(config, len(study.get_trials(deepcopy=False)))
        study.set_metric_names(list(OBJECTIVES))
    write_text(folder.record, folder_record.model_dump_json(indent=2))
    return study


def interrupted(study: optuna.Study) -> list[Trial]:
    """Trials that an earlier process left RUNNING, to be continued under their own numbers. Needs the folder's lock."""
    running: list[FrozenTrial] = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    return [Trial(study, trial._trial_id) for trial in running]


def finished_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that count against the budget: not those that were infeasible, or finished in an earlier study."""
    ended: list[FrozenTrial] = study.get_trials(deepcopy=False, states=FINISHED)
    return [trial for trial in ended if OUTSIDE_BUDGET not in trial.user_attrs]


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


def write_text(path: Path, text: str) -> None:
    """Write under a temporary name, then rename: a reader sees the old file or the new one."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text)
    os.replace(temporary, path)


def _storage(folder: StudyFolder) -> optuna.storages.RDBStorage:
    # A dashboard may hold the database for a moment: wait for it rather than fail.
    return optuna.storages.RDBStorage(folder.url, engine_kwargs={"connect_args": {"timeout": 60}})


def _foreign(folder: StudyFolder) -> str | None:
    own = (".lock", folder.database.name)
    return next((entry.name for entry in folder.path.iterdir() if not entry.name.startswith(own)), None)


def _refuse_changes(folder: StudyFolder, record: StudyRecord, config: SearchConfig, data_fingerprint: str) -> None:
    old, new = flatten(record.config.model_dump(mode="json")), flatten(config.model_dump(mode="json"))
    differences = [
        f"  {path}: {old.get(path, '(absent)')} -> {new.get(path, '(absent)')}"
        for path in sorted(old.keys() | new.keys())
        if path not in MAY_CHANGE and old.get(path, "(absent)") != new.get(path, "(absent)")
    ]
    if record.data_fingerprint != data_fingerprint:
        differences.append(f"  data (fingerprint): {record.data_fingerprint[:12]} -> {data_fingerprint[:12]}")
    if differences:
        raise UserError(
            f"{folder.path}: this study was begun with another configuration or other data:\n"
            + "\n".join(differences)
            + "\nrun the study with what it was begun with, or choose another search.study"
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
