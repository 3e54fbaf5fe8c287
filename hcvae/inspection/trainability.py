"""Check whether a table is sufficient for a training and a search, and with which options."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import ValidationError

from hcvae.config import Config, DataConfig
from hcvae.counting import counted
from hcvae.data.dataset import Dataset, prepare, response_columns
from hcvae.data.part_contents import split_report
from hcvae.data.table import LEVEL
from hcvae.errors import UserError
from hcvae.inspection.recordings import FREQUENCY, Recordings
from hcvae.readiness import ROW, remedy, unmeasured

STIMULUS_TYPE = "stimulus_type"
CONDITIONS = (
    LEVEL,
    FREQUENCY,
    STIMULUS_TYPE,
    "stimulus_rate_hz",
    "stimulus_polarity",
    "species",
    "sex",
    "age_days",
    "age_years",
    "hearing_loss_db",
)
"""Columns of the stimulus and the subject that condition a model if they vary, the most important first."""
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
    parts: tuple[str, ...] = ()
    """The contents of each part, and for uniform parts a warning with a remedy."""
    averages: tuple[str, ...] = ()
    """How many waveforms have an independent average, and how this differs from the table of their agreement."""
    usable: tuple[str, ...] = ()
    """Other columns that could condition a model: they vary and have no nulls."""
    incomplete: tuple[str, ...] = ()
    """Columns of the stimulus and the subject that are not used because some rows have no value, and the remedy."""
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
    found = Trainability(
        _command_line(settings),
        usable=tuple(_usable(recordings, settings["data.static"], subject_column)),
        incomplete=tuple(_incomplete(recordings, settings["data.static"])),
    )
    try:
        config = _checked_config(recordings, settings, found.usable)
        data = prepare(config)
        for name, part in (("validation", data.validation), ("test", data.test)):
            if not np.ptp(part.signals, axis=0).any():
                same = counted(len(part), "waveform")
                raise UserError(f"all waveforms of the {name} part ({same}) are the same; add recordings")
        reason = unmeasured(data).get("validation")
    except UserError as error:
        return replace(found, untrainable=str(error))
    found = replace(
        found,
        split=data.split.explanation,
        parts=tuple(split_report(config.data, data.split)),
        averages=tuple(_averages(recordings, config.data, data)),
    )
    if not reason:
        return found
    if average_columns is None and not unmeasured(prepare(_with_inspected_averages(recordings, config))):
        advice = _option_of_averages(recordings, config.data, recordings.average_columns)
    else:
        advice = remedy(data, ROW in recordings.scalars.column_names)
    return replace(found, unsearchable=reason, remedy=advice)


def _averages(recordings: Recordings, config: DataConfig, data: Dataset) -> Iterator[str]:
    """Yield the number of waveforms with an independent average, and where `recordings` pairs others."""
    paired = sum(int(np.count_nonzero(part.is_paired)) for part in (data.train, data.validation, data.test))
    columns = response_columns(config, recordings.table.column_names)
    yield (
        f"independent averages: {paired} of {counted(len(recordings), 'waveform')} have one in their part (rows that "
        f"agree in {', '.join(_varying(recordings, config, columns))})"
    )
    if config.average_columns is not None:
        return
    codes = recordings.codes(columns)
    names = [name for name in recordings.average_columns if _differs_within_response(recordings.codes([name]), codes)]
    if names:
        yield (
            f"warning: rows that differ in {', '.join(names)} count as averages of one response; if they are not, "
            f"add {_option_of_averages(recordings, config, [*columns, *names])}"
        )
    elif _differs_within_response(codes, recordings.response):
        yield (
            "the table of their agreement joins more rows; a training and a search join the same with "
            f"{_option_of_averages(recordings, config, recordings.average_columns)}"
        )


def _differs_within_response(codes: NDArray[np.int64], responses: NDArray[np.int64]) -> bool:
    """Return whether rows [N] of one response have different codes."""
    return len(np.unique(np.stack([responses, codes]), axis=1).T) > len(np.unique(responses))


def _option_of_averages(recordings: Recordings, config: DataConfig, columns: Sequence[str]) -> str:
    names = _varying(recordings, config, columns)
    return f"--data.average_columns {shlex.quote(json.dumps(names))}"


def _varying(recordings: Recordings, config: DataConfig, columns: Sequence[str]) -> list[str]:
    """Return subject, level and those `columns` that are not equal in all rows."""
    names = []
    for name in columns:
        if name in (config.subject_column, LEVEL) or len(np.unique(recordings.codes([name]))) > 1:
            names.append(name)
    return names


def _with_inspected_averages(recordings: Recordings, config: Config) -> Config:
    columns = tuple(_varying(recordings, config.data, recordings.average_columns))
    return config.model_copy(update={"data": config.data.model_copy(update={"average_columns": columns})})


def _checked_config(recordings: Recordings, settings: dict[str, Any], usable: Sequence[str]) -> Config:
    """Return the configuration of `settings`, for rows with which a training can start."""
    if not settings["data.static"]:
        message = f"no column that could condition a model varies, such as {', '.join(CONDITIONS[:3])}: "
        message += "two levels are needed"
        if usable:
            message += f"; to use another column, set --data.static {shlex.quote(json.dumps([usable[0]]))}"
        raise UserError(message)
    if not recordings.finite.all() or (recordings.subject == "").any():
        raise UserError("rows without a complete waveform or without a subject: see the warnings")
    return _config(settings)


def _settings(
    recordings: Recordings, subject_column: str, average_columns: Sequence[str] | None, sampling_rate_hz: float | None
) -> dict[str, Any]:
    """Return the options that describe the table, without those that have their default values."""
    names = recordings.scalars.column_names
    defaults = Config().data
    key = [name for name in (subject_column, LEVEL, "recording_index") if name in names]
    static = []
    for name in CONDITIONS:
        if name in names and _varies(recordings, name) and _is_known(recordings, name):
            static.append(name)
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
    options = [f"--{name} {shlex.quote(_text(value))}" for name, value in settings.items()]
    return " ".join(options)


def _varies(recordings: Recordings, name: str) -> bool:
    """Whether a column has several values, and is not an identifier."""
    column = recordings.scalars[name]
    distinct = len(pc.unique(column.drop_null()))
    if pa.types.is_float64(column.type):
        return distinct > 1
    return 1 < distinct <= MAX_CATEGORIES


def _is_known(recordings: Recordings, name: str) -> bool:
    """Whether every row has a value in a column, or a null that means something: the frequency of a click."""
    missing = recordings.scalars[name].is_null()
    if not pc.any(missing).as_py():
        return True
    if name != FREQUENCY or STIMULUS_TYPE not in recordings.scalars.column_names:
        return False
    types = recordings.scalars[STIMULUS_TYPE]
    if types.null_count:
        return False
    without = set(types.filter(missing).to_pylist())
    return without.isdisjoint(types.filter(pc.invert(missing)).to_pylist())


def _usable(recordings: Recordings, static: Sequence[str], subject_column: str) -> Iterator[str]:
    """Yield the columns that vary, have no nulls, and are neither conditions nor identifiers."""
    identifiers = (ROW, subject_column, "recording_index")
    for name in recordings.scalars.column_names:
        is_free = name not in static and name not in identifiers
        if is_free and _varies(recordings, name) and not recordings.scalars[name].null_count:
            yield name


def _incomplete(recordings: Recordings, static: Sequence[str]) -> Iterator[str]:
    for name in (*CONDITIONS, "ear"):
        if name in static or name not in recordings.scalars.column_names:
            continue
        missing = recordings.scalars[name].null_count
        if 0 < missing < len(recordings):
            advice = f"give them one at import (hcvae import --value {name}=VALUE)"
            if name == FREQUENCY:
                advice = (
                    f"used once every row has a {STIMULUS_TYPE} and all rows of one {STIMULUS_TYPE}, "
                    "such as clicks, have none"
                )
            yield f"{name}: no value in {missing} of {counted(len(recordings), 'row')}; {advice}"


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
