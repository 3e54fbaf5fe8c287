"""Stimuli in a trigger channel: changes from the idle value to a code, found in runs of equal samples.

Legend: R runs.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hcvae.errors import UserError
from hcvae.importers.columns import as_number
from hcvae.importers.recording import ReadOptions

SETTLING = 2  # samples: the lines of one code do not all switch at once
MIN_IDLE_AT_START = 0.5
"""Smallest share of the time at the idle value, if the recording begins with it."""
MIN_IDLE = 0.9
"""The same, if it begins with another value."""


@dataclass(frozen=True)
class Runs:
    """Channel as runs of equal samples."""

    starts: NDArray[np.int64]
    """First sample of each run [R]."""
    values: NDArray[np.float64]
    """Value of each run [R]."""
    n_samples: int

    @classmethod
    def of(cls, pieces: Iterable[NDArray[np.generic]]) -> "Runs":
        """Return the runs of a channel that comes in pieces."""
        starts = [np.empty(0, np.int64)]
        values = [np.empty(0)]
        passed = 0
        for piece in pieces:
            first = np.flatnonzero(np.diff(piece, prepend=np.nan) != 0)
            starts.append(first + passed)
            values.append(np.asarray(piece[first], np.float64))
            passed += len(piece)
        start = np.concatenate(starts)
        value = np.concatenate(values)
        new = np.diff(value, prepend=np.nan) != 0  # a run may continue in the next piece
        return cls(start[new], value[new], passed)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Number of samples of each run [R]."""
        return np.diff(self.starts, append=self.n_samples)


def timed_stimuli_in(runs: Runs, rate_hz: float, path: Path, options: ReadOptions) -> list[tuple[float, str]]:
    """Return time in s and code of each stimulus in a channel with this sampling rate; see `stimuli_in`."""
    return [(at / rate_hz, code) for at, code in stimuli_in(runs, path, options)]


def stimuli_in(runs: Runs, path: Path, options: ReadOptions) -> list[tuple[int, str]]:
    """Return first sample and code of each stimulus: of each change from the idle value, the first code that lasts.

    The idle value is the most frequent value, or that of the mapping `trigger_idle`; a note reports it. Another note
    reports changes from one code to another, which are not stimuli.

    Raises:
        UserError: the idle value is uncertain, or `trigger_idle` does not occur in the channel.
    """
    if not runs.n_samples:
        return []
    idle = _idle(runs, path, options)
    away = runs.values != idle
    lengths = runs.lengths
    excursion = np.cumsum(away & ~np.append(away[:1], away[:-1]))  # 0: before the first change from the idle value
    counted = np.flatnonzero(away & (excursion > 0))
    excursions: list[NDArray[np.intp]] = []
    if len(counted):
        excursions = np.split(counted, np.flatnonzero(np.diff(excursion[counted])) + 1)
    codes = []
    stimuli = []
    for inside in excursions:
        first_lasting = np.argmax(np.minimum(lengths[inside], SETTLING + 1))
        code = inside[first_lasting]
        codes.append(code)
        stimuli.append((int(runs.starts[inside[0]]), f"{runs.values[code]:.6g}"))
    others = int(np.sum(np.delete(away & (lengths > SETTLING), codes)))
    options.note(f"triggers: idle value {idle:.6g}, {len(codes)} changes from it are stimuli")
    if others:
        options.note(f"triggers: {others} codes do not follow the idle value {idle:.6g}: they are no stimuli")
    return stimuli


def _idle(runs: Runs, path: Path, options: ReadOptions) -> float:
    """Return the idle value, of the mapping or the most frequent one."""
    if "trigger_idle" in options.mapping:
        given = as_number(options.mapping["trigger_idle"])
        if given is None or given not in runs.values:
            raise UserError(f"{path}: mapping of trigger_idle: must be a value of the trigger channel, as a number")
        return given
    values, number = np.unique(runs.values, return_inverse=True)
    samples = np.bincount(number, runs.lengths)
    most = int(np.argmax(samples))
    share = samples[most] / runs.n_samples
    first = runs.values[0]
    min_share = MIN_IDLE
    if values[most] == first:
        min_share = MIN_IDLE_AT_START
    if share < min_share:
        raise UserError(
            f"{path}: trigger channel: must rest at one value between stimuli, but begins with {first:.6g} and has "
            f"{values[most]:.6g} for {share:.0%} of the time; give the idle value, as --map trigger_idle={first:.6g}"
        )
    return float(values[most])
