"""Private names of Optuna 5.0: the storage behind a study, and values that a trial is going to have."""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, Trial

from tune.internals import require

require("optuna", "5.0")


def storage_of(study: optuna.Study) -> BaseStorage:
    """The storage that holds `study`."""
    return study._storage


def study_key(study: optuna.Study | FrozenStudy) -> int:
    """The key of `study` in its database."""
    return study._study_id


def trial_key(trial: Trial | FrozenTrial) -> int:
    """The key of `trial` in its database."""
    return trial._trial_id


def is_in_database(study: optuna.Study) -> bool:
    """Whether the database still holds `study`; Optuna's cache answers for a study that is gone."""
    return study._study_id in {other._study_id for other in study._storage.get_all_studies()}


def recorded(study: optuna.Study, trial: Trial) -> FrozenTrial:
    """What the storage holds of `trial`."""
    return study._storage.get_trial(trial._trial_id)


def system_attributes(study: optuna.Study) -> dict[str, Any]:
    """The attributes of `study` that users do not see."""
    return study._storage.get_study_system_attrs(study._study_id)


def set_system_attribute(study: optuna.Study, name: str, value: Any) -> None:
    """Record an attribute of `study` that users do not see."""
    study._storage.set_study_system_attr(study._study_id, name, value)


def set_trial_system_attribute(study: optuna.Study, trial: Trial | FrozenTrial, name: str, value: Any) -> None:
    """Record an attribute of `trial` that users do not see."""
    study._storage.set_trial_system_attr(trial._trial_id, name, value)


def renew_cache(study: optuna.Study) -> None:
    """Forget what Optuna remembers of the study, and read it from the database from now on."""
    storage: Any = study._storage
    study._storage = optuna.storages.get_storage(storage._backend)


def sessions_of(study: optuna.Study) -> Any:
    """The maker of the database sessions that `study` is written through."""
    storage: Any = study._storage
    return storage._backend.scoped_session


def enqueued_values(trial: Trial) -> dict[str, Any]:
    """The parameters that were set for `trial` before it began."""
    return dict(trial._fixed_params)


def enqueue_values(trial: Trial, values: Mapping[str, Any]) -> None:
    """Set the parameters that `trial` is going to be given."""
    trial._fixed_params = dict(values)


class _Unwritten:
    """A study's storage that takes no parameters."""

    def __init__(self, storage: BaseStorage) -> None:
        self._storage = storage

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def set_trial_param(self, *_: Any) -> None:
        """As `optuna.storages.BaseStorage`; nothing is written."""


@contextmanager
def parameters_unwritten(study: optuna.Study, trial: Trial) -> Iterator[None]:
    """Let what is suggested for `trial` inside stay unwritten: Optuna writes no parameter twice."""
    stand_in: Any = _Unwritten(study._storage)
    content = trial._cached_frozen_trial
    trial.storage, trial._cached_frozen_trial = stand_in, copy.deepcopy(content)
    try:
        yield
    finally:
        trial.storage, trial._cached_frozen_trial = study._storage, content
