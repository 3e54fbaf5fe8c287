"""Artifacts of finished trials: figures of the model on the validation part, the metrics of its epochs, and values that
are too long for an attribute.

The trial's process plots the figures into its attempt's folder; the process that records the trial's end uploads them.
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
from tune.study.trial_record import TrialRecord

HISTORY = "history.jsonl"
"""Metrics of every epoch, one line for each; the dashboard shows it as a table."""


class ArtifactStore:
    """Optuna's artifact store in a folder on any file system, see `optuna.artifacts`."""

    def __init__(self, place: StoragePath) -> None:
        self._place = place

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """Open an artifact for reading.

        Raises:
            ArtifactNotFound: there is none.
        """
        try:
            return cast(BinaryIO, (self._place / artifact_id).open())
        except FileNotFoundError as error:
            raise ArtifactNotFound(f"{self._place}: no artifact {artifact_id}") from error

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Write an artifact."""
        (self._place / artifact_id).write(content_body.read())

    def remove(self, artifact_id: str) -> None:
        """Remove an artifact."""
        (self._place / artifact_id).remove()


def upload(folder: StudyFolder, trial: Trial, files: StoragePath, names: Sequence[str]) -> None:
    """Copy the files `names` of a folder into the study's artifact store, from which its dashboard shows them.

    A file that an interrupted upload has already copied is left as it is.

    Raises:
        OSError: a file cannot be read, or the store cannot be written.
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
    """Copy a trial's history, and those of its attributes that are too long for the dashboard, into the artifact store.

    Raises:
        OSError: the store cannot be written.
    """
    texts = {}
    if history:
        texts[HISTORY] = "\n".join(map(json.dumps, history)) + "\n"
    for name, value in attributes.items():
        if not is_long(value):
            continue
        if isinstance(value, str):
            texts[f"{name}.txt"] = value
        else:
            texts[f"{name}.json"] = json.dumps(value, indent=2)
    with tempfile.TemporaryDirectory() as local:
        for name, text in texts.items():
            Path(local, name).write_text(text, encoding="utf-8", errors="replace")
        upload(folder, trial, StoragePath.of(Path(local)), list(texts))


def history_of(folder: StudyFolder, study: optuna.Study, trial: FrozenTrial) -> list[dict[str, Any]]:
    """Return the metrics of every epoch of a finished trial; none where they were not recorded, or were removed."""
    store = ArtifactStore(folder.artifacts)
    for meta in get_all_artifact_meta(trial, storage=storage_of(study)):
        if meta.filename == HISTORY:
            with suppress(ArtifactNotFound), store.open_reader(meta.artifact_id) as file:
                return list(map(json.loads, file.read().splitlines()))
    return list(TrialRecord.read(trial)[0].history or ())


def images(folder: StudyFolder, study: optuna.Study, trial: FrozenTrial) -> dict[str, bytes]:
    """Return the PNG files among the artifacts of a trial, by name, except those that were removed from the store."""
    store = ArtifactStore(folder.artifacts)
    found = {}
    for meta in get_all_artifact_meta(trial, storage=storage_of(study)):
        if meta.mimetype == "image/png":
            with suppress(ArtifactNotFound), store.open_reader(meta.artifact_id) as file:
                found[meta.filename] = file.read()
    return dict(sorted(found.items()))
