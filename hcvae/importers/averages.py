"""Rows of the waveform table from recordings on the grid: sweeps averaged in blocks, noise estimated.

Legend: N samples, S sweeps or records of a block.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from hcvae.importers.recording import CellValue, Peaks, Recording

PER_RECORD = ("recording_index", "n_artifacts", "n_averages", "half")


@dataclass(frozen=True)
class Row:
    """One waveform of the table."""

    signal_uv: NDArray[np.float64]
    """[N]."""
    values: Mapping[str, CellValue]
    subject: str | None
    peaks: Peaks | None
    record_id: str | None = None


@dataclass
class Blocks:
    """Consecutive sweeps of each condition of one file, until they are enough for an average."""

    _open: dict[tuple[object, ...], list[Row]] = field(default_factory=dict)
    _done: dict[tuple[object, ...], int] = field(default_factory=dict)

    def add(self, sweep: Row, blocks: tuple[int, ...]) -> Iterator[Row]:
        """Take a sweep; gives the average that it completes, if any."""
        condition = tuple((name, value) for name, value in sweep.values.items() if name not in PER_RECORD)
        key = (sweep.subject, *condition)
        waiting, done = self._open.setdefault(key, []), self._done.setdefault(key, 0)
        waiting.append(sweep)
        if sum(_sweeps(row) for row in waiting) >= blocks[done % len(blocks)]:
            self._open[key], self._done[key] = [], done + 1
            yield _average(waiting, done + 1)

    @property
    def unused(self) -> int:
        """Sweeps or records that were too few for a last block."""
        return sum(map(len, self._open.values()))


def with_noise_of_halves(rows: list[Row]) -> list[Row]:
    """The rows; halves 1 and 2 of one recording get its residual noise, RMS(1 - 2) / sqrt(2), where they have none.

    The two halves of the device are independent averages, so that their difference holds noise alone, with twice the
    variance of one (Elberling & Don 1984 for the estimate from replicates).
    """
    groups: dict[tuple[object, ...], list[int]] = {}
    for number, row in enumerate(rows):
        if row.values.get("half") in (1, 2) and row.values.get("residual_noise_uv") is None:
            whole = tuple((name, value) for name, value in row.values.items() if name not in ("half", "n_averages"))
            groups.setdefault((row.subject, *whole), []).append(number)
    rows = list(rows)
    for pair in groups.values():
        if len(pair) == 2 and rows[pair[0]].values["half"] != rows[pair[1]].values["half"]:
            difference = rows[pair[0]].signal_uv - rows[pair[1]].signal_uv
            noise = float(np.sqrt(np.mean(difference**2) / 2))
            for number in pair:
                rows[number] = replace(rows[number], values=dict(rows[number].values) | {"residual_noise_uv": noise})
    return rows


def row_of(recording: Recording, signal_uv: NDArray[np.float64], values: Mapping[str, CellValue]) -> Row:
    """A row with the recording's identity and peaks."""
    return Row(signal_uv, values, recording.subject, recording.peaks, recording.record_id)


def _sweeps(row: Row) -> int:
    sweeps = row.values["n_averages"]
    return sweeps if isinstance(sweeps, int) else 1


def _average(block: list[Row], number: int) -> Row:
    """The mean of S records; its residual noise is the standard error across them, as RMS over time."""
    signals = np.stack([row.signal_uv for row in block])
    artifacts = [row.values.get("n_artifacts") for row in block]
    values = dict(block[0].values) | {
        "n_averages": sum(map(_sweeps, block)),
        "n_artifacts": None if None in artifacts else sum(n for n in artifacts if isinstance(n, int)),
        "recording_index": number,
        "half": 0,
    }
    if len(block) > 1:
        values["residual_noise_uv"] = float(np.sqrt(np.mean(signals.var(axis=0, ddof=1) / len(block))))
    return Row(signals.mean(axis=0), values, block[0].subject, None)
