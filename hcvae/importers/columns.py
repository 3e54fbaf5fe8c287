"""Recordings from named columns: of a table, of a struct, or of anything that a mapping names.

A mapping gives, for a column of the waveform table or for one of `signal`, `time_ms`, `sampling_rate_hz` and
`start_ms`, its name in the file, or a number for all waveforms. For `unit`, `time_unit` and `rate_unit` it gives the
unit itself; for `channel` the channel to read (see `channels`).

Legend: N waveforms, T samples.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hcvae.counting import first_of
from hcvae.data.table import PEAK_COLUMNS, WAVES
from hcvae.errors import UserError
from hcvae.importers.cells import describe_cell, has_no_value, is_null, number_of
from hcvae.importers.channels import CHANNEL, channel_column, is_channel
from hcvae.importers.recording import Averaging, Band, CellValue, FileError, Peaks, ReadOptions, Recording
from hcvae.importers.time_axis import axis_of, can_be_times
from hcvae.importers.units import uv_per_given, uv_per_shared
from hcvae.suggest import did_you_mean

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
AXIS_UNITS = ("time_unit", "rate_unit")
UNITS = ("unit", *AXIS_UNITS)
MAPPING_NAMES = frozenset((*AXIS, *UNITS, CHANNEL, *SCALARS, SUBJECT))
"""Left sides of a mapping for formats with named columns."""
PEAK_CELLS = frozenset(map("_".join, product(PEAK_COLUMNS, WAVES)))
"""Columns of one peak each, such as `peak_latency_ms_V`."""
OURS = PEAK_CELLS.union(TYPES, AXIS)
NOT_NOTED = PEAK_CELLS | {"record_id"}
NUMBER = re.compile(r"[-+]?\d+(?:[.,]\d+)?(?:e[-+]?\d+)?", re.IGNORECASE)
INTEGERS = tuple(name for name, kind in TYPES.items() if pa.types.is_integer(kind))
MAX_SHOWN = 12
"""Names of columns in a message."""


def other_name(name: str, known: Sequence[str]) -> str:
    """Return the end of an error message about a column that we do not have: those of the `known` ones that fit."""
    if name == "age_years":
        return "; age_days is the age in days: 365.25 for each year"
    return did_you_mean(name, known)


def is_text_column(name: str) -> bool:
    """Return whether our column `name` holds text."""
    return name in ("unit", CHANNEL) or (name in TYPES and pa.types.is_string(TYPES[name]))


def axis_units_of(mapping: Mapping[str, str]) -> dict[str, str]:
    """Return the units of times and rates in a mapping, as columns for `recordings_of`."""
    return {name: mapping[name] for name in AXIS_UNITS if name in mapping}


def columns_in_file(names: Collection[str], mapping: Mapping[str, str], path: Path) -> dict[str, str | float]:
    """Return, for each of our columns, its name in the file (one of `names`) or its constant value.

    A name in the file that equals one of our columns stands for it, unless the mapping uses it otherwise. All other
    content of the file is ignored, as it may name a person.

    Raises:
        UserError: the mapping names something that is not in the file.
    """
    ours = {*AXIS, *TYPES}
    known: dict[str, str | float] = {}
    for name in names:
        if name in ours and name not in mapping.values():
            known[name] = name
    channel = channel_column(names, mapping, path)
    if channel is not None:
        known[CHANNEL] = channel
    for column, name in mapping.items():
        if column in (*UNITS, CHANNEL):
            continue
        if name in names:
            known[column] = name
            continue
        number = as_number(name)
        if number is None:
            raise UserError(f"{path}: mapping of {column}: no {name!r} in the file{did_you_mean(name, sorted(names))}")
        known[column] = number
    return known


def note_unread(names: Iterable[str], read: Collection[str], options: ReadOptions, what: str = "columns") -> None:
    """Note the columns of a file that are not in `read`, except record identifiers and peaks with our names."""
    unread = []
    for name in names:
        if name and name not in read and name not in NOT_NOTED:
            unread.append(repr(name[:40]))
    if unread:
        options.note(f"{what} that are not read: {first_of(unread, MAX_SHOWN)}")


def recordings_of(
    columns: Mapping[str, Any],
    path: Path,
    unit: str | None = None,
    first: int = 0,
    *,
    usual_band_hz: Band | None = None,
    usual_averaging: Averaging | None = None,
) -> Iterator[Recording]:
    """Yield the waveforms of columns with our names.

    Args:
        columns: `signal`, [N, T] or a list of N vectors; `time_ms` [T] or `sampling_rate_hz` (and `start_ms`), a number
            or [N]; `time_unit` and `rate_unit` for these, ms and Hz by default; `peak_*` [N, 5]; all other columns one
            value or [N].
        path: for messages.
        unit: unit of `signal` from the mapping; None: the unit in the column `unit`, else uV.
        first: number of the first waveform in the file, for messages.
        usual_band_hz, usual_averaging: defaults for such recordings, see `Recording`.

    Raises:
        FileError: no signal, columns of different lengths, samples that are not finite, or no even time axis.
        UserError: an unknown unit.
    """
    signal = _signal(columns, path)
    n = len(signal)
    scale = _uv_per(columns, n, unit, path)
    rates, starts = _time_axis(columns, signal, path)
    _check_peaks(columns, n, path)
    scalars: dict[str, list[CellValue]] = {}
    for name, values in columns.items():
        if name not in (*AXIS, *UNITS):
            scalars[name] = _column(name, values, n, path)
    for row, samples in enumerate(signal):
        where = f"waveform {first + row} (from 0)"
        if not np.isfinite(samples).all():
            raise FileError(path, where, "samples that are not finite", "numbers only")
        values = {name: column[row] for name, column in scalars.items()}
        _check_texts(values, where, path)
        yield Recording(
            signal_uv=samples.astype(np.float64) * scale,
            sampling_rate_hz=float(rates[row]),
            start_ms=float(starts[row]),
            subject=_text_or_none(values.pop(SUBJECT, None)),
            channel=_channel_text(values.pop(CHANNEL, None)),
            record_id=_text_or_none(values.pop("record_id", None)),
            values=values,
            peaks=_peaks(columns, row),
            usual_band_hz=usual_band_hz,
            usual_averaging=usual_averaging,
        )


def sample_columns(names: Sequence[str], mapping: Mapping[str, str], pattern: str) -> list[str]:
    """Return, in file order, the columns of one sample each: those that match `pattern`, which has one `*`.

    Columns with our names, columns of channels and columns that the mapping uses otherwise are left out.
    """
    before, star, after = pattern.partition("*")
    if not star:
        return []
    shortest = len(before) + len(after)
    used = {*OURS, *mapping.values()}
    samples = []
    for name in names:
        is_match = name.startswith(before) and name.endswith(after) and len(name) > shortest
        if is_match and name not in used and not is_channel(name):
            samples.append(name)
    return samples


def check_samples(samples: Sequence[str], pattern: str, path: Path) -> None:
    """Check that sample columns have similar names.

    Raises:
        FileError: most names are numbered in one way and some are not, so the samples cannot be told apart.
    """
    shapes = [NUMBER.sub("#", name) for name in samples]
    usual = max(shapes, key=shapes.count, default="")
    different = [name for name, shape in zip(samples, shapes, strict=True) if shape != usual]
    if "#" in usual and different:
        expected = f"samples numbered alike, as {usual!r}; narrow the pattern, or map the other columns"
        raise FileError(path, f"columns like {pattern!r}", f"{different[:MAX_SHOWN]} among them", expected)


def with_times(columns: dict[str, Any], samples: Sequence[str], pattern: str) -> dict[str, Any]:
    """Return `columns` with the times in the names of the sample columns.

    Beside a sampling rate, numbers that would give an implausible rate only count the samples, and are no times.
    """
    before, _, after = pattern.partition("*")
    times = []
    for name in samples:
        text = name[len(before) : len(name) - len(after)]
        times.append(as_number(text.replace(",", ".")))
    has_rate_only = "sampling_rate_hz" in columns and "time_unit" not in columns
    if None in times or (has_rate_only and not can_be_times(times)):
        return columns
    return columns | {"time_ms": times}


def as_number(text: object) -> float | None:
    """Return the finite number in `text`; None if there is none."""
    return number_of(text)


def plain_value(value: Any) -> CellValue:
    """Return a value of a file as a Python number or text; None if `is_null`. Infinity stays, to be refused."""
    if isinstance(value, np.generic):
        value = value.item()
    if is_null(value):
        return None
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool | int | float):
        return value
    number = as_number(value)
    if number is None:
        return str(value)
    return number


def _uv_per(columns: Mapping[str, Any], n: int, given: str | None, path: Path) -> float:
    """Return the microvolts in one unit of the samples."""
    if given:
        return uv_per_given(given, path)
    return uv_per_shared(_column("unit", columns.get("unit", "uV"), n, path), path)


def _signal(columns: Mapping[str, Any], path: Path) -> Sequence[NDArray[Any]]:
    """Return the waveforms [N] of [T]."""
    signal = columns.get("signal", ())
    if isinstance(signal, list) and signal and all(map(_is_vector, signal)):
        kinds = {row.dtype.kind for row in signal}
        shape: tuple[int, ...] = (len(signal), min(map(len, signal)))
    else:
        signal = np.asarray(signal)
        kinds = {signal.dtype.kind}
        shape = signal.shape
    if len(shape) != 2 or 0 in shape or not kinds <= set("fiu"):
        found = f"values of type {', '.join(sorted(kinds))} and shape {shape}"
        expected = "a matrix of numbers, waveforms x samples; name it with a mapping of signal"
        raise FileError(path, "signal", found, expected)
    return list(signal)


def _is_vector(row: Any) -> bool:
    return isinstance(row, np.ndarray) and row.ndim == 1


def _time_axis(
    columns: Mapping[str, Any], signal: Sequence[NDArray[Any]], path: Path
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the sampling rate in Hz and the time of the first sample in ms of each waveform [N]."""
    rates = _numbers("sampling_rate_hz", columns, len(signal), path)
    starts_ms = _numbers("start_ms", columns, len(signal), path)
    lengths = list(map(len, signal))
    time_unit = columns.get("time_unit")
    rate_unit = columns.get("rate_unit")
    return axis_of(columns.get("time_ms"), rates, starts_ms, lengths, path, time_unit, rate_unit)


def _numbers(name: str, columns: Mapping[str, Any], n: int, path: Path) -> NDArray[np.float64] | None:
    """Return a column of numbers [N]; None if there is no such column."""
    if name not in columns:
        return None
    numbers = list(map(as_number, _column(name, columns[name], n, path)))
    if None in numbers:
        raise FileError(path, name, "text, or nothing", "a number for each waveform")
    return np.array(numbers, dtype=np.float64)


def _column(name: str, values: Any, n: int, path: Path) -> list[CellValue]:
    """Return a column as N plain values; a single value is repeated.

    Raises:
        FileError: lists or structs as values, or another number of values.
    """
    if isinstance(values, np.ndarray):
        values = values.ravel().tolist()
    if not isinstance(values, list):
        values = [values]
    values = list(map(_unwrapped, values))
    if any(map(_holds_values, values)):
        raise FileError(path, name, "lists or structs", "numbers or text")
    if len(values) == 1:
        values = values * n
    if len(values) != n:
        raise FileError(path, name, f"{len(values)} values", f"one value, or one for each of {n} waveforms")
    column = list(map(plain_value, values))
    if name in INTEGERS:
        column = list(map(_whole, column))
    return column


def _holds_values(value: Any) -> bool:
    return isinstance(value, list | dict | np.ndarray)


def _unwrapped(value: Any) -> Any:
    """Return the only element of an array of one, None for an empty array; all other values as they are."""
    if isinstance(value, np.ndarray) and value.size == 0:
        return None
    if isinstance(value, np.ndarray) and value.size == 1:
        return value.item()
    return value


def _whole(value: CellValue) -> CellValue:
    """Return whole floats as integers: formats such as MATLAB's store all numbers as doubles."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _text_or_none(value: CellValue) -> str | None:
    if value is None:
        return None
    return str(value)


def _channel_text(channel: CellValue) -> str | None:
    if isinstance(channel, float):
        return f"{channel:g}"
    return _text_or_none(channel)


def _check_texts(values: Mapping[str, CellValue], where: str, path: Path) -> None:
    """Refuse text in columns of numbers, and formulas and errors of spreadsheets."""
    for name, value in values.items():
        if has_no_value(value):
            raise FileError(path, where, f"{describe_cell(value)} as {name}", "a value, or nothing")
        if isinstance(value, str) and not is_text_column(name):
            raise FileError(path, where, f"text as {name}", "a number, or nothing")


def _check_peaks(columns: Mapping[str, Any], n: int, path: Path) -> None:
    """Refuse labelled peaks that are not numbers of waves I to V for each of N waveforms."""
    for name in PEAK_COLUMNS:
        peaks = np.asarray(columns.get(name, np.zeros((n, len(WAVES)))))
        kinds = "fiu"
        if name == "peak_valid":
            kinds += "b"
        if peaks.shape != (n, len(WAVES)) or peaks.dtype.kind not in kinds:
            found = f"values of type {peaks.dtype.kind} and shape {peaks.shape}"
            raise FileError(path, name, found, f"{len(WAVES)} numbers, waves I to V, for each of {n} waveforms")


def _peaks(columns: Mapping[str, Any], row: int) -> Peaks | None:
    """Return the peaks of waves I to V; None without latencies.

    Without `peak_valid`, a peak is valid if it has a latency.
    """
    latency, amplitude, valid = map(columns.get, PEAK_COLUMNS)
    if latency is None:
        return None
    latencies = np.asarray(latency[row], dtype=np.float64)
    amplitudes = np.full(len(WAVES), np.nan)
    if amplitude is not None:
        amplitudes = np.asarray(amplitude[row], dtype=np.float64)
    present = np.isfinite(latencies)
    if valid is not None:
        present &= np.asarray(valid[row], dtype=bool)
    if not np.isfinite(latencies).any():
        return None
    return Peaks(latencies, amplitudes, present)
