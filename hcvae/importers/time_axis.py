"""Sampling rate and time of the first sample, from times or from a rate, in the units that a file uses.

ABRs are recorded at 5 to 200 kHz: the waves have parts up to 2 kHz. What comes out below 2 kHz (20 samples in 10 ms) or
above 1 MHz has been read in another unit than the file's.

Legend: N waveforms, T samples.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcvae.errors import UserError
from hcvae.importers.recording import FileError

MIN_RATE_HZ, MAX_RATE_HZ = 2e3, 1e6
MS_PER_UNIT = {"s": 1e3, "ms": 1.0, "us": 1e-3, "µs": 1e-3}
SAMPLES = "samples"
HZ_PER_UNIT = {"Hz": 1.0, "kHz": 1e3}


def check_rate(rate_hz: float, path: Path, can_map: bool) -> None:
    """Refuse a sampling rate that no ABR has.

    Args:
        rate_hz: of a recording.
        path: for the message.
        can_map: the format's mapping states the units of times and rates.

    Raises:
        FileError: the message names the units that would give a usual rate.
    """
    if MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        return
    expected = f"{MIN_RATE_HZ:,.0f} to {MAX_RATE_HZ:,.0f} Hz, as ABRs are recorded"
    if can_map and rate_hz > MAX_RATE_HZ:
        expected += "; for times in s: --map time_unit=s"
    elif can_map:
        expected += (
            "; for times in us: --map time_unit=us; for a rate in kHz: --map rate_unit=kHz; for sample numbers: "
        )
        expected += "--map time_unit=samples --map sampling_rate_hz=RATE"
    raise FileError(path, "sampling rate", f"{rate_hz:g} Hz", expected)


def spells_times(numbers: Sequence[float | None]) -> bool:
    """Whether numbers are times in ms of an ABR, so far as one can see: evenly spaced, at a rate that ABRs have."""
    steps = np.diff(np.array(numbers, dtype=np.float64))
    return bool(_is_even(steps) and MIN_RATE_HZ <= 1e3 / steps.mean() <= MAX_RATE_HZ)


def axis_of(
    times: Any,
    rates: NDArray[np.float64] | None,
    starts_ms: NDArray[np.float64] | None,
    lengths: Sequence[int],
    path: Path,
    time_unit: str | None,
    rate_unit: str | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sampling rate in Hz and time of the first sample in ms, of each waveform [N].

    Args:
        times: [T], of all waveforms; None where the file has only rates.
        rates, starts_ms: [N]; None where they are not given.
        lengths: samples of each waveform [N].
        path: for messages.
        time_unit, rate_unit: of `times` and `rates`; None: ms and Hz.

    Raises:
        FileError: neither times nor rates, uneven times, or times that contradict a given rate or start.
        UserError: an unknown unit, or the unit of something that is not given.
    """
    if rates is not None:
        rates = _scaled(rates, path, rate_unit)
    elif rate_unit is not None:
        raise UserError(f"{path}: mapping of rate_unit: needs a mapping of sampling_rate_hz")
    if times is None:
        if time_unit is not None:
            raise UserError(f"{path}: mapping of time_unit: no times in the file; needs a mapping of time_ms")
        return _given(rates, path), np.zeros(len(lengths)) if starts_ms is None else starts_ms
    numbers = np.asarray(times, dtype=np.float64).ravel()
    if set(lengths) != {len(numbers)}:
        raise FileError(path, "time_ms", f"{len(numbers)} times for {max(lengths)} samples", "one time a sample")
    if time_unit == SAMPLES:
        rates = _given(rates, path) * even_rate_hz(numbers, path) / 1e3
        counted = 0.0 if numbers[0] == 1 else numbers[0]  # the first sample may be number 0 or 1
        return rates, counted * 1e3 / rates if starts_ms is None else starts_ms
    if time_unit is not None and time_unit not in MS_PER_UNIT:
        expected = f"must be one of {', '.join(MS_PER_UNIT)}, {SAMPLES}"
        raise UserError(f"{path}: mapping of time_unit: {expected}, but got {time_unit!r}")
    numbers = numbers * MS_PER_UNIT[time_unit or "ms"]
    rate_hz = even_rate_hz(numbers, path)
    _check_agreement(rates, starts_ms, rate_hz, numbers[0], path)
    return np.full(len(lengths), rate_hz), np.full(len(lengths), numbers[0])


def even_rate_hz(times_ms: NDArray[np.float64], path: Path) -> float:
    """Sampling rate of an even time axis [T], to nine digits.

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
    if rates is None or not (rates > 0).all():
        found = "none" if rates is None else f"{rates.min():g}"
        raise FileError(path, "sampling_rate_hz", found, "a positive rate; give it, or time_ms, with a mapping")
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
