"""Whether a table can be trained on and searched on, in plain words, and with which options."""

import json
import shlex
from collections.abc import Sequence
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
from hcvae.training.readiness import ROW, remedy, unmeasured

CONDITIONS = (
    *(LEVEL, "stimulus_frequency_hz", "stimulus_rate_hz", "stimulus_type", "species", "ear", "sex"),
    *("age_days", "age_years", "hearing_loss_db", "n_averages"),
)
"""Columns that condition a model where they vary, most telling first."""
MAX_CATEGORIES = 20


@dataclass(frozen=True)
class Trainability:
    """What keeps a table from being trained on, or searched on."""

    options: str
    """The table and its columns, as options of the jobs."""
    untrainable: str | None = None
    """What training lacks; None: nothing."""
    split: str | None = None
    """Rows of each part, where it can be trained on."""
    unsearchable: str | None = None
    """What a search lacks besides."""
    remedy: str | None = None
    """Options that make the search possible, or what is missing."""


def trainability(
    recordings: Recordings,
    subject_column: str = "subject_id",
    average_columns: Sequence[str] | None = None,
    sampling_rate_hz: float | None = None,
) -> Trainability:
    """Prepare the table as a training would, with the columns that vary in it as conditions."""
    settings = _settings(recordings, subject_column, average_columns, sampling_rate_hz)
    options = " ".join(f"--{name} {shlex.quote(_text(value))}" for name, value in settings.items())
    try:
        if not settings["data.static"]:
            known = ", ".join(CONDITIONS[:3])
            raise UserError(f"no column varies that could condition a model, such as {known}: two levels are needed")
        if not recordings.finite.all() or (recordings.subject == "").any():
            raise UserError("rows without a whole waveform or without a subject: see the warnings")
        data = prepare(_config(settings))
        for name, part in (("validation", data.validation), ("test", data.test)):
            if not np.ptp(part.signals, axis=0).any():
                raise UserError(f"the {name} part has {len(part)} waveforms and no two different; add recordings")
        reason = unmeasured(data).get("validation")
    except UserError as error:
        return Trainability(options, untrainable=str(error))
    way = remedy(data, ROW in recordings.scalars.column_names) if reason else None
    return Trainability(options, split=data.split.explanation, unsearchable=reason, remedy=way)


def _settings(
    recordings: Recordings, subject_column: str, average_columns: Sequence[str] | None, sampling_rate_hz: float | None
) -> dict[str, Any]:
    """The options that name the table and what is in it, but for those that are so by default."""
    names, defaults = recordings.scalars.column_names, Config().data
    key = [name for name in (subject_column, LEVEL, "recording_index") if name in names]
    settings: dict[str, Any] = {
        "data.tables": [recordings.path],
        "data.static": [name for name in CONDITIONS if name in names and _conditions(recordings, name)],
    }
    others: dict[str, tuple[Any, Any]] = {
        "data.subject_column": (subject_column, defaults.subject_column),
        "data.recording_columns": (key, list(defaults.recording_columns)),
        "data.average_columns": (list(average_columns) if average_columns else None, None),
        "data.sampling_rate_hz": (sampling_rate_hz, None),
        "model.signal_length": (recordings.signals_uv.shape[1], Config().model.signal_length),
    }
    return settings | {name: value for name, (value, default) in others.items() if value != default}


def _conditions(recordings: Recordings, name: str) -> bool:
    """Whether a column varies, and not as names of rows do."""
    column = recordings.scalars[name]
    return 1 < len(pc.unique(column)) <= (len(recordings) if pa.types.is_float64(column.type) else MAX_CATEGORIES)


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
    return value if isinstance(value, str) else json.dumps(value)
