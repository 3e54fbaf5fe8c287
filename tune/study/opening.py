"""A study: begun, or continued where configuration and data allow it. Its database is the truth about its trials."""

import platform
import subprocess
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

import hcvae
from hcvae.errors import UserError
from hcvae.storage import StoragePath
from tune.config import SearchConfig
from tune.internals.optuna_internals import set_system_attribute, system_attributes
from tune.pareto import DIRECTIONS, OBJECTIVES
from tune.study.database import Database
from tune.study.folder import Change, StudyFolder, StudyRecord
from tune.study.leases import COPIED_STUDY_ID, STUDY_ID, outside_budget, study_id
from tune.study.lookup import find_study
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
"""What a continued study may change: where things lie (a fingerprint guards the data), budgets, resources, starts."""

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
"""States of trials that have ended."""


ABSENT = "(absent)"
STARTS = "starts"
"""System attribute of a study: how often a search began with it."""


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
    elif foreign := folder.foreign():
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
        record = folder.read_record() if folder.record.is_file() else None
        storage = database.storage(new=record is None)
        name = _name_in_database(folder, config, database, storage, record)
        record = _continued(record, config, data_fingerprint) if record else _new_record(config, data_fingerprint)
        folder.record.write(record.model_dump_json(indent=2).encode())
        study = optuna.create_study(study_name=name, storage=storage, directions=DIRECTIONS, load_if_exists=True)
        # A copy of the study has lost the number: of its trials there are at least as many.
        starts = system_attributes(study).get(STARTS, len(study.get_trials(deepcopy=False)))
        for attribute, value in ((STUDY_ID, record.identity), (STARTS, starts + 1)):
            set_system_attribute(study, attribute, value)
        study.set_user_attr(COPIED_STUDY_ID, record.identity)
        with warnings.catch_warnings():
            # Metric names have been experimental, and unchanged, for years.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.sampler = make_sampler(config, starts)
            study.set_metric_names(list(OBJECTIVES))
    return study


def finished_trials(study: optuna.Study) -> list[FrozenTrial]:
    """Trials that count against the budget: not those that were infeasible, or made by another program or study."""
    identity = study_id(study)
    return [
        trial for trial in study.get_trials(deepcopy=False, states=FINISHED) if counts_against_budget(trial, identity)
    ]


def counts_against_budget(trial: FrozenTrial, identity: str | None) -> bool:
    """Whether a trial has ended, and counts_against_budget against the budget of the study `identity`."""
    return trial.state in FINISHED and outside_budget(trial, identity) is None


def n_finished(study: optuna.Study) -> int:
    """How many trials count against the budget."""
    return len(finished_trials(study))


def git_revision() -> str | None:
    """The checkout's revision, with `-dirty` where files differ from it; None outside a checkout."""
    root = next((folder for folder in Path(__file__).parents if (folder / ".git").exists()), None)
    if root is None:
        return None
    # Named, as git looks for no checkout in a folder of another user's; not by safe.directory, which older ones ignore.
    git = ["git", f"--git-dir={root / '.git'}", f"--work-tree={root}"]
    command = [*git, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()


def _name_in_database(
    folder: StudyFolder,
    config: SearchConfig,
    database: Database,
    storage: optuna.storages.RDBStorage,
    record: StudyRecord | None,
) -> str:
    """The name of the study in the database, where it is, or is to be created."""
    name: str | None = config.search.study
    if record is not None:
        _refuse_copied_folder(folder, database, record)
        last = record.config.search.study
        name = find_study(storage, last, record.identity, private=not database.shared)
        if name is None and (folder.trials.listdir() or folder.best.listdir()):
            raise UserError(folder.study_is_gone(last))
    try:
        study = storage.get_study_id_from_name(name or config.search.study)
    except KeyError:
        return config.search.study
    attributes = storage.get_study_system_attrs(study)
    if attributes.get(STUDY_ID) not in (None, record.identity if record else None):
        raise UserError(
            f"search.database: holds a study {config.search.study!r} that was begun in another folder than {folder}; "
            "choose another search.study, or the search.storage of that study"
        )
    directions = tuple(direction.name.lower() for direction in storage.get_study_directions(study))
    if directions != DIRECTIONS:
        raise UserError(
            f"search.database: the directions of study {name!r} must be {DIRECTIONS}, for {OBJECTIVES}, but are "
            f"{directions}; another program has created it anew: restore a copy of the database, or choose another "
            "search.study"
        )
    trials = storage.get_all_trials(study, deepcopy=False)
    if [trial.number for trial in trials] != list(range(len(trials))):
        raise UserError(
            f"search.database: rows of trials of study {name!r} were deleted, and Optuna would give a number twice; "
            "copy the trials that are left into a new study of the name with Study.add_trials, or choose another "
            "search.study"
        )
    for trial in trials:
        check_choices(trial, config, str(folder), "choose another search.study")
    return name or config.search.study


def _refuse_copied_folder(folder: StudyFolder, database: Database, record: StudyRecord) -> None:
    """Two folders must not share the trials in one database; a folder that was moved has left nothing behind."""
    settings = record.config.search
    begun = StudyFolder(StoragePath.of(settings.storage) / settings.study)
    if not database.shared or begun.place.is_same(folder.place) or not begun.record.is_file():
        return
    if begun.read_record().identity == record.identity:
        raise UserError(
            f"{folder}: is a copy of {begun}, whose trials lie in the same database; search there, or choose another "
            "search.study"
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
