"""What a finished trial leaves to look at, as artifacts of the study: figures of its model on the validation part, the
metrics of its epochs, and whatever is too long for an attribute.

The trial's process draws the figures into its attempt's folder; the process that tells the study uploads them.
"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

import optuna
from optuna.artifacts import get_all_artifact_meta, upload_artifact
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.trial import FrozenTrial, Trial

from hcvae.storage import StoragePath
from tune.internals.optuna_internals import storage_of
from tune.study.folder import StudyFolder
from tune.study.trial_attributes import is_long

HISTORY = "history.jsonl"
"""Metrics of every epoch, one a line; the dashboard shows it as a table."""


class ArtifactStore:
    """Optuna's artifact store in a folder on any file system, see `optuna.artifacts`."""

    def __init__(self, place: StoragePath) -> None:
        self._place = place

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """An artifact's content.

        Raises:
            ArtifactNotFound: there is none.
        """
        try:
            return cast(BinaryIO, (self._place / artifact_id).open())
        except FileNotFoundError as error:
            raise ArtifactNotFound(f"{self._place}: no artifact {artifact_id}") from error

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Keep an artifact."""
        (self._place / artifact_id).write(content_body.read())

    def remove(self, artifact_id: str) -> None:
        """Forget an artifact."""
        (self._place / artifact_id).remove()


def upload(folder: StudyFolder, trial: Trial, files: StoragePath, names: Sequence[str]) -> None:
    """Copy the files `names` of a folder into the study's artifact store, from which its dashboard shows them. A file
    that an interrupted upload has left there already is not copied again.

    Raises:
        OSError: a file cannot be read, or the store not be written.
    """
    store = ArtifactStore(folder.artifacts)
    known = {meta.filename for meta in get_all_artifact_meta(trial)}
    missing = [name for name in names if name not in known]
    if missing:
        with files.fetched() as local:
            for name in missing:
                upload_artifact(artifact_store=store, file_path=str(local / name), study_or_trial=trial)


def upload_texts(
    folder: StudyFolder, trial: Trial, attributes: Mapping[str, Any], history: Sequence[Mapping[str, Any]]
) -> None:
    """Put a trial's history, and those of its attributes that are too long for the dashboard's page, into the study's
    artifact store.

    Raises:
        OSError: the store cannot be written.
    """
    texts = {HISTORY: "".join(f"{json.dumps(epoch)}\n" for epoch in history)} if history else {}
    for name, value in attributes.items():
        if value is not None and is_long(value):
            is_text = isinstance(value, str)
            texts[f"{name}.{'txt' if is_text else 'json'}"] = value if is_text else json.dumps(value, indent=2)
    with tempfile.TemporaryDirectory() as local:
        for name, text in texts.items():
            Path(local, name).write_text(text, encoding="utf-8", errors="replace")
        upload(folder, trial, StoragePath.of(Path(local)), list(texts))


def history_of(folder: StudyFolder, study: optuna.Study, trial: FrozenTrial) -> list[dict[str, Any]]:
    """The metrics of every epoch of a finished trial; empty where there are none, or no longer."""
    store = ArtifactStore(folder.artifacts)
    for meta in get_all_artifact_meta(trial, storage=storage_of(study)):
        if meta.filename == HISTORY:
            with suppress(ArtifactNotFound), store.open_reader(meta.artifact_id) as file:
                return [json.loads(line) for line in file.read().splitlines()]
    return list(trial.user_attrs.get("history") or ())  # of earlier versions


def images(folder: StudyFolder, study: optuna.Study, trial: FrozenTrial) -> dict[str, bytes]:
    """The PNG files among the artifacts of a trial, by name; one that is gone from the store is left out."""
    store, found = ArtifactStore(folder.artifacts), {}
    for meta in get_all_artifact_meta(trial, storage=storage_of(study)):
        if meta.mimetype == "image/png":
            with suppress(ArtifactNotFound), store.open_reader(meta.artifact_id) as file:
                found[meta.filename] = file.read()
    return dict(sorted(found.items()))
