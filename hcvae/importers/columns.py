"""Recordings from named columns: of a table, of a struct, or of whatever a mapping names.

A mapping gives, for a column of the waveform table or for one of `signal`, `time_ms`, `sampling_rate_hz`, `start_ms`
and `unit`, the name that the file uses, or a number that holds for all waveforms (`unit` is itself V, mV, uV or nV).

Legend: N waveforms, T samples.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from hcvae.data.table import PEAK_COLUMNS, WAVES
from hcvae.errors import UserError
from hcvae.importers.cells import is_null, number_of
from hcvae.importers.recording import Averaging, Band, FileError, Peaks, Recording, Value
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
INTEGERS = tuple(name for name, kind in TYPES.items() if pa.types.is_integer(kind))


def is_text(name: str) -> bool:
    """Whether the column `name` holds text."""
    return name == "unit" or (name in TYPES and pa.types.is_string(TYPES[name]))


def uv_per_unit(unit: str) -> float:
    """Microvolts of one `unit`.

    Raises:
        UserError: not a unit of voltage.
    """
    if unit not in UV_PER_UNIT:
        raise UserError(f"mapping of unit: must be one of {', '.join(UV_PER_UNIT)}, but got {unit!r}")
    return UV_PER_UNIT[unit]


def renamed(names: Collection[str], mapping: Mapping[str, str], path: Path) -> dict[str, str | float]:
    """For each column, its name in the file (of `names`) or its constant value.

    A name of the file that is itself one of our columns stands for it, unless the mapping says otherwise; all else in
    the file is left there, as it may name a person.

    Raises:
        UserError: the mapping names what the file has not.
    """
    ours = {*AXIS, *SCALARS, SUBJECT}
    known: dict[str, str | float] = {name: name for name in names if name in ours and name not in mapping.values()}
    for column, name in mapping.items():
        number = as_number(name)
        if name in names:
            known[column] = name
        elif number is not None:
            known[column] = number
        elif column != "unit":
            raise UserError(f"{path}: mapping of {column}: no {name!r} in the file{did_you_mean(name, sorted(names))}")
    return known


def recordings_of(
    columns: Mapping[str, Any],
    path: Path,
    unit: str = "uV",
    first: int = 0,
    *,
    usual_band_hz: Band | None = None,
    usual_averaging: Averaging | None = None,
) -> Iterator[Recording]:
    """The waveforms of columns with our names.

    Args:
        columns: `signal` [N, T]; `time_ms` [T] or `sampling_rate_hz` (and `start_ms`), a number or [N]; `peak_*`
            [N, 5]; all others a value or [N].
        path: for messages.
        unit: of `signal`.
        first: number of the first waveform in the file, for messages.
        usual_band_hz, usual_averaging: of such recordings, see `Recording`.

    Raises:
        FileError: no signal, columns of other lengths, samples that are not finite, or no even time axis.
    """
    scale = uv_per_unit(unit)
    signal = _signal(columns, path)
    rates, starts = _axis(columns, len(signal), signal.shape[1], path)
    peaks = [_peaks(columns, row) for row in range(len(signal))]
    scalars = {name: _column(name, values, len(signal), path) for name, values in columns.items() if name not in AXIS}
    for row, samples in enumerate(signal):
        if not np.isfinite(samples).all():
            raise FileError(path, f"waveform {first + row} (from 0)", "samples that are not finite", "numbers only")
        values = {name: column[row] for name, column in scalars.items()}
        if texts := [name for name, value in values.items() if isinstance(value, str) and not is_text(name)]:
            raise FileError(path, f"waveform {first + row} (from 0)", f"text as {texts[0]}", "a number, or nothing")
        subject = values.pop(SUBJECT, None)
        yield Recording(
            signal_uv=samples.astype(np.float64) * scale,
            sampling_rate_hz=float(rates[row]),
            start_ms=float(starts[row]),
            values=values,
            subject=None if subject is None else str(subject),
            peaks=peaks[row],
            usual_band_hz=usual_band_hz,
            usual_averaging=usual_averaging,
        )


def even_rate_hz(times_ms: NDArray[np.float64], path: Path) -> float:
    """Sampling rate of an even time axis [T], to nine digits.

    Raises:
        FileError: fewer than two times, or steps that differ by more than 1 %.
    """
    steps = np.diff(times_ms)
    if not len(steps) or not np.isfinite(steps).all() or steps.min() <= 0 or np.ptp(steps) > 0.01 * steps.mean():
        raise FileError(
            path, "time axis", f"{len(times_ms)} times in uneven steps", "rising times in ms, evenly spaced"
        )
    return float(f"{1e3 * len(steps) / (times_ms[-1] - times_ms[0]):.9g}")


def sample_columns(names: Sequence[str], pattern: str) -> list[str]:
    """The columns that hold one sample each: those that `pattern`, which has one `*`, matches, in the file's order."""
    before, star, after = pattern.partition("*")
    if not star:
        return []
    length = len(before) + len(after)
    return [name for name in names if name.startswith(before) and name.endswith(after) and len(name) > length]


def with_times(columns: dict[str, Any], samples: Sequence[str], pattern: str) -> dict[str, Any]:
    """`columns` with the times in ms that the names of the sample columns spell, unless a sampling rate is given."""
    before, _, after = pattern.partition("*")
    times = [as_number(name[len(before) : len(name) - len(after)]) for name in samples]
    if "sampling_rate_hz" in columns or None in times:
        return columns
    return columns | {"time_ms": times}


def as_number(text: object) -> float | None:
    """The finite number that `text` spells; None if it spells none."""
    return number_of(text)


def plain(value: Any) -> Value:
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


def _signal(columns: Mapping[str, Any], path: Path) -> NDArray[Any]:
    signal = np.asarray(columns.get("signal", ()))
    if signal.ndim != 2 or not signal.size or signal.dtype.kind not in "fiu":
        found = f"an array of type {signal.dtype} and shape {signal.shape}"
        raise FileError(
            path, "signal", found, "a matrix of numbers, waveforms x samples; name it with a mapping of signal"
        )
    return signal


def _axis(columns: Mapping[str, Any], n: int, samples: int, path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """Sampling rate in Hz and time of the first sample in ms, of each waveform [N]."""
    if "time_ms" in columns:
        times = np.asarray(columns["time_ms"], dtype=np.float64).ravel()
        if len(times) != samples:
            raise FileError(path, "time_ms", f"{len(times)} times for {samples} samples", "one time a sample")
        return np.full(n, even_rate_hz(times, path)), np.full(n, times[0])
    given = [_column(name, columns.get(name, 0), n, path) for name in ("sampling_rate_hz", "start_ms")]
    rates, starts = (np.array([as_number(value) or 0.0 for value in values]) for values in given)
    if not (rates > 0).all():
        found = "none" if "sampling_rate_hz" not in columns else f"{rates.min():g}"
        right = "a positive rate in Hz; give it, or time_ms, with a mapping"
        raise FileError(path, "sampling_rate_hz", found, right)
    return rates, starts


def _column(name: str, values: Any, n: int, path: Path) -> list[Value]:
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
