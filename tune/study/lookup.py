"""The Optuna study of a study's folder, under whatever name its database holds it now.

optuna-dashboard renames a study by copying it, and people rename folders: neither changes the study's identifier.
"""

from collections.abc import Iterator

from optuna.storages import RDBStorage

from hcvae.errors import UserError
from tune.internals.optuna_internals import study_key
from tune.study.leases import COPIED_STUDY_ID, STUDY_ID, lease_of


def find_study(storage: RDBStorage, name: str, identity: str, *, private: bool) -> str | None:
    """Return the name under which `storage` holds the study `identity`; None where it does not hold it.

    Args:
        storage: the database.
        name: the latest name of the study in `study.json`.
        identity: identifier of the study.
        private: the database is of this study alone, so that a study without an identifier is this one.

    Raises:
        UserError: several studies are copies of it, and none has its name.
    """
    found, unmarked = _candidates(storage, identity)
    if not found and name in unmarked:
        return name
    if not found and private:
        found = unmarked
    if not found:
        return None
    if name in found:
        return name
    if len(found) > 1:
        raise UserError(
            f"search.database: {', '.join(map(repr, found))} are copies of the study {name!r}; delete all but one, or "
            f"rename one to {name!r} in optuna-dashboard"
        )
    return found[0]


def _candidates(storage: RDBStorage, identity: str) -> tuple[list[str], list[str]]:
    """Return the names of the study `identity` and its copies, and those of studies without an identifier."""
    found = []
    unmarked = []
    for name, identities in _studies(storage):
        if identity in identities:
            found.append(name)
        elif not identities:
            unmarked.append(name)
    return found, unmarked


def _studies(storage: RDBStorage) -> Iterator[tuple[str, set[str | None]]]:
    """Yield the name and identifier of each study; for a copy without one, the identifiers in its trials' leases."""
    for study in storage.get_all_studies():
        own = study.system_attrs.get(STUDY_ID) or study.user_attrs.get(COPIED_STUDY_ID)
        if own is not None:
            yield study.study_name, {own}
        else:
            trials = storage.get_all_trials(study_key(study), deepcopy=False)
            identities = {lease_of(trial).study for trial in trials}
            yield study.study_name, identities - {None}
