"""Check whether a table is sufficient for a training and a search, and with which options."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from hcvae.config import Config
from hcvae.data.dataset import prepare
from hcvae.errors import UserError
from hcvae.inspection.recordings import LEVEL, Recordings
from hcvae.readiness import ROW, remedy, unmeasured

CONDITIONS = (
    LEVEL,
    "stimulus_frequency_hz",
    "stimulus_rate_hz",
    "stimulus_type",
    "species",
    "ear",
    "sex",
    "age_days",
    "age_years",
    "hearing_loss_db",
    "n_averages",
)
"""Columns that condition a model if they vary, the most important first."""
MAX_CATEGORIES = 20
"""Text columns with more values are taken for identifiers."""


@dataclass(frozen=True)
class Trainability:
    """Whether a table is sufficient for a training and a search, and what is missing."""

    options: str
    """Options of the jobs for the table and its columns."""
    untrainable: str | None = None
    """What is missing for a training; None: nothing."""
    split: str | None = None
    """Rows of each part, if a training is possible."""
    unsearchable: str | None = None
    """What is missing for a search; None: nothing."""
    remedy: str | None = None
    """Options that make a search possible, or what data are needed."""


def trainability(
    recordings: Recordings,
    subject_column: str = "subject_id",
    average_columns: Sequence[str] | None = None,
    sampling_rate_hz: float | None = None,
) -> Trainability:
    """Prepare the table as a training would, with the columns that vary as conditions."""
    settings = _settings(recordings, subject_column, average_columns, sampling_rate_hz)
    options = _command_line(settings)
    try:
        if not settings["data.static"]:
            known = ", ".join(CONDITIONS[:3])
            raise UserError(f"no column that could condition a model varies, such as {known}: two levels are needed")
        if not recordings.finite.all() or (recordings.subject == "").any():
            raise UserError("rows without a complete waveform or without a subject: see the warnings")
        data = prepare(_config(settings))
        for name, part in (("validation", data.validation), ("test", data.test)):
            if not np.ptp(part.signals, axis=0).any():
                raise UserError(f"the {len(part)} waveforms of the {name} part are all the same; add recordings")
        reason = unmeasured(data).get("validation")
    except UserError as error:
        return Trainability(options, untrainable=str(error))
    if not reason:
        return Trainability(options, split=data.split.explanation)
    advice = remedy(data, ROW in recordings.scalars.column_names)
    return Trainability(options, split=data.split.explanation, unsearchable=reason, remedy=advice)


def _settings(
    recordings: Recordings, subject_column: str, average_columns: Sequence[str] | None, sampling_rate_hz: float | None
) -> dict[str, Any]:
    """Return the options that describe the table, without those that have their default values."""
    names = recordings.scalars.column_names
    defaults = Config().data
    key = [name for name in (subject_column, LEVEL, "recording_index") if name in names]
    static = [name for name in CONDITIONS if name in names and _conditions(recordings, name)]
    settings: dict[str, Any] = {"data.tables": [recordings.path], "data.static": static}
    others: dict[str, tuple[Any, Any]] = {
        "data.subject_column": (subject_column, defaults.subject_column),
        "data.recording_columns": (key, list(defaults.recording_columns)),
        "data.average_columns": (list(average_columns or ()), []),
        "data.sampling_rate_hz": (sampling_rate_hz, None),
        "model.signal_length": (recordings.signals_uv.shape[1], Config().model.signal_length),
    }
    for name, (value, default) in others.items():
        if value != default:
            settings[name] = value
    return settings


def _command_line(settings: Mapping[str, Any]) -> str:
    options = []
    for name, value in settings.items():
        options.append(f"--{name} {shlex.quote(_text(value))}")
    return " ".join(options)


def _conditions(recordings: Recordings, name: str) -> bool:
    """Whether a column varies, and is not an identifier."""
    column = recordings.scalars[name]
    distinct = len(pc.unique(column))
    if pa.types.is_float64(column.type):
        return distinct > 1
    return 1 < distinct <= MAX_CATEGORIES


def _config(settings: dict[str, Any]) -> Config:
    tree: dict[str, dict[str, Any]] = {"data": {}, "model": {}}
    for path, value in settings.items():
        section, name = path.split(".")
        tree[section][name] = value
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        detail = error.errors()[0]
        where = ".".join(map(str, detail["loc"]))
        raise UserError(f"{where}: {detail['msg'].lower()}, but got {detail['input']!r}") from error


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value)
