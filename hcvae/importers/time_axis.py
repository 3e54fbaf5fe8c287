"""Sampling rate and time of the first sample, from times or from a rate, in the units that a file uses.

ABRs are recorded at 5 to 200 kHz. A result below 2 kHz or above 1 MHz means that the file uses another unit.

Legend: N waveforms, T samples.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcvae.data.plausible_ranges import SAMPLING_RATE
from hcvae.errors import UserError
from hcvae.importers.recording import FileError

MAX_START_MS = 10_000.0
"""Largest distance of the first sample from stimulus onset."""
MS_PER_UNIT = {"s": 1e3, "ms": 1.0, "us": 1e-3, "µs": 1e-3}
SAMPLES = "samples"
HZ_PER_UNIT = {"Hz": 1.0, "kHz": 1e3}


def check_rate(rate_hz: float, path: Path, can_map: bool) -> None:
    """Refuse a sampling rate at which no ABR is recorded.

    Args:
        rate_hz: rate of a recording.
        path: for the message.
        can_map: whether the format's mapping can state the units of times and rates.

    Raises:
        FileError: the message names the units that would give a usual rate.
    """
    if rate_hz in SAMPLING_RATE:
        return
    expected = f"{SAMPLING_RATE}, as ABRs are recorded"
    if can_map and rate_hz > SAMPLING_RATE.maximum:
        expected += "; for times in s: --map time_unit=s"
    elif can_map:
        expected += (
            "; for times in us: --map time_unit=us; for a rate in kHz: --map rate_unit=kHz; for sample numbers: "
            "--map time_unit=samples --map sampling_rate_hz=RATE"
        )
    raise FileError(path, "sampling rate", f"{rate_hz:g} Hz", expected)


def check_start(start_ms: float, path: Path) -> None:
    """Refuse a time of the first sample that is no time of an ABR.

    Raises:
        FileError: it is further than `MAX_START_MS` from stimulus onset.
    """
    if not abs(start_ms) <= MAX_START_MS:
        expected = f"-{MAX_START_MS:,.0f} to {MAX_START_MS:,.0f} ms from stimulus onset"
        raise FileError(path, "time of the first sample", f"{start_ms:g} ms", expected)


def can_be_times(numbers: Sequence[float | None]) -> bool:
    """Return whether numbers can be times of an ABR in ms: evenly spaced, at a plausible sampling rate."""
    steps = np.diff(np.array(numbers, dtype=np.float64))
    return bool(_is_even(steps) and 1e3 / float(steps.mean()) in SAMPLING_RATE)


def axis_of(
    times: Any,
    rates: NDArray[np.float64] | None,
    starts_ms: NDArray[np.float64] | None,
    lengths: Sequence[int],
    path: Path,
    time_unit: str | None,
    rate_unit: str | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the sampling rate in Hz and the time of the first sample in ms of each waveform [N].

    Args:
        times: [T], for all waveforms; None if the file has only rates.
        rates, starts_ms: [N]; None if not given.
        lengths: samples of each waveform [N].
        path: for messages.
        time_unit, rate_unit: units of `times` and `rates`; None: ms and Hz.

    Raises:
        FileError: neither times nor rates, uneven times, or times that contradict a given rate or start.
        UserError: an unknown unit, or the unit of something that is not given.
    """
    if rates is not None:
        rates = _scaled(rates, path, rate_unit)
    elif rate_unit is not None:
        raise UserError(f"{path}: mapping of rate_unit: needs a mapping of sampling_rate_hz")
    if times is not None:
        numbers = _times(times, path)
        if set(lengths) != {len(numbers)}:
            raise FileError(path, "time_ms", f"{len(numbers)} times for {max(lengths)} samples", "one time a sample")
        if time_unit == SAMPLES:
            return _axis_of_sample_numbers(numbers, rates, starts_ms, path)
        return _axis_of_times(numbers, rates, starts_ms, len(lengths), path, time_unit)
    if time_unit is not None:
        raise UserError(f"{path}: mapping of time_unit: no times in the file; needs a mapping of time_ms")
    rates = _given(rates, path)
    if starts_ms is None:
        starts_ms = np.zeros(len(lengths))
    return rates, starts_ms


def _times(times: Any, path: Path) -> NDArray[np.float64]:
    """Return the times [T].

    Raises:
        FileError: values that are not finite numbers.
    """
    error = FileError(path, "time_ms", "values that are not all numbers", "one time a sample")
    if isinstance(times, list) and any(map(np.ndim, times)):
        raise error
    numbers = np.ravel(times)
    if numbers.dtype.kind not in "fiu" or not np.isfinite(numbers).all():
        raise error
    return numbers.astype(np.float64)


def _axis_of_sample_numbers(
    numbers: NDArray[np.float64], rates: NDArray[np.float64] | None, starts_ms: NDArray[np.float64] | None, path: Path
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return rates and starts [N] where the times [T] count samples; the first may be number 0 or 1."""
    rates = _given(rates, path) * even_rate_hz(numbers, path) / 1e3
    if starts_ms is None:
        skipped = numbers[0]
        if skipped == 1:
            skipped = np.float64(0)
        starts_ms = skipped * 1e3 / rates
    return rates, starts_ms


def _axis_of_times(
    numbers: NDArray[np.float64],
    rates: NDArray[np.float64] | None,
    starts_ms: NDArray[np.float64] | None,
    n: int,
    path: Path,
    unit: str | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return rates and starts [N] where the times [T] have the unit `unit`, ms by default."""
    if unit is not None and unit not in MS_PER_UNIT:
        expected = f"must be one of {', '.join(MS_PER_UNIT)}, {SAMPLES}"
        raise UserError(f"{path}: mapping of time_unit: {expected}, but got {unit!r}")
    times_ms = numbers * MS_PER_UNIT[unit or "ms"]
    rate_hz = even_rate_hz(times_ms, path)
    _check_agreement(rates, starts_ms, rate_hz, times_ms[0], path)
    return np.full(n, rate_hz), np.full(n, times_ms[0])


def even_rate_hz(times_ms: NDArray[np.float64], path: Path) -> float:
    """Return the sampling rate of an even time axis [T], to nine digits.

    Raises:
        FileError: fewer than two times, or steps that differ by more than 1 %.
    """
    steps = np.diff(times_ms)
    if not _is_even(steps):
        raise FileError(path, "time axis", f"{len(times_ms)} times in uneven steps", "rising times, evenly spaced")
    return float(f"{1e3 * len(steps) / (times_ms[-1] - times_ms[0]):.9g}")


def _is_even(steps: NDArray[np.float64]) -> bool:
    return bool(len(steps) and np.isfinite(steps).all() and steps.min() > 0 and np.ptp(steps) <= 0.01 * steps.mean())


def _scaled(rates: NDArray[np.float64], path: Path, unit: str | None) -> NDArray[np.float64]:
    if unit is not None and unit not in HZ_PER_UNIT:
        expected = f"must be one of {', '.join(HZ_PER_UNIT)}"
        raise UserError(f"{path}: mapping of rate_unit: {expected}, but got {unit!r}")
    return rates * HZ_PER_UNIT[unit or "Hz"]


def _given(rates: NDArray[np.float64] | None, path: Path) -> NDArray[np.float64]:
    """Return the rates.

    Raises:
        FileError: no rates, or one that is not positive.
    """
    expected = "a positive rate; give it, or time_ms, with a mapping"
    if rates is None:
        raise FileError(path, "sampling_rate_hz", "none", expected)
    if not (rates > 0).all():
        raise FileError(path, "sampling_rate_hz", f"{rates.min():g}", expected)
    return rates


def _check_agreement(
    rates: NDArray[np.float64] | None,
    starts_ms: NDArray[np.float64] | None,
    rate_hz: float,
    first_ms: float,
    path: Path,
) -> None:
    """Refuse a given rate or start that the times contradict."""
    if rates is not None and not np.allclose(rates, rate_hz, rtol=0.01):
        found = f"{rates[0]:g} Hz beside times at {rate_hz:g} Hz"
        expected = "left out, or the rate of the times, whose unit is s, us or samples with --map time_unit=UNIT"
        raise FileError(path, "sampling_rate_hz", found, expected)
    if starts_ms is not None and not np.allclose(starts_ms, first_ms, atol=1e3 / rate_hz):
        found = f"{starts_ms[0]:g} ms beside times from {first_ms:g} ms on"
        raise FileError(path, "start_ms", found, "left out, or the first of the times")
