"""IHS SmartEP text exports: acquisitions side by side, each with its average and two sub-averages.

Twenty header lines `Name:,value,,,,,,value,...`, a line of column names, then one line a sample. Each acquisition
has six columns: Average, Buffer1 and Buffer2, in device units and in uV. Checked against exports of an Intelligent
Hearing Systems device (Wang et al. 2021, iScience 24:103285, doi 10.1016/j.isci.2021.103285).

Legend: A acquisitions, T samples.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hcvae.importers.lines import lines_of, number_in, whole_in
from hcvae.importers.recording import FileError, ReadOptions, Recording, Value
from hcvae.importers.registry import Format

COLUMNS = ("Average:", "Average(uV):", "Buffer1:", "Buffer1(uV):", "Buffer2:", "Buffer2(uV):")
HALVES = {1: 3, 2: 5}
"""Sub-average to its column in uV."""
USUAL_BAND_HZ = (100.0, 1500.0)
BEFORE_STIMULUS_MS = 2.2
"""The device stores zeros before the epoch; what it records before the stimulus is kept from here on."""
EARS = {"R": "R", "L": "L", "RIGHT": "R", "LEFT": "L"}
MAX_HEADER_LINES, MAX_ACQUISITIONS, MAX_SAMPLES = 100, 256, 65536


@dataclass(frozen=True)
class _Header:
    """Fields of each acquisition by name, with the line that each name stands on."""

    fields: list[dict[str, str]]
    lines: Mapping[str, int]
    path: Path

    def number(self, acquisition: int, name: str) -> float:
        return number_in(self._text(acquisition, name), self.path, self.lines[name], name)

    def whole(self, acquisition: int, name: str) -> int:
        return whole_in(self._text(acquisition, name), self.path, self.lines[name], name)

    def _text(self, acquisition: int, name: str) -> str:
        if name not in self.lines:
            raise FileError(self.path, "header", f"no line {name!r}", "a whole SmartEP export with its header")
        return self.fields[acquisition][name]


def recognises(path: Path, head: bytes) -> bool:
    """Whether the text begins with SmartEP's header."""
    return head.startswith(b"Identifier:,") and b"\nZero Position:," in head


def read(path: Path, options: ReadOptions) -> Iterator[Recording]:
    """Both sub-averages of each acquisition, with `half` 1 and 2, from 2.2 ms before the stimulus on.

    Raises:
        FileError: a header line or a sample is missing, or is no number; a zero position outside the record.
    """
    lines = lines_of(path)
    header = _header(lines, path)
    signals = _samples(lines, len(header.fields), path)
    for acquisition in range(len(header.fields)):
        yield from _recordings(header, acquisition, signals)


def _header(lines: Iterator[tuple[int, str]], path: Path) -> _Header:
    rows: dict[str, tuple[int, list[str]]] = {}
    for number, line in lines:
        name, *cells = (cell.strip() for cell in line.split(","))
        if name == "Data Pnt:":
            titles = cells[:-1] if cells and not cells[-1] else cells
            acquisitions = len(titles) // len(COLUMNS)
            if tuple(titles) != COLUMNS * acquisitions or not 0 < acquisitions <= MAX_ACQUISITIONS:
                right = f"{', '.join(COLUMNS)} for each of 1 to {MAX_ACQUISITIONS} acquisitions"
                raise FileError(path, f"line {number}", "other column names", right)
            fields = [
                {name: _cell(row, acquisition, path) for name, row in rows.items()}
                for acquisition in range(acquisitions)
            ]
            return _Header(fields, {name: row[0] for name, row in rows.items()}, path)
        if number > MAX_HEADER_LINES:
            break
        rows[name.rstrip(":.")] = (number, cells)
    raise FileError(path, "header", "no line 'Data Pnt:'", "a whole SmartEP export")


def _cell(row: tuple[int, list[str]], acquisition: int, path: Path) -> str:
    line, cells = row
    at = acquisition * len(COLUMNS)
    if at >= len(cells):
        right = "one value for each acquisition"
        raise FileError(path, f"line {line}", f"no value for acquisition {acquisition + 1}", right)
    return cells[at]


def _samples(lines: Iterator[tuple[int, str]], acquisitions: int, path: Path) -> NDArray[np.float64]:
    """[T, 1 + 6 A], as in the file."""
    width = 1 + len(COLUMNS) * acquisitions
    rows: list[list[float]] = []
    for number, line in lines:
        cells = line.rstrip(", ").split(",")
        if not line.strip():
            continue
        if len(cells) != width or len(rows) >= MAX_SAMPLES:
            found = f"{len(cells)} columns in sample {len(rows) + 1}"
            raise FileError(path, f"line {number}", found, f"{width} columns, in at most {MAX_SAMPLES} samples")
        rows.append([number_in(cell, path, number, "a sample") for cell in cells])
        if rows[-1][0] != len(rows):
            right = f"{len(rows)}; lines are missing or doubled"
            raise FileError(path, f"line {number}", f"data point {rows[-1][0]:g}", right)
    if not rows:
        raise FileError(path, "whole file", "no samples", "one line a sample after the line 'Data Pnt:'")
    return np.array(rows)


def _recordings(header: _Header, acquisition: int, samples: NDArray[np.float64]) -> Iterator[Recording]:
    number, whole, path = header.number, header.whole, header.path
    period_us = number(acquisition, "Smp. Period")
    zero = whole(acquisition, "Zero Position")
    if not 0.1 <= period_us <= 1000:
        right = "0.1 to 1000"
        raise FileError(path, f"line {header.lines['Smp. Period']}", f"a sampling period of {period_us:g} us", right)
    if not 1 <= zero <= len(samples):
        where, right = f"line {header.lines['Zero Position']}", f"1 to {len(samples)}, the samples of the file"
        raise FileError(path, where, f"zero position {zero}", right)
    first = max(0, zero - 1 - round(BEFORE_STIMULUS_MS * 1e3 / period_us))
    frequency, sweeps = number(acquisition, "Stim. Freq"), whole(acquisition, "Sweeps")
    values: dict[str, Value] = {
        "ear": EARS.get(header.fields[acquisition].get("Ear", "").upper()),
        "stimulus_type": "tone_pip" if frequency else "click",
        "stimulus_frequency_hz": frequency or None,
        "stimulus_level_db": number(acquisition, "Intensity"),
        "stimulus_rate_hz": number(acquisition, "Stim. Rate"),
        "n_averages": sweeps // len(HALVES),
        "n_artifacts": whole(acquisition, "Artifacts"),
        "recording_index": acquisition + 1,
        "native_rate_hz": 1e6 / period_us,
    }
    for half, column in HALVES.items():
        yield Recording(
            signal_uv=samples[first:, 1 + acquisition * len(COLUMNS) + column],
            sampling_rate_hz=1e6 / period_us,
            start_ms=(first - (zero - 1)) * period_us / 1e3,
            values=values | {"half": half},
            subject=header.fields[acquisition].get("Identifier") or None,
            peaks=None,
            usual_band_hz=USUAL_BAND_HZ,
            channel=header.fields[acquisition].get("Channel") or None,
        )


FORMAT = Format(
    name="ihs-smartep",
    title="IHS SmartEP text",
    recognises=recognises,
    read=read,
    mapping_names=frozenset({"signal"}),
    channel_choice="signal",
)
