"""Stimuli in a trigger channel: changes from its idle value to a code, found in runs of equal samples.

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

SETTLING = 2  # samples: lines of one code do not all switch at once
LEAST_IDLE = 0.5
"""Share of the time that a trigger channel must rest at its idle value."""


@dataclass(frozen=True)
class Runs:
    """A channel as runs of equal samples."""

    starts: NDArray[np.int64]
    """First sample of each run [R]."""
    values: NDArray[np.float64]
    """[R]."""
    n_samples: int

    @classmethod
    def of(cls, pieces: Iterable[NDArray[np.generic]]) -> "Runs":
        """The runs of a channel that comes in pieces."""
        starts, values, passed = [], [], 0
        for piece in pieces:
            first = np.flatnonzero(np.diff(piece, prepend=np.nan) != 0)
            starts.append(first + passed)
            values.append(np.asarray(piece[first], np.float64))
            passed += len(piece)
        start, value = np.concatenate([np.empty(0, np.int64), *starts]), np.concatenate([np.empty(0), *values])
        new = np.diff(value, prepend=np.nan) != 0  # a run may go on in the next piece
        return cls(start[new], value[new], passed)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Samples of each run [R]."""
        return np.diff(self.starts, append=self.n_samples)


def stimuli_in(runs: Runs, path: Path, options: ReadOptions) -> list[tuple[int, str]]:
    """First sample and code of each stimulus: of each change from the idle value, the code that lasts longest.

    The idle value is the most frequent one, or that of the mapping `trigger_idle`; it is reported. So are changes from
    one code to another, which are no stimuli.

    Raises:
        UserError: no value is there for half of the time, or `trigger_idle` is no number.
    """
    if not runs.n_samples:
        return []
    idle = _idle(runs, path, options)
    away, lengths = runs.values != idle, runs.lengths
    excursion = np.cumsum(away & ~np.append(away[:1], away[:-1]))  # 0: before the first change from the idle value
    counted = np.flatnonzero(away & (excursion > 0))
    excursions = np.split(counted, np.flatnonzero(np.diff(excursion[counted])) + 1) if len(counted) else []
    codes = [inside[np.argmax(lengths[inside])] for inside in excursions]
    others = int(np.sum(np.delete(away & (lengths > SETTLING), codes)))
    options.note(f"triggers: idle value {idle:.6g}, {len(codes)} changes from it are stimuli")
    if others:
        options.note(f"triggers: {others} codes do not follow the idle value {idle:.6g}: they are no stimuli")
    return [
        (int(runs.starts[inside[0]]), f"{runs.values[code]:.6g}")
        for inside, code in zip(excursions, codes, strict=True)
    ]


def _idle(runs: Runs, path: Path, options: ReadOptions) -> float:
    if "trigger_idle" in options.mapping:
        given = as_number(options.mapping["trigger_idle"])
        if given is None or given not in runs.values:
            raise UserError(f"{path}: mapping of trigger_idle: must be a value of the trigger channel, as a number")
        return given
    values, number = np.unique(runs.values, return_inverse=True)
    samples = np.bincount(number, runs.lengths)
    most = int(np.argmax(samples))
    if samples[most] < LEAST_IDLE * runs.n_samples:
        raise UserError(
            f"{path}: trigger channel: must rest at one value between stimuli, but the most frequent, "
            f"{values[most]:.6g}, takes {samples[most] / runs.n_samples:.0%} of the time; give the idle value, such as "
            "--map trigger_idle=0"
        )
    return float(values[most])
