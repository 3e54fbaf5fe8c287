"""IHS SmartEP text exports: acquisitions side by side, each with its average and two sub-averages.

Twenty header lines `Name:,value,,,,,,value,...`, a line of column names, then one line for each sample. Each
acquisition has six columns: Average, Buffer1 and Buffer2, in device units and in uV. Checked against exports of an
Intelligent Hearing Systems device (Wang et al. 2021, iScience 24:103285, doi 10.1016/j.isci.2021.103285).

Legend: A acquisitions, T samples.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hcvae.importers.cells import is_null
from hcvae.importers.lines import lines_of, number_in, number_or_none, numbers_in, text_or_none, whole_in, whole_or_none
from hcvae.importers.recording import CellValue, FileError, ReadOptions, Recording
from hcvae.importers.registry import Format

COLUMNS = ("Average:", "Average(uV):", "Buffer1:", "Buffer1(uV):", "Buffer2:", "Buffer2(uV):")
POINTS = re.compile(r"Data Pnt\.?\s*(\(ms\))?:?", re.IGNORECASE)
HALVES = {1: 3, 2: 5}
"""Column in uV by the number of the sub-average."""
USUAL_BAND_HZ = (100.0, 1500.0)
BEFORE_STIMULUS_MS = 2.2
"""Kept time before the stimulus; earlier samples are zeros that the device stores before the epoch."""
EARS = {"R": "R", "L": "L", "RIGHT": "R", "LEFT": "L"}
MAX_HEADER_LINES = 100
MAX_ACQUISITIONS = 256
MAX_SAMPLES = 65536


@dataclass(frozen=True)
class _Header:
    """Header lines, and what the line of column names gives."""

    rows: Mapping[str, tuple[int, list[str]]]
    """Line number and cells by name, without names that are repeated with other cells."""
    acquisitions: int
    times_in_ms: bool
    """Whether the first column has times; otherwise it numbers the samples."""
    path: Path

    def field(self, acquisition: int, name: str) -> tuple[str, Path, int, str]:
        """Return the text of a field and its place, as arguments for `number_in` and its relatives."""
        if name not in self.rows:
            raise FileError(
                self.path, "header", f"no single line {name!r}", "a complete SmartEP export with its header"
            )
        line, cells = self.rows[name]
        at = acquisition * len(COLUMNS)
        if at >= len(cells):
            found = f"no {name} of acquisition {acquisition + 1}"
            raise FileError(self.path, f"line {line}", found, "one value for each acquisition")
        return cells[at], self.path, line, name


def recognises(path: Path, head: bytes) -> bool:
    """Return whether the text begins with the header of SmartEP."""
    return head.lstrip().startswith(b"Identifier:,") and b"Zero Position:," in head


def read(path: Path, options: ReadOptions) -> Iterator[Recording]:
    """Yield both sub-averages of each acquisition, with `half` 1 and 2, from 2.2 ms before the stimulus on.

    Raises:
        FileError: a header line or a sample is missing or is not a number; the zero position is outside the record.
    """
    lines = lines_of(path)
    header = _header(lines, path)
    samples = _samples(lines, header)
    for acquisition in range(header.acquisitions):
        yield from _recordings(header, acquisition, samples, options)


def _header(lines: Iterator[tuple[int, str]], path: Path) -> _Header:
    """Read the lines up to the line of column names."""
    rows: dict[str, tuple[int, list[str]]] = {}
    ambiguous: set[str] = set()
    for number, line in lines:
        name, *cells = map(str.strip, line.split(","))
        found = POINTS.fullmatch(name)
        if found:
            acquisitions = _acquisitions(cells, number, path)
            for repeated in ambiguous:
                del rows[repeated]
            return _Header(rows, acquisitions, times_in_ms=bool(found[1]), path=path)
        if number > MAX_HEADER_LINES:
            break
        name = name.rstrip(":.")
        if rows.setdefault(name, (number, cells))[1] != cells:
            ambiguous.add(name)
    raise FileError(path, "header", "no line 'Data Pnt:' or 'Data Pnt(ms):'", "a complete SmartEP export")


def _acquisitions(cells: list[str], line: int, path: Path) -> int:
    """Return the number of acquisitions from the cells of the line of column names."""
    titles = cells
    if cells and not cells[-1]:
        titles = cells[:-1]
    acquisitions = len(titles) // len(COLUMNS)
    if tuple(titles) != COLUMNS * acquisitions or not 0 < acquisitions <= MAX_ACQUISITIONS:
        expected = f"{', '.join(COLUMNS)} for each of 1 to {MAX_ACQUISITIONS} acquisitions"
        raise FileError(path, f"line {line}", "other column names", expected)
    return acquisitions


def _samples(lines: Iterator[tuple[int, str]], header: _Header) -> NDArray[np.float64]:
    """Return the columns of the file [T, 1 + 6 A]."""
    path = header.path
    width = 1 + len(COLUMNS) * header.acquisitions
    rows: list[list[float]] = []
    for number, line in lines:
        cells = line.rstrip(", ").split(",")
        if not line.strip():
            continue
        if len(cells) != width or len(rows) >= MAX_SAMPLES:
            found = f"{len(cells)} columns in sample {len(rows) + 1}"
            raise FileError(path, f"line {number}", found, f"{width} columns, in at most {MAX_SAMPLES} samples")
        rows.append(numbers_in(cells, path, number, "a sample"))
        if rows[-1][0] != len(rows) and not header.times_in_ms:
            expected = f"{len(rows)}; lines are missing or repeated"
            raise FileError(path, f"line {number}", f"data point {rows[-1][0]:g}", expected)
    if not rows:
        raise FileError(path, "whole file", "no samples", "one line a sample after the line 'Data Pnt:'")
    return np.array(rows)


def _recordings(
    header: _Header, acquisition: int, samples: NDArray[np.float64], options: ReadOptions
) -> Iterator[Recording]:
    field = partial(header.field, acquisition)
    period_us, zero = _axis(header, acquisition, len(samples))
    times_ms = (np.arange(len(samples)) - (zero - 1)) * period_us / 1e3
    if header.times_in_ms and not np.allclose(samples[:, 0], times_ms, rtol=0, atol=0.5 * period_us / 1e3):
        expected = "those of 'Zero Position' and 'Smp. Period'; lines are missing or repeated"
        found = f"other times in acquisition {acquisition + 1}"
        raise FileError(header.path, "column 'Data Pnt(ms):'", found, expected)
    first = max(0, zero - 1 - round(BEFORE_STIMULUS_MS * 1e3 / period_us))
    values = _values(header, acquisition, options) | {"native_rate_hz": 1e6 / period_us}
    subject = text_or_none(field("Identifier")[0])
    for half, column in HALVES.items():
        channel = None
        if "Channel" in header.rows:
            channel = field("Channel")[0] or None
        yield Recording(
            signal_uv=samples[first:, 1 + acquisition * len(COLUMNS) + column],
            sampling_rate_hz=1e6 / period_us,
            start_ms=times_ms[first],
            values=values | {"half": half},
            subject=subject,
            peaks=None,
            usual_band_hz=USUAL_BAND_HZ,
            channel=channel,
        )


def _axis(header: _Header, acquisition: int, n_samples: int) -> tuple[float, int]:
    """Return the sampling period in us, and the number from 1 of the sample at stimulus onset."""
    period_us = number_in(*header.field(acquisition, "Smp. Period"))
    zero = whole_in(*header.field(acquisition, "Zero Position"))
    if not 0.1 <= period_us <= 1000:
        where = f"line {header.rows['Smp. Period'][0]}"
        raise FileError(header.path, where, f"a sampling period of {period_us:g} us", "0.1 to 1000")
    if not 1 <= zero <= n_samples:
        where = f"line {header.rows['Zero Position'][0]}"
        raise FileError(header.path, where, f"zero position {zero}", f"1 to {n_samples}, the samples of the file")
    return period_us, zero


def _values(header: _Header, acquisition: int, options: ReadOptions) -> dict[str, CellValue]:
    """Return the columns of the waveform table that hold for both sub-averages."""
    field = partial(header.field, acquisition)
    frequency = number_or_none(*field("Stim. Freq"))
    sweeps = whole_or_none(*field("Sweeps"))
    if sweeps is not None:
        sweeps //= len(HALVES)
    ear = ""
    if "Ear" in header.rows:
        ear = field("Ear")[0].upper()
    if ear not in EARS and not is_null(ear):
        options.note("an ear that is neither R nor L is not read")
    kind = None
    if frequency:
        kind = "tone_pip"
    elif frequency is not None:
        kind = "click"
    return {
        "ear": EARS.get(ear),
        "stimulus_type": kind,
        "stimulus_frequency_hz": frequency or None,
        "stimulus_level_db": number_or_none(*field("Intensity")),
        "stimulus_rate_hz": number_or_none(*field("Stim. Rate")),
        "n_averages": sweeps,
        "n_artifacts": whole_or_none(*field("Artifacts")),
        "recording_index": acquisition + 1,
    }


FORMAT = Format(
    name="ihs-smartep",
    title="IHS SmartEP text",
    recognises=recognises,
    read=read,
    mapping_names=frozenset({"signal"}),
    channel_choice="signal",
)
