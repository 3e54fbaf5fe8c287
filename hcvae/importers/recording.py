"""Recordings as the device stored them, which every reader yields.

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
"""Value of a column of the waveform table; None where it is unknown."""
Band = tuple[float, float]
"""Lower and upper edge in Hz."""


class FileError(UserError):
    """Unreadable file: the message names the file, the place, what was found there and what was expected."""

    def __init__(self, path: Path, where: str, found: str, expected: str) -> None:
        super().__init__(f"{path}: {where}: got {found}; must be {expected}")


class Pseudonym(str):
    """Subject from a table that an earlier import wrote: already a pseudonym, so it stays unchanged."""

    key: str | None = None
    """Fingerprint of the key that made it; None where the table does not record it."""


class NoWaveforms(FileError):
    """Sheet or part of a file that cannot hold waveforms, such as a sheet of notes."""


@dataclass(frozen=True)
class Peaks:
    """Labelled peaks of waves I to V."""

    latency_ms: NDArray[np.float64]
    amplitude_uv: NDArray[np.float64]
    valid: NDArray[np.bool_]


@dataclass(frozen=True)
class ReadOptions:
    """Options that the user gives for one file."""

    mapping: Mapping[str, str] = field(default_factory=dict)
    """Our name for a column to the name in the file."""
    notes: Counter[str] = field(default_factory=Counter)
    """Unused or unrecognised content of the file, with counts; shown to the user."""
    fixed: frozenset[str] = frozenset()
    """Columns that the user sets to one value for all recordings, so they cannot separate conditions."""

    def mapping_without(self, *names: str) -> dict[str, str]:
        """Return the mapping without the left sides `names`."""
        mapping = dict(self.mapping)
        for name in names:
            mapping.pop(name, None)
        return mapping

    def note(self, text: str) -> None:
        """Record that some content of the file is unused or unrecognised; `text` must not contain its values."""
        self.notes[text] += 1


@dataclass(frozen=True)
class Averaging:
    """Default way of averaging single sweeps."""

    block_sweeps: tuple[int, ...]
    """Number of consecutive accepted sweeps in each average, used in turn; no sweep is in two averages."""
    reject_before_uv: float | None
    """Leave out sweeps that exceed this before the band-pass; None: keep all."""
    reject_after_uv: float | None
    """The same, after the band-pass."""


EEG_BAND_HZ: Band = (100.0, 3000.0)
EEG_AVERAGING = Averaging(block_sweeps=(500,), reject_before_uv=None, reject_after_uv=40.0)
"""For single sweeps from EEG amplifiers."""


@dataclass(frozen=True)
class Recording:
    """Averaged trace or single sweep, as the device stored it."""

    signal_uv: NDArray[np.float64]
    """[T], vertex-positive as stored."""
    sampling_rate_hz: float
    start_ms: float
    """Time of the first sample from stimulus onset."""
    values: Mapping[str, CellValue]
    """Columns of the waveform table; None where the file does not give one."""
    subject: str | None
    """Identity as in the file; replaced by a pseudonym later."""
    peaks: Peaks | None
    usual_band_hz: Band | None = None
    """Default band-pass of this format; None: no filter."""
    usual_averaging: Averaging | None = None
    """Default averaging for recordings of few sweeps; None: recordings are averages already."""
    channel: str | None = None
    """Channel of the device; None where the file does not give one."""
    record_id: str | None = None
    """Identifier from a table; None where there is none."""

    @property
    def end_ms(self) -> float:
        """Time of the last sample from stimulus onset."""
        return self.start_ms + (len(self.signal_uv) - 1) * (1e3 / self.sampling_rate_hz)
