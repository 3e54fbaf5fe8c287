"""Recordings from named columns: of a table, of a struct, or of whatever a mapping names.

A mapping gives, for a column of the waveform table or for one of `signal`, `time_ms`, `sampling_rate_hz` and
`start_ms`, the name that the file uses, or a number that holds for all waveforms. `unit`, `time_unit` and `rate_unit`
are units themselves; `channel` is the channel to read (see `channels`).

Legend: N waveforms, T samples.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hcvae.data.table import PEAK_COLUMNS, WAVES
from hcvae.errors import UserError
from hcvae.importers.cells import is_null, number_of
from hcvae.importers.channels import CHANNEL, channel_column, is_channel
from hcvae.importers.recording import Averaging, Band, CellValue, FileError, Peaks, ReadOptions, Recording
from hcvae.importers.time_axis import axis_of, spells_times
from hcvae.suggest import did_you_mean

UV_PER_UNIT = {"V": 1e6, "mV": 1e3, "uV": 1.0, "µV": 1.0, "nV": 1e-3}
AXIS = ("signal", "time_ms", "sampling_rate_hz", "start_ms", "unit", *PEAK_COLUMNS)
SUBJECT = "subject_id"
TYPES: dict[str, pa.DataType] = {
    "record_id": pa.string(),
    "dataset": pa.string(),
    "species": pa.string(),
    "subject_id": pa.string(),
    "ear": pa.string(),
    "sex": pa.string(),
    "age_days": pa.float32(),
    "stimulus_type": pa.string(),
    "stimulus_frequency_hz": pa.float32(),
    "stimulus_level_db": pa.float32(),
    "level_reference": pa.string(),
    "stimulus_rate_hz": pa.float32(),
    "n_averages": pa.int32(),
    "n_artifacts": pa.int32(),
    "recording_index": pa.int32(),
    "half": pa.int8(),
    "residual_noise_uv": pa.float32(),
    "threshold_db": pa.float32(),
    "threshold_source": pa.string(),
    "highpass_hz": pa.float32(),
    "lowpass_hz": pa.float32(),
    "native_rate_hz": pa.float64(),
}
"""Columns of one value a row, in the order of the imported table."""
SCALARS = tuple(name for name in TYPES if name not in ("record_id", SUBJECT))
UNITS = ("unit", "time_unit", "rate_unit")
MAPPING_NAMES = frozenset((*AXIS, *UNITS, CHANNEL, *SCALARS, SUBJECT))
"""Left sides of a mapping for formats of named columns."""
OURS = frozenset((*TYPES, *AXIS, *(f"{name}_{wave}" for name in PEAK_COLUMNS for wave in WAVES)))
NOT_NOTED = frozenset(("record_id", *(f"{name}_{wave}" for name in PEAK_COLUMNS for wave in WAVES)))
NUMBER = re.compile(r"[-+]?\d+(?:[.,]\d+)?(?:e[-+]?\d+)?", re.IGNORECASE)
INTEGERS = tuple(name for name, kind in TYPES.items() if pa.types.is_integer(kind))


def is_text(name: str) -> bool:
    """Whether the column `name` holds text."""
    return name in ("unit", CHANNEL) or (name in TYPES and pa.types.is_string(TYPES[name]))


def uv_per_unit(unit: str) -> float:
    """Microvolts of one `unit`.

    Raises:
        UserError: not a unit of voltage.
    """
    if unit not in UV_PER_UNIT:
        raise UserError(f"mapping of unit: must be one of {', '.join(UV_PER_UNIT)}, but got {unit!r}")
    return UV_PER_UNIT[unit]


def units_of(mapping: Mapping[str, str]) -> dict[str, str]:
    """The units that a mapping states, for the columns of `recordings_of`."""
    return {name: mapping[name] for name in UNITS if name in mapping}


def renamed(names: Collection[str], mapping: Mapping[str, str], path: Path) -> dict[str, str | float]:
    """For each column, its name in the file (of `names`) or its constant value.

    A name of the file that is itself one of our columns stands for it, unless the mapping says otherwise; all else in
    the file is left there, as it may name a person.

    Raises:
        UserError: the mapping names what the file has not.
    """
    ours = {*AXIS, *TYPES}
    known: dict[str, str | float] = {name: name for name in names if name in ours and name not in mapping.values()}
    if (channel := channel_column(names, mapping, path)) is not None:
        known[CHANNEL] = channel
    for column, name in mapping.items():
        number = as_number(name)
        if column in (*UNITS, CHANNEL):
            continue
        if name in names:
            known[column] = name
        elif number is not None:
            known[column] = number
        else:
            raise UserError(f"{path}: mapping of {column}: no {name!r} in the file{did_you_mean(name, sorted(names))}")
    return known


def note_unread(names: Iterable[str], read: Collection[str], options: ReadOptions, what: str = "columns") -> None:
    """Note the columns of a file that are neither `read` nor identifiers of records or peaks of ours."""
    if unread := [name for name in names if name and name not in read and name not in NOT_NOTED]:
        shown = ", ".join(repr(name[:40]) for name in unread[:12]) + (", ..." if len(unread) > 12 else "")
        options.note(f"{what} that are not read: {shown}")


def recordings_of(
    columns: Mapping[str, Any],
    path: Path,
    unit: str | None = None,
    first: int = 0,
    *,
    usual_band_hz: Band | None = None,
    usual_averaging: Averaging | None = None,
) -> Iterator[Recording]:
    """The waveforms of columns with our names.

    Args:
        columns: `signal`, [N, T] or a list of N vectors; `time_ms` [T] or `sampling_rate_hz` (and `start_ms`), a number
            or [N]; `time_unit` and `rate_unit` of these, ms and Hz by default; `peak_*` [N, 5]; all others a value or
            [N].
        path: for messages.
        unit: of `signal`; None: that of the column `unit`, else uV.
        first: number of the first waveform in the file, for messages.
        usual_band_hz, usual_averaging: of such recordings, see `Recording`.

    Raises:
        FileError: no signal, columns of other lengths, samples that are not finite, or no even time axis.
    """
    signal = _signal(columns, path)
    scale = uv_per_unit(unit or _unit(columns, path))
    rate, start = (_numbers(name, columns, len(signal), path) for name in ("sampling_rate_hz", "start_ms"))
    lengths = [len(row) for row in signal]
    units = columns.get("time_unit"), columns.get("rate_unit")
    rates, starts = axis_of(columns.get("time_ms"), rate, start, lengths, path, *units)
    peaks = [_peaks(columns, row) for row in range(len(signal))]
    others = {name: values for name, values in columns.items() if name not in (*AXIS, *UNITS)}
    scalars = {name: _column(name, values, len(signal), path) for name, values in others.items()}
    for row, samples in enumerate(signal):
        if not np.isfinite(samples).all():
            raise FileError(path, f"waveform {first + row} (from 0)", "samples that are not finite", "numbers only")
        values = {name: column[row] for name, column in scalars.items()}
        if texts := [name for name, value in values.items() if isinstance(value, str) and not is_text(name)]:
            raise FileError(path, f"waveform {first + row} (from 0)", f"text as {texts[0]}", "a number, or nothing")
        subject, channel, record = (values.pop(name, None) for name in (SUBJECT, CHANNEL, "record_id"))
        yield Recording(
            signal_uv=samples.astype(np.float64) * scale,
            sampling_rate_hz=float(rates[row]),
            start_ms=float(starts[row]),
            values=values,
            subject=None if subject is None else str(subject),
            peaks=peaks[row],
            usual_band_hz=usual_band_hz,
            usual_averaging=usual_averaging,
            channel=None if channel is None else f"{channel:g}" if isinstance(channel, float) else str(channel),
            record_id=None if record is None else str(record),
        )


def sample_columns(names: Sequence[str], mapping: Mapping[str, str], pattern: str) -> list[str]:
    """The columns that hold one sample each, in the file's order: those that `pattern`, which has one `*`, matches.

    Columns that are ours, that hold channels, or that the mapping names for something else are none.
    """
    before, star, after = pattern.partition("*")
    if not star:
        return []
    length = len(before) + len(after)
    matched = [name for name in names if name.startswith(before) and name.endswith(after) and len(name) > length]
    taken = {*OURS, *mapping.values()}
    return [name for name in matched if name not in taken and not is_channel(name)]


def check_samples(samples: Sequence[str], pattern: str, path: Path) -> None:
    """Check that sample columns are named alike.

    Raises:
        FileError: most of them are numbered alike, and others are not: which are samples cannot be known.
    """
    shapes = [NUMBER.sub("#", name) for name in samples]
    usual = max(shapes, key=shapes.count, default="")
    others = [name for name, shape in zip(samples, shapes, strict=True) if shape != usual]
    if "#" in usual and others:
        expected = f"samples numbered alike, as {usual!r}; narrow the pattern, or map the other columns"
        raise FileError(path, f"columns like {pattern!r}", f"{others[:12]} among them", expected)


def with_times(columns: dict[str, Any], samples: Sequence[str], pattern: str) -> dict[str, Any]:
    """`columns` with the times that the names of the sample columns spell.

    Beside a sampling rate, numbers that would give a rate at which no ABR is recorded only count the samples.
    """
    before, _, after = pattern.partition("*")
    times = [as_number(name[len(before) : len(name) - len(after)].replace(",", ".")) for name in samples]
    has_rate_only = "sampling_rate_hz" in columns and "time_unit" not in columns
    if None in times or (has_rate_only and not spells_times(times)):
        return columns
    return columns | {"time_ms": times}


def as_number(text: object) -> float | None:
    """The finite number that `text` spells; None if it spells none."""
    return number_of(text)


def plain(value: Any) -> CellValue:
    """A value of a file as a Python number or text; None for NaN, empty text and words for nothing."""
    value = value.item() if isinstance(value, np.generic) else value
    if is_null(value):
        return None
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool | int):
        return value
    number = as_number(value)
    return str(value) if number is None and not isinstance(value, float) else number


def _unit(columns: Mapping[str, Any], path: Path) -> str:
    """The one unit of the file's column `unit`."""
    found = set(_column("unit", columns.get("unit", "uV"), len(columns["signal"]), path))
    if len(found) > 1 or not found <= UV_PER_UNIT.keys():
        expected = f"one of {', '.join(UV_PER_UNIT)} for all waveforms; give it with a mapping of unit"
        raise FileError(path, "column 'unit'", f"{len(found)} texts, or another one", expected)
    return str(found.pop())


def _signal(columns: Mapping[str, Any], path: Path) -> Sequence[NDArray[Any]]:
    """The waveforms [N] of [T]."""
    signal = columns.get("signal", ())
    if isinstance(signal, list) and signal and all(isinstance(row, np.ndarray) and row.ndim == 1 for row in signal):
        kinds, shape = {row.dtype.kind for row in signal}, (len(signal), min(map(len, signal)))
    else:
        signal = np.asarray(signal)
        kinds, shape = {signal.dtype.kind}, signal.shape
    if len(shape) != 2 or 0 in shape or not kinds <= set("fiu"):
        found = f"values of type {', '.join(sorted(kinds))} and shape {shape}"
        expected = "a matrix of numbers, waveforms x samples; name it with a mapping of signal"
        raise FileError(path, "signal", found, expected)
    return list(signal)


def _numbers(name: str, columns: Mapping[str, Any], n: int, path: Path) -> NDArray[np.float64] | None:
    """A column of numbers [N]; None where there is no such column."""
    if name not in columns:
        return None
    numbers = [as_number(value) for value in _column(name, columns[name], n, path)]
    if None in numbers:
        raise FileError(path, name, "text, or nothing", "a number for each waveform")
    return np.array(numbers, dtype=np.float64)


def _column(name: str, values: Any, n: int, path: Path) -> list[CellValue]:
    values = values.ravel().tolist() if isinstance(values, np.ndarray) else values
    values = values if isinstance(values, list) else [values]
    values = [value.item() if isinstance(value, np.ndarray) and value.size == 1 else value for value in values]
    if any(isinstance(value, list | dict | np.ndarray) for value in values):
        raise FileError(path, name, "lists or structs", "numbers or text")
    if len(values) == 1:
        values = values * n
    if len(values) != n:
        raise FileError(path, name, f"{len(values)} values", f"one value, or one for each of {n} waveforms")
    plain_values = [plain(value) for value in values]
    if name in INTEGERS:  # formats such as MATLAB's keep all numbers as doubles
        return [int(value) if isinstance(value, float) and value.is_integer() else value for value in plain_values]
    return plain_values


def _peaks(columns: Mapping[str, Any], row: int) -> Peaks | None:
    """Peaks of waves I to V where latencies are there; a peak without its validity is valid where it has a latency."""
    latency, amplitude, valid = (columns.get(name) for name in PEAK_COLUMNS)
    if latency is None or np.shape(latency)[1:] != (len(WAVES),):
        return None
    latencies = np.asarray(latency[row], dtype=np.float64)
    amplitudes = np.full(len(WAVES), np.nan) if amplitude is None else np.asarray(amplitude[row], dtype=np.float64)
    present = np.isfinite(latencies) if valid is None else np.asarray(valid[row], dtype=bool) & np.isfinite(latencies)
    return Peaks(latencies, amplitudes, present) if np.isfinite(latencies).any() else None
