"""Plausible ranges of the columns of a waveform table: numbers outside have another unit, or stand for missing values.

`hcvae import` refuses such numbers, training refuses them in the columns of the condition, and `hcvae inspect` reports
them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

HIGHPASS = "highpass_hz"
LOWPASS = "lowpass_hz"
MAX_SWEEPS = 10_000_000  # 24 hours at 100 stimuli per second
MAX_DAYS = 45_000  # 123 years: the longest human life


@dataclass(frozen=True)
class PlausibleRange:
    """Range of a column, with both ends."""

    minimum: float
    maximum: float
    unit: str = ""

    def __contains__(self, number: float) -> bool:
        return self.minimum <= number <= self.maximum

    def __str__(self) -> str:
        return f"{self.minimum:,.10g} to {self.maximum:,.10g} {self.unit}".rstrip()


SAMPLING_RATE = PlausibleRange(2_000, 1_000_000, "Hz")  # ABRs have components up to 2 kHz; 2 kHz: 20 samples in 10 ms
LEVEL = PlausibleRange(-120, 200, "dB")  # attenuators reach 120 dB; 194 dB SPL is a pressure of one atmosphere
PLAUSIBLE_RANGES = {
    "age_days": PlausibleRange(0, MAX_DAYS, "days"),
    "age_years": PlausibleRange(0, MAX_DAYS / 365.25 // 1, "years"),
    "stimulus_frequency_hz": PlausibleRange(100, 200_000, "Hz"),  # bursts below are longer than the ABR; bats, dolphins
    "stimulus_level_db": LEVEL,
    "threshold_db": LEVEL,
    "stimulus_rate_hz": PlausibleRange(0.1, 1_000, "per second"),  # above, even maximum length sequences end
    "n_averages": PlausibleRange(1, MAX_SWEEPS, "sweeps"),
    "n_artifacts": PlausibleRange(0, MAX_SWEEPS, "sweeps"),
    "recording_index": PlausibleRange(0, 2**31 - 1),  # a number of an acquisition, in 32 bits
    "half": PlausibleRange(0, 2),  # 0: the whole average
    "residual_noise_uv": PlausibleRange(0, 1_000, "uV"),  # single sweeps of an EEG with muscle artefacts stay below
    HIGHPASS: PlausibleRange(0, 5_000, "Hz"),  # 0: from DC; the ABR has no components above 3 kHz
    LOWPASS: PlausibleRange(100, 500_000, "Hz"),  # 500 kHz: half the highest sampling rate
    "native_rate_hz": SAMPLING_RATE,
}
"""Range by column."""


def spread(numbers: NDArray[np.float64]) -> str:
    """Return the smallest and the largest of one or more numbers, for messages."""
    if numbers.min() == numbers.max():
        return f"{numbers[0]:g}"
    return f"{numbers.min():g} to {numbers.max():g}"


def is_reversed_band(highpass_hz: object, lowpass_hz: object) -> bool:
    """Return whether both edges of a band-pass are known, and the lower one is not below the upper one."""
    if not isinstance(highpass_hz, int | float) or not isinstance(lowpass_hz, int | float):
        return False
    return highpass_hz >= lowpass_hz


def is_logical(name: str, column: pa.ChunkedArray) -> bool:
    """Return whether a column that must hold numbers holds logical values, which would be read as 0 and 1."""
    return name in PLAUSIBLE_RANGES and pa.types.is_boolean(column.type)


def implausible_rows(columns: Mapping[str, pa.ChunkedArray]) -> Iterator[tuple[str, NDArray[np.bool_], str]]:
    """Yield each column with implausible numbers, which of its N rows have one [N], and what would be right.

    Args:
        columns: [N] each; only those of type float64 are checked, and nulls are plausible.
    """
    numbers = {name: column.to_numpy() for name, column in columns.items() if pa.types.is_float64(column.type)}
    for name, expected in PLAUSIBLE_RANGES.items():
        if name in numbers:
            outside = (numbers[name] < expected.minimum) | (numbers[name] > expected.maximum)
            if outside.any():
                yield name, outside, str(expected)
    if HIGHPASS in numbers and LOWPASS in numbers:
        is_reversed = numbers[HIGHPASS] >= numbers[LOWPASS]
        if is_reversed.any():
            yield HIGHPASS, is_reversed, f"below {LOWPASS}"
