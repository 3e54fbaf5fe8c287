"""What every reader gives: recordings as the device stored them.

Legend: T samples, 5 waves I to V.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hcvae.errors import UserError

CellValue = str | float | int | bool | None
Band = tuple[float, float]
"""Lower and upper edge in Hz."""


class FileError(UserError):
    """A file that cannot be read: names the file and the place, what was found there, and what was expected."""

    def __init__(self, path: Path, where: str, found: str, expected: str) -> None:
        super().__init__(f"{path}: {where}: got {found}; must be {expected}")


class Pseudonym(str):
    """The subject of a table that an earlier import wrote: already a pseudonym, so that it is kept."""

    key: str | None = None
    """Fingerprint of the key that it was made with; None where the table does not hold it."""


class NoWaveforms(FileError):
    """A sheet or a part of a file that has no place for waveforms, such as one of notes."""


@dataclass(frozen=True)
class Peaks:
    """Labelled peaks of waves I to V."""

    latency_ms: NDArray[np.float64]
    amplitude_uv: NDArray[np.float64]
    valid: NDArray[np.bool_]


@dataclass(frozen=True)
class ReadOptions:
    """What the user says about a file."""

    mapping: Mapping[str, str] = field(default_factory=dict)
    """Our name to the file's."""
    notes: Counter[str] = field(default_factory=Counter)
    """What of the file was not used or not understood, and how often; shown to the user."""
    fixed: frozenset[str] = frozenset()
    """Columns that the user gives one value for all recordings: they keep none apart."""

    def note(self, text: str) -> None:
        """Report something of the file that is not used or not understood; `text` must not repeat its values."""
        self.notes[text] += 1


@dataclass(frozen=True)
class Averaging:
    """How single sweeps become averages where the user says nothing."""

    block_sweeps: tuple[int, ...]
    """Consecutive accepted sweeps of the averages, in turn; no sweep is in two."""
    reject_before_uv: float | None
    """Sweeps that exceed this before the band-pass are left out; None: none are."""
    reject_after_uv: float | None


EEG_BAND_HZ: Band = (100.0, 3000.0)
EEG_AVERAGING = Averaging(block_sweeps=(500,), reject_before_uv=None, reject_after_uv=40.0)
"""Of single sweeps that an amplifier of brain signals recorded."""


@dataclass(frozen=True)
class Recording:
    """One averaged trace, or one sweep, as the device stored it."""

    signal_uv: NDArray[np.float64]
    """[T], vertex-positive as stored."""
    sampling_rate_hz: float
    start_ms: float
    """Time of the first sample from stimulus onset."""
    values: Mapping[str, CellValue]
    """Columns of the waveform table; None where the file does not say."""
    subject: str | None
    """Identity as the file has it; becomes a pseudonym."""
    peaks: Peaks | None
    usual_band_hz: Band | None = None
    """Band-pass that such recordings are given where the user names none; None: they stay as they are."""
    usual_averaging: Averaging | None = None
    """For recordings of few sweeps, which are to be averaged; None: they are averages."""
    channel: str | None = None
    """Channel of the device; None where the file does not say."""
    record_id: str | None = None
    """The identifier that a table has for it; None where there is none."""
