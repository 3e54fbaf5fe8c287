"""Rows of the waveform table: averages of blocks of sweeps, and estimates of residual noise.

Legend: N samples, S sweeps or records of a block.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from hcvae.importers.recording import CellValue, Peaks, Recording

PER_RECORD = ("recording_index", "n_artifacts", "n_averages", "half")
"""Columns that may differ between the sweeps of one condition."""


@dataclass(frozen=True)
class Row:
    """Row of the table: one waveform and its columns."""

    signal_uv: NDArray[np.float64]
    """[N]."""
    values: Mapping[str, CellValue]
    subject: str | None
    peaks: Peaks | None
    record_id: str | None = None


@dataclass
class Blocks:
    """Consecutive sweeps of each condition of one file, collected until they are enough for an average."""

    _open: dict[tuple[object, ...], list[Row]] = field(default_factory=dict)
    _done: dict[tuple[object, ...], int] = field(default_factory=dict)

    def add(self, sweep: Row, blocks: tuple[int, ...]) -> Iterator[Row]:
        """Add a sweep, and yield the average that it completes, if any."""
        key = _condition(sweep, PER_RECORD)
        block = self._open.setdefault(key, [])
        done = self._done.setdefault(key, 0)
        block.append(sweep)
        if sum(map(_sweeps, block)) >= blocks[done % len(blocks)]:
            self._open[key] = []
            self._done[key] = done + 1
            yield _average(block, done + 1)

    @property
    def unused(self) -> int:
        """Number of sweeps or records in incomplete last blocks."""
        return sum(map(len, self._open.values()))


def with_noise_of_halves(rows: list[Row]) -> list[Row]:
    """Return the rows; set the residual noise of halves 1 and 2 of one recording, unless they have one.

    The noise is RMS(1 - 2) / sqrt(2): the two halves are independent averages, so their difference contains only
    noise, with twice the variance of one (Elberling & Don 1984 for the estimate from replicates).
    """
    groups: dict[tuple[object, ...], list[int]] = {}
    for number, row in enumerate(rows):
        if row.values.get("half") in (1, 2) and row.values.get("residual_noise_uv") is None:
            whole = _condition(row, ("half", "n_averages"))
            groups.setdefault(whole, []).append(number)
    rows = list(rows)
    for numbers in groups.values():
        pair = [rows[number] for number in numbers]
        if len(pair) != 2 or pair[0].values["half"] == pair[1].values["half"]:
            continue
        difference = pair[0].signal_uv - pair[1].signal_uv
        noise = float(np.sqrt(np.mean(difference**2) / 2))
        for number, row in zip(numbers, pair, strict=True):
            rows[number] = replace(row, values=dict(row.values) | {"residual_noise_uv": noise})
    return rows


def row_of(recording: Recording, signal_uv: NDArray[np.float64], values: Mapping[str, CellValue]) -> Row:
    """Return a row with the recording's identity and peaks."""
    return Row(signal_uv, values, recording.subject, recording.peaks, recording.record_id)


def _condition(row: Row, ignored: Collection[str]) -> tuple[object, ...]:
    """Return the subject of a row and its columns without the `ignored` ones: equal for rows that belong together."""
    condition: list[object] = [row.subject]
    for name, value in row.values.items():
        if name not in ignored:
            condition.append((name, value))
    return tuple(condition)


def _sweeps(row: Row) -> int:
    sweeps = row.values["n_averages"]
    if isinstance(sweeps, int):
        return sweeps
    return 1


def _average(block: list[Row], number: int) -> Row:
    """Return the mean of S records; its residual noise is their standard error, as RMS over time."""
    signals = np.stack([row.signal_uv for row in block])
    values = dict(block[0].values) | {
        "n_averages": sum(map(_sweeps, block)),
        "n_artifacts": _artifacts(block),
        "recording_index": number,
        "half": 0,
    }
    if len(block) > 1:
        values["residual_noise_uv"] = float(np.sqrt(np.mean(signals.var(axis=0, ddof=1) / len(block))))
    return Row(signals.mean(axis=0), values, block[0].subject, None)


def _artifacts(block: list[Row]) -> int | None:
    """Return the number of artefacts in a block; None if a record does not give it."""
    total = 0
    for row in block:
        artifacts = row.values.get("n_artifacts")
        if artifacts is None:
            return None
        if isinstance(artifacts, int):
            total += artifacts
    return total
