"""TDT BioSig text exports: groups of records, each with a header and one sample in volts on each line.

Checked against an export of a TDT BioSig system (Wang et al. 2021, iScience 24:103285, doi
10.1016/j.isci.2021.103285).

Legend: T samples.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hcvae.importers.biosig_variables import stimulus_of
from hcvae.importers.cells import number_of
from hcvae.importers.lines import lines_of, number_in, text_or_none, whole_in, whole_or_none
from hcvae.importers.recording import Averaging, CellValue, FileError, ReadOptions, Recording
from hcvae.importers.registry import Format

GROUP = "ABR Group Header"
RECORD = "Record Number"
FIELD = re.compile(r"([^:=]*)[:=](.*)")
CHANNEL = re.compile(r"(AD )?Chan(nel)?\b", re.IGNORECASE)
USUAL_BAND_HZ = (300.0, 3000.0)
USUAL_AVERAGING = Averaging(block_sweeps=(8, 16, 32), reject_before_uv=55.0, reject_after_uv=10.0)
MAX_POINTS = 2**20
Fields = dict[str, tuple[int, str]]
"""Line and text of each field by its name."""


@dataclass
class _Record:
    """Content of the lines of a record."""

    fields: Fields = field(default_factory=dict)
    variables: list[tuple[str, str]] = field(default_factory=list)
    """Stimulus variables: names, and values with their units."""
    points: int = 0
    """Number of samples that the header states; 0 before."""
    samples: list[float] = field(default_factory=list)

    def texts(self) -> Iterator[tuple[str, str]]:
        """Yield name and text of each field, then of each stimulus variable."""
        for name, (_, text) in self.fields.items():
            yield name, text
        yield from self.variables

    def field(self, name: str, path: Path) -> tuple[str, Path, int, str]:
        """Return the text of a field and its place, as arguments for `number_in` and its relatives."""
        if name not in self.fields:
            where = f"line {self.fields[RECORD][0]}"
            raise FileError(path, where, f"a record without {name!r}", "a complete record header")
        line, text = self.fields[name]
        return text, path, line, name

    def milliseconds(self, name: str, path: Path) -> float:
        """Return a time such as `10 ms`."""
        text, _, line, _ = self.field(name, path)
        return number_in(text.removesuffix("ms").strip(), path, line, name)


def recognises(path: Path, head: bytes) -> bool:
    """Return whether the text begins with the header of a group."""
    return head.lstrip().startswith(GROUP.encode())


def read(path: Path, options: ReadOptions) -> Iterator[Recording]:
    """Yield every record, in file order.

    Raises:
        FileError: a field is missing or is not a number, or a record does not have the stated number of points.
    """
    group: Fields = {}
    record: _Record | None = None
    lines = lines_of(path)
    for number, line in lines:
        if record is not None and record.points and not record.samples and number_of(line) is not None:
            what = f"one of {record.points} samples"
            record.samples = [number_in(line, path, number, what), *lines.numbers(record.points - 1, what)]
            continue
        name, text = _field(line)
        if record is not None and (line.startswith(GROUP) or name == RECORD):
            yield _recording(group, record, path, options)
        if line.startswith(GROUP):
            group = {}
            record = None
        elif name:
            if name == RECORD:
                record = _Record()
            _add_field(name, text, group, record, path, number)
        elif line.strip() and not line.startswith("---"):
            expected = "a header line 'Name: value'"
            if record is not None and record.samples:
                expected = f"{record.points} samples, as 'No. Points' states"
            raise FileError(path, f"line {number}", "a line that is no part of a record", expected)
    if record is None:
        raise FileError(path, "whole file", f"no {RECORD!r}", "a group with one record or more")
    yield _recording(group, record, path, options)


def _field(line: str) -> tuple[str, str]:
    """Return name and text of a header line; empty if it is something else."""
    found = FIELD.fullmatch(line)
    if found is None:
        return "", ""
    return found[1].strip(), found[2].strip()


def _add_field(name: str, text: str, group: Fields, record: _Record | None, path: Path, number: int) -> None:
    if record is not None and record.samples:
        raise FileError(path, f"line {number}", "a field among the samples", "samples in V, one a line")
    if record is not None and "Variables" in record.fields:
        record.variables.append((name, text))
        return
    if record is not None and name == "No. Points":
        record.points = min(whole_in(text, path, number, name), MAX_POINTS)
    fields = group
    if record is not None:
        fields = record.fields
    if fields.setdefault(name, (number, text))[1] != text:
        expected = f"the one of line {fields[name][0]} only"
        raise FileError(path, f"line {number}", "a repeated field", expected)


def _recording(group: Fields, record: _Record, path: Path, options: ReadOptions) -> Recording:
    period_us = _period_us(record, path)
    values = _values(group, record, path, options) | {"native_rate_hz": 1e6 / period_us}
    _, subject = group.get("Subject ID", (0, ""))
    return Recording(
        signal_uv=np.array(record.samples) * 1e6,
        sampling_rate_hz=1e6 / period_us,
        start_ms=record.milliseconds("Onset Delay", path),
        values=values,
        subject=text_or_none(subject),
        peaks=None,
        usual_band_hz=USUAL_BAND_HZ,
        usual_averaging=USUAL_AVERAGING,
        channel=_channel(record),
    )


def _period_us(record: _Record, path: Path) -> float:
    """Return the sampling period, after a check of the number of samples."""
    points = whole_in(*record.field("No. Points", path))
    if points != len(record.samples) or not points:
        where = f"line {record.fields[RECORD][0]}"
        expected = f"{points}, as in 'No. Points', and at least one"
        raise FileError(path, where, f"{len(record.samples)} samples", expected)
    duration_ms = record.milliseconds("Aqu. Duration", path)
    period_us = round(1e3 * duration_ms / points, 2)
    if not 0.1 <= period_us <= 10_000:
        where = f"line {record.fields['Aqu. Duration'][0]}"
        raise FileError(path, where, f"{duration_ms:g} ms for {points} points", "0.1 us to 10 ms a point")
    return period_us


def _values(group: Fields, record: _Record, path: Path, options: ReadOptions) -> dict[str, CellValue]:
    """Return the columns of the waveform table."""
    files = []
    for name, (_, text) in group.items():
        if name.startswith("SigGen File"):
            files.append(text)
    return stimulus_of(record.variables, " ".join(files), options) | {
        "n_averages": whole_or_none(*record.field("No. Averages", path)),
        "n_artifacts": whole_or_none(*record.field("No. Artifacts", path)),
        "recording_index": whole_in(*record.field(RECORD, path)),
    }


def _channel(record: _Record) -> str | None:
    """Return the first channel among the fields and the stimulus variables."""
    for name, text in record.texts():
        if CHANNEL.match(name) and text:
            return text
    return None


FORMAT = Format(
    name="biosig-text",
    title="TDT BioSig text",
    recognises=recognises,
    read=read,
    mapping_names=frozenset({"signal"}),
    channel_choice="signal",
)
