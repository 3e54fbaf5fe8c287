"""Creating a study, or continuing it where configuration and data allow that."""

import platform
import subprocess
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

import hcvae
from hcvae.errors import UserError
from hcvae.storage import StoragePath
from tune.config import SearchConfig
from tune.internals.optuna_internals import set_system_attribute, system_attributes
from tune.objectives import Objectives, directions_of, names_of
from tune.study.folder import Change, StudyFolder, StudyRecord
from tune.study.leases import COPIED_STUDY_ID, STUDY_ID, outside_budget, study_id
from tune.study.lock import LockedFolder
from tune.study.lookup import find_study
from tune.study.repetition import repetition_of
from tune.study.samplers import check_choices, make_sampler

MAY_CHANGE = (
    "search.study",
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
"""Fields that may change in a continued study: places (a fingerprint guards the data), budgets, resources, starts."""
CONFIRM = "search.confirm"
"""Section that may change, too: `tune.study.repetition.check_continued` checks what must not."""

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
"""States of trials that have ended."""


ABSENT = "(absent)"
STARTS = "starts"
"""System attribute of a study: how often a search has started with it."""


def check_folder(
    folder: StudyFolder, config: SearchConfig, data_fingerprint: str, *, allow_change: bool = False
) -> None:
    """Check that a study can be created, or continued, in a locked folder.

    Raises:
        UserError: the folder holds something else, or a study of other objectives; or, without `allow_change`, a study
            of another configuration or other data.
    """
    record = _existing_record(folder)
    if record is not None:
        differences = _differences(record, config, data_fingerprint)
        if "search.objectives" in differences:
            _refuse_objectives(folder, *differences["search.objectives"])
        if not allow_change:
            _refuse_changes(folder, differences)
        return
    foreign = folder.foreign()
    if foreign:
        raise UserError(f"{folder}: holds {foreign!r} but no study; choose another search.study or storage")


def open_study(
    folder: LockedFolder, config: SearchConfig, data_fingerprint: str, *, allow_change: bool = False
) -> optuna.Study:
    """Create the study in a locked folder, or continue the one that is there; changes that are allowed are recorded.

    Raises:
        UserError: as `check_folder`; or folder and database do not belong together.
    """
    database = folder.database
    with quiet_optuna(), database.locked():
        check_folder(folder, config, data_fingerprint, allow_change=allow_change)
        record = _existing_record(folder)
        storage = database.storage(new=record is None)
        name = _name_in_database(folder, config, storage, record)
        if record is None:
            record = _new_record(config, data_fingerprint)
        else:
            record = _continued(record, config, data_fingerprint)
        folder.record.write(record.model_dump_json(indent=2).encode())
        objectives = config.search.compared_by
        study = optuna.create_study(
            study_name=name, storage=storage, directions=directions_of(objectives), load_if_exists=True
        )
        # A copy of the study has lost this number, which is at most that of its trials.
        starts = system_attributes(study).get(STARTS, len(study.get_trials(deepcopy=False)))
        for attribute, value in ((STUDY_ID, record.identity), (STARTS, starts + 1)):
            set_system_attribute(study, attribute, value)
        study.set_user_attr(COPIED_STUDY_ID, record.identity)
        with warnings.catch_warnings():
            # Metric names have been experimental, and unchanged, for years.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.sampler = make_sampler(config, starts)
            study.set_metric_names(list(names_of(objectives)))
    return study


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Let Optuna log errors alone, and restore its verbosity at the end."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)


def recorded_directions(directions: Iterable[StudyDirection]) -> list[str]:
    """Return the `directions` of a study of Optuna in the words of a configuration."""
    return [direction.name.lower() for direction in directions]


def finished_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Return the ended trials that count against the budget, in the order of their numbers."""
    identity = study_id(study)
    return [trial for trial in ended_trials(study) if repetition_of(trial, identity) is None]


def ended_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Return the ended trials of this search, repetitions included, in the order of their numbers."""
    identity = study_id(study)
    return [trial for trial in study.get_trials(deepcopy=False, states=FINISHED) if has_ended(trial, identity)]


def has_ended(trial: FrozenTrial, identity: str | None) -> bool:
    """Return whether a trial of the search in the study `identity`, or a repetition, has ended.

    Trials that were infeasible, or made by another program or study, are none of the search. A repetition that another
    program has ended is one all the same: its round must not wait for it.
    """
    if trial.state not in FINISHED:
        return False
    return outside_budget(trial, identity) is None or repetition_of(trial, identity) is not None


def n_finished(study: optuna.Study) -> int:
    """Return how many ended trials count against the budget."""
    return len(finished_trials(study))


def ended_at(trial: FrozenTrial) -> datetime:
    """Return when a trial ended, to sort trials by it; those without a time are the last."""
    return trial.datetime_complete or datetime.max


def git_revision() -> str | None:
    """Return the checkout's revision, with `-dirty` where files differ from it; None outside a checkout."""
    root = _checkout()
    if root is None:
        return None
    # Git searches no folder of another user for a checkout, unless it is named; older ones ignore safe.directory.
    git = ["git", f"--git-dir={root / '.git'}", f"--work-tree={root}"]
    command = [*git, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()


def _checkout() -> Path | None:
    for folder in Path(__file__).parents:
        if (folder / ".git").exists():
            return folder
    return None


def _name_in_database(
    folder: LockedFolder, config: SearchConfig, storage: optuna.storages.RDBStorage, record: StudyRecord | None
) -> str:
    """Return the name of the study in the database, where it is, or is to be created."""
    name = config.search.study
    if record is not None:
        _refuse_copied_folder(folder, record)
        name = _recorded_name(folder, storage, record) or name
    try:
        study = storage.get_study_id_from_name(name)
    except KeyError:
        return config.search.study
    owner = storage.get_study_system_attrs(study).get(STUDY_ID)
    if owner is not None and (record is None or record.identity != owner):
        raise UserError(
            f"search.database: holds a study {config.search.study!r} that was created in another folder than {folder}; "
            "choose another search.study, or the search.storage of that study"
        )
    _check_directions(storage, study, name, config.search.compared_by)
    _check_trials(storage, study, name, folder, config)
    return name


def _recorded_name(folder: LockedFolder, storage: optuna.storages.RDBStorage, record: StudyRecord) -> str | None:
    """Return the name under which the database holds the study of `record`; None where it holds no trial yet."""
    last = record.config.search.study
    name = find_study(storage, last, record.identity, private=not folder.database.shared)
    if name is None and (folder.trials.listdir() or folder.best.listdir()):
        raise UserError(folder.study_is_gone(last))
    return name


def _check_directions(storage: optuna.storages.RDBStorage, study: int, name: str, objectives: Objectives) -> None:
    directions = recorded_directions(storage.get_study_directions(study))
    expected = directions_of(objectives)
    if directions != expected:
        raise UserError(
            f"search.database: the directions of study {name!r} must be {', '.join(expected)}, for "
            f"{', '.join(names_of(objectives))}, but are {', '.join(directions)}; another program has created it "
            "again: restore a copy of the database, or choose another search.study"
        )


def _check_trials(
    storage: optuna.storages.RDBStorage, study: int, name: str, folder: LockedFolder, config: SearchConfig
) -> None:
    trials = storage.get_all_trials(study, deepcopy=False)
    if [trial.number for trial in trials] != list(range(len(trials))):
        raise UserError(
            f"search.database: rows of trials of study {name!r} were deleted, and Optuna would give a number twice; "
            "copy the trials that are left into a new study of that name with Study.add_trials, or choose another "
            "search.study"
        )
    for trial in trials:
        check_choices(trial, config, str(folder), "choose another search.study")


def _existing_record(folder: StudyFolder) -> StudyRecord | None:
    if not folder.record.is_file():
        return None
    return folder.read_record()


def _refuse_copied_folder(folder: LockedFolder, record: StudyRecord) -> None:
    """Refuse a second folder for the same trials in the database; after a folder was moved, the first one is gone."""
    settings = record.config.search
    original = StudyFolder(StoragePath.of(settings.storage) / settings.study)
    if not folder.database.shared or original.place.is_same(folder.place) or not original.record.is_file():
        return
    if original.read_record().identity == record.identity:
        raise UserError(
            f"{folder}: is a copy of {original}, whose trials lie in the same database; search there, or choose "
            "another search.study"
        )


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
    changes = record.changes
    if differences:
        changes = (*changes, Change(time=datetime.now(UTC), differences=differences))
    return record.model_copy(update={"config": config, "data_fingerprint": data_fingerprint, "changes": changes})


def _differences(record: StudyRecord, config: SearchConfig, data_fingerprint: str) -> dict[str, tuple[Any, Any]]:
    old = _fields(record.config)
    new = _fields(config)
    differences = {}
    for path in sorted((old.keys() | new.keys()) - set(MAY_CHANGE)):
        if path == CONFIRM or path.startswith(f"{CONFIRM}."):
            continue
        values = (old.get(path, ABSENT), new.get(path, ABSENT))
        if values[0] != values[1]:
            differences[path] = values
    if record.data_fingerprint != data_fingerprint:
        differences["data (fingerprint)"] = (record.data_fingerprint[:12], data_fingerprint[:12])
    return differences


def _fields(config: SearchConfig) -> dict[str, Any]:
    """Return the values of a configuration by dotted path, with its objectives also where it names none."""
    return flatten(config.with_settings(objectives=config.search.compared_by).model_dump(mode="json"))


def _refuse_objectives(folder: StudyFolder, before: Any, now: Any) -> None:
    raise UserError(
        f"{folder}: search.objectives: this study compares its trials by {before}, and values of other objectives, "
        f"{now}, cannot be compared with them; leave search.objectives out, or choose another search.study"
    )


def _refuse_changes(folder: StudyFolder, differences: Mapping[str, tuple[Any, Any]]) -> None:
    if differences:
        lines = [f"  {path}: {old} -> {new}" for path, (old, new) in differences.items()]
        raise UserError(
            f"{folder}: this study was created with another configuration or other data:\n"
            + "\n".join(lines)
            + "\nuse those again, choose another search.study, or record the change with --allow-change"
        )


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the leaves of a nested mapping by dotted path; an empty mapping is a leaf."""
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
