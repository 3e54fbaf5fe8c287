"""The Optuna study of a study's folder, under whatever name its database holds it now.

optuna-dashboard renames a study by copying it, and people rename folders: neither changes the study's identifier.
"""

from collections.abc import Iterator

from optuna.storages import RDBStorage

from hcvae.errors import UserError
from tune.internals.optuna_internals import study_key
from tune.study.leases import COPIED_STUDY_ID, STUDY_ID, lease_of


def find_study(storage: RDBStorage, name: str, identity: str, *, private: bool) -> str | None:
    """The name under which `storage` holds the study `identity`; None where it does not hold it.

    Args:
        storage: the database.
        name: what the study was called at last.
        identity: identifier of the study.
        private: the database is of this study alone, so that one without an identifier is this one.

    Raises:
        UserError: several studies are copies of it, and none has its name.
    """
    studies = dict(_studies(storage))
    found = [study for study, identities in studies.items() if identity in identities]
    unmarked = [study for study, identities in studies.items() if not identities]
    if not found:
        found = [name] if name in unmarked else unmarked if private else []
    if name in found or not found:
        return name if found else None
    if len(found) > 1:
        raise UserError(
            f"search.database: {', '.join(map(repr, found))} are copies of the study {name!r}; delete all but one, or "
            f"rename one to {name!r} in optuna-dashboard"
        )
    return found[0]


def _studies(storage: RDBStorage) -> Iterator[tuple[str, set[str]]]:
    """Names of the studies, each with its identifier; of a copy without one those of the studies of its trials."""
    for study in storage.get_all_studies():
        own = study.system_attrs.get(STUDY_ID) or study.user_attrs.get(COPIED_STUDY_ID)
        if own is not None:
            yield study.study_name, {own}
        else:
            trials = storage.get_all_trials(study_key(study), deepcopy=False)
            yield study.study_name, {claim.study for claim in map(lease_of, trials) if claim.study}
