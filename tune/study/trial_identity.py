"""The identity of a trial, by which its model is found: the study and a file in the model's folder hold the same one.

Other programs may renumber the trials of a study, add some, or move folders. Models are therefore found, exported and
deleted by identifier, never by number alone.
"""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationError

from hcvae.config import Section
from hcvae.storage import StoragePath
from tune.objectives import SPECIFIED, Point, point_of

FILE = "trial.json"
"""File of the identity, in the folder of an attempt and in a model bundle."""


class TrialIdentity(Section):
    """A trial as the folder of its attempt, and its bundle, record it."""

    study: str | None = None
    """Identifier of the study."""
    trial: str | None = None
    """Unique identifier of the trial, which a copy of the trial under another number keeps; null: an earlier version
    trained it, and the values identify it."""
    number: int | None = None
    """Number of the trial when it was trained."""
    params: Mapping[str, Any] = Field(default_factory=dict)
    """Its parameters, by dotted path."""
    values: Point | None = None
    """Objectives of the model; null in the folder of an attempt."""

    def write(self, folder: StoragePath) -> None:
        """Record the identity in `folder`."""
        (folder / FILE).write(self.model_dump_json(indent=2).encode())


def read_identity(folder: StoragePath) -> TrialIdentity | None:
    """Return the identity recorded in `folder`; None where there is none, or it cannot be read."""
    try:
        return TrialIdentity.model_validate_json((folder / FILE).read_text())
    except (FileNotFoundError, NotADirectoryError, UnicodeDecodeError, ValidationError):
        return None


def identity_of_model(bundle: StoragePath) -> TrialIdentity | None:
    """Return the identity of the model in `bundle`; for one of an earlier version, its objectives; None: no model."""
    return read_identity(bundle) or _identity_by_metrics(bundle)


def _identity_by_metrics(bundle: StoragePath) -> TrialIdentity | None:
    try:
        validation = json.loads((bundle / "metrics.json").read_text())["validation"]
        values = point_of(SPECIFIED, validation)
    except (AttributeError, FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        return None
    if values is None:
        return None
    return TrialIdentity(values=values)
