"""Private names of Optuna 5.0: the storage behind a study, and the values of a trial before they are suggested."""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, Trial, TrialState

from tune.internals import replaced, require

require("optuna", "5.0")


def storage_of(study: optuna.Study) -> BaseStorage:
    """Return the storage that holds `study`."""
    return study._storage


def study_key(study: optuna.Study | FrozenStudy) -> int:
    """Return the key of `study` in its database."""
    return study._study_id


def trial_key(trial: Trial | FrozenTrial) -> int:
    """Return the key of `trial` in its database."""
    return trial._trial_id


def is_in_database(study: optuna.Study) -> bool:
    """Return whether the database still holds `study`: Optuna's cache would also return one that was deleted."""
    return study._study_id in {other._study_id for other in study._storage.get_all_studies()}


def recorded(study: optuna.Study, trial: Trial) -> FrozenTrial:
    """Return `trial` as the storage holds it."""
    return study._storage.get_trial(trial._trial_id)


def system_attributes(study: optuna.Study) -> dict[str, Any]:
    """Return the attributes of `study` that users do not see."""
    return study._storage.get_study_system_attrs(study._study_id)


def set_system_attribute(study: optuna.Study, name: str, value: Any) -> None:
    """Record an attribute of `study` that users do not see."""
    study._storage.set_study_system_attr(study._study_id, name, value)


def set_trial_system_attribute(study: optuna.Study, trial: Trial | FrozenTrial, name: str, value: Any) -> None:
    """Record an attribute of `trial` that users do not see."""
    study._storage.set_trial_system_attr(trial._trial_id, name, value)


def start_waiting(study: optuna.Study, trial: FrozenTrial) -> Trial | None:
    """Start an enqueued trial, as `Study.ask` starts the first one; None: another program has started or ended it."""
    with suppress(UpdateFinishedTrialError):
        if study._storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING):
            return Trial(study, trial._trial_id)
    return None


@contextmanager
def hidden_from_sampler(study: optuna.Study, hidden: Callable[[FrozenTrial], bool]) -> Iterator[None]:
    """Let samplers see the trials of `study` without the `hidden` ones: they ask the study for them by this name."""
    see_all = study._get_trials
    content: dict[str, Any] = vars(study)

    def see_others(*args: Any, **kwargs: Any) -> list[FrozenTrial]:
        return [trial for trial in see_all(*args, **kwargs) if not hidden(trial)]

    content["_get_trials"] = see_others
    try:
        yield
    finally:
        del content["_get_trials"]


def renew_cache(study: optuna.Study) -> None:
    """Drop Optuna's cache of the study, and read the study from the database again."""
    storage: Any = study._storage
    study._storage = optuna.storages.get_storage(storage._backend)


def sessions_of(study: optuna.Study) -> Any:
    """Return the factory of the database sessions through which `study` is written."""
    storage: Any = study._storage
    return storage._backend.scoped_session


def enqueued_values(trial: Trial) -> dict[str, Any]:
    """Return the parameters that were set for `trial` before it started."""
    return dict(trial._fixed_params)


def enqueue_values(trial: Trial, values: Mapping[str, Any]) -> None:
    """Set the parameters that `trial` will get instead of suggested ones."""
    trial._fixed_params = dict(values)


class _Unwritten:
    """A study's storage, but without writing parameters."""

    def __init__(self, storage: BaseStorage) -> None:
        self._storage = storage

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def set_trial_param(self, *_: Any) -> None:
        """Write nothing, unlike `optuna.storages.BaseStorage`."""


@contextmanager
def parameters_unwritten(study: optuna.Study, trial: Trial) -> Iterator[None]:
    """Do not write the parameters that are suggested for `trial` inside: Optuna would not write others later."""
    content = copy.deepcopy(trial._cached_frozen_trial)
    with replaced(trial, "storage", _Unwritten(study._storage)), replaced(trial, "_cached_frozen_trial", content):
        yield
