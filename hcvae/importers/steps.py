"""Processing steps from a stored recording to the grid of the waveform table.

Order: polarity, band-pass, rejection of sweeps, resampling. The filter is a second-order Butterworth band-pass applied
forward and backward (zero phase: scipy's `sosfiltfilt`); resampling is by cubic spline.

Legend: T samples of the recording, N samples of the grid.
"""

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.signal import butter, sosfiltfilt

from hcvae.importers.recording import Averaging, Band, Recording

USUAL: Literal["usual"] = "usual"
ANTI_ALIAS = 0.4
"""Cut-off of the low-pass before downsampling without a band-pass, as a fraction of the new sampling rate."""
NO_AVERAGING = Averaging(block_sweeps=(), reject_before_uv=None, reject_after_uv=None)
"""For recordings that are averages already."""
MAX_UV = 1e9  # 1000 V: the file is damaged
MIN_SAMPLES = 32  # samples: the filters pad by up to 15


class RecordingSkipped(Exception):
    """Recording that cannot be used; the message is the reason, without any content of the file."""


@dataclass(frozen=True)
class Grid:
    """Sample times of every waveform in the table."""

    samples: int = 200
    rate_hz: float = 20_000.0
    start_ms: float = 0.0

    @property
    def times_ms(self) -> NDArray[np.float64]:
        """Times [N] from stimulus onset."""
        return np.asarray(self.start_ms + np.arange(self.samples) * 1e3 / self.rate_hz, dtype=np.float64)


@dataclass(frozen=True)
class Steps:
    """Processing of each recording; `usual` stands for the default of its format."""

    grid: Grid = field(default_factory=Grid)
    band_hz: Band | Literal["usual"] | None = USUAL
    invert: bool = False
    reject_before_uv: float | Literal["usual"] | None = USUAL
    """Leave out single sweeps with a larger absolute value before the band-pass."""
    reject_after_uv: float | Literal["usual"] | None = USUAL
    """The same, after the band-pass."""
    block_sweeps: tuple[int, ...] | Literal["usual"] = USUAL
    """Number of consecutive accepted sweeps in each average, used in turn."""

    def band_of(self, recording: Recording) -> Band | None:
        """Return the edges of the band-pass in Hz; None: no filter."""
        if self.band_hz == USUAL:
            return recording.usual_band_hz
        return self.band_hz

    def blocks_of(self, recording: Recording) -> tuple[int, ...] | None:
        """Return the sweeps of the averages into which the recording goes; None if it is an average itself."""
        sweeps = recording.values.get("n_averages")
        usual = recording.usual_averaging or NO_AVERAGING
        blocks = usual.block_sweeps
        if self.block_sweeps != USUAL:
            blocks = self.block_sweeps
        if isinstance(sweeps, int) and blocks and sweeps < min(blocks):
            return blocks
        return None

    def rejection_of(self, recording: Recording) -> tuple[float | None, float | None]:
        """Return the largest absolute values in uV of a sweep before and after the band-pass; None: no limit."""
        usual = recording.usual_averaging or NO_AVERAGING
        before_uv = self.reject_before_uv
        if before_uv == USUAL:
            before_uv = usual.reject_before_uv
        after_uv = self.reject_after_uv
        if after_uv == USUAL:
            after_uv = usual.reject_after_uv
        return before_uv, after_uv


MARGIN_MS = 2.0
"""Recorded time beyond an end of the grid from which a band-pass hardly changes that end. With less, the first
millisecond of human responses at 60 dB changed by up to 14 % of their peak to peak."""


def on_grid(recording: Recording, steps: Steps) -> NDArray[np.float64]:
    """Return the processed waveform [N] in uV on the grid.

    Raises:
        RecordingSkipped: it does not cover the grid, is too short for a filter, is sampled too slowly for the band, is
            a rejected sweep, or has impossible voltages.
    """
    signal = recording.signal_uv
    if steps.invert:
        signal = -signal
    if not np.abs(signal).max() <= MAX_UV:
        raise RecordingSkipped(f"samples of more than {MAX_UV:g} uV")
    _check_cover(recording, steps.grid)
    is_sweep = steps.blocks_of(recording) is not None
    max_before_uv, max_after_uv = steps.rejection_of(recording)
    if is_sweep:
        _reject(signal, max_before_uv, "before the band-pass")
    signal = _filtered(signal, recording.sampling_rate_hz, steps.band_of(recording), steps.grid.rate_hz)
    if is_sweep:
        _reject(signal, max_after_uv, "after the band-pass")
    times_ms = recording.start_ms + np.arange(len(signal)) * 1e3 / recording.sampling_rate_hz
    resampled: NDArray[np.float64] = CubicSpline(times_ms, signal)(steps.grid.times_ms)
    return resampled


def is_changed_at_the_ends(recording: Recording, steps: Steps) -> bool:
    """Return whether a band-pass changes the ends of the waveform: the recording hardly goes beyond the grid."""
    if steps.band_of(recording) is None:
        return False
    before_ms = steps.grid.times_ms[0] - recording.start_ms
    after_ms = recording.end_ms - steps.grid.times_ms[-1]
    return bool(min(before_ms, after_ms) < MARGIN_MS)


def _check_cover(recording: Recording, grid: Grid) -> None:
    first = recording.start_ms
    last = recording.end_ms
    margin = 1e-6 * 1e3 / recording.sampling_rate_hz
    if first > grid.times_ms[0] + margin or last < grid.times_ms[-1] - margin:
        needed = f"the grid needs {grid.times_ms[0]:g} to {grid.times_ms[-1]:g}"
        raise RecordingSkipped(f"from {first:g} to {last:g} ms only; {needed}{_covered(first, last, grid)}")


def _covered(first_ms: float, last_ms: float, grid: Grid) -> str:
    """Return the end of a message: options with a grid that the recording covers; empty if none has two samples."""
    step_ms = 1e3 / grid.rate_hz
    skipped = max(0, math.ceil((first_ms - grid.start_ms) / step_ms - 1e-6))
    start_ms = grid.start_ms + skipped * step_ms
    samples = min(grid.samples, math.floor((last_ms - start_ms) / step_ms + 1e-6) + 1)
    if samples < 2:
        return ""
    options = ""
    if skipped:
        options += f" --start-ms {start_ms:g}"
    if samples < grid.samples:
        options += f" --samples {samples}"
    return f";{options} would include them"


def _filtered(signal: NDArray[np.float64], rate_hz: float, band_hz: Band | None, grid_hz: float) -> NDArray[np.float64]:
    if band_hz is None and rate_hz <= grid_hz:
        return signal
    if len(signal) < MIN_SAMPLES:
        raise RecordingSkipped(f"{len(signal)} samples; a filter needs {MIN_SAMPLES}")
    if band_hz is not None and band_hz[1] >= rate_hz / 2:
        raise RecordingSkipped(f"sampled at {rate_hz:g} Hz; a band up to {band_hz[1]:g} Hz needs more than twice that")
    filtered: NDArray[np.float64] = sosfiltfilt(_sections(rate_hz, band_hz, grid_hz), signal)
    return filtered


@lru_cache
def _sections(rate_hz: float, band_hz: Band | None, grid_hz: float) -> NDArray[np.float64]:
    """Return the filter as second-order sections; cached, as its design takes longer than its use."""
    if band_hz is None:
        return butter(4, ANTI_ALIAS * grid_hz, "lowpass", fs=rate_hz, output="sos")
    return butter(2, band_hz, "bandpass", fs=rate_hz, output="sos")


def _reject(signal: NDArray[np.float64], limit_uv: float | None, where: str) -> None:
    if limit_uv is not None and np.abs(signal).max() > limit_uv:
        raise RecordingSkipped(f"sweep of more than {limit_uv:g} uV {where}")
