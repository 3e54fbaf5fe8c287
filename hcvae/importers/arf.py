"""TDT BioSig binary files (.arf): averaged records in groups, as BioSigRZ and the older BioSigRP store them.

The maker publishes no description. The layout is the one on which published readers agree (arfread.m of TDT, as used by
AcousticPlotter, doi 10.5281/zenodo.7412173): a file header with the offsets of groups and records, then the groups,
each with a group header and its records. Numbers are little-endian.

Legend: T samples.
"""

import math
import re
import struct
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from hcvae.importers.biosig_variables import stimulus_of
from hcvae.importers.recording import CellValue, FileError, ReadOptions, Recording
from hcvae.importers.registry import Format

MAX_GROUPS = 200
MAX_RECORDS = 2000
FILE_HEADER = struct.Struct(f"<3h{MAX_GROUPS}i{MAX_RECORDS}ii")  # type, groups, records, their offsets, end
GROUP_COUNTS = struct.Struct("<3h")  # group number, first record, records
GROUP_TEXTS = struct.Struct("<16s16s16s50s")  # ID, reference 1, reference 2, memo
VARIABLES = struct.Struct("<100s100s" + "15s" * 10 + "5s" * 10)  # two stimulus files, names and units of variables
GROUP_TAIL = 4 + 4 + 2 + 4 + 92
CURSORS = 10 * 36
USUAL_BAND_HZ = (300.0, 3000.0)


@dataclass(frozen=True)
class _Layout:
    """Layout of a generation of BioSig; they differ in the types of times and of the number of points."""

    times: str
    points: str

    @property
    def group_bytes(self) -> int:
        texts = GROUP_COUNTS.size + GROUP_TEXTS.size + VARIABLES.size
        return texts + struct.calcsize(f"<2{self.times}") + GROUP_TAIL

    @property
    def record(self) -> struct.Struct:
        """Layout of a record header, with the fields:

        number, group, time of the group, new group, stimulus, channel, type, points, onset delay in ms, duration in ms,
        sampling period in us, artefact threshold, gain, coupling, averages, artefacts, begin, end, variables.
        """
        return struct.Struct(f"<2h{self.times}2hBc{self.points}5f3h2{self.times}10f")


BIOSIG_RZ = _Layout(times="q", points="H")
BIOSIG_RP = _Layout(times="i", points="h")


class _File:
    """Open file whose reads are checked against its length."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self.file = file
        self.path = path
        self.size = file.seek(0, 2)

    def error(self, at: int, found: str, expected: str) -> FileError:
        return FileError(self.path, f"byte {at}", found, expected)

    def take(self, at: int, length: int, what: str) -> bytes:
        if not 0 <= at <= self.size - length:
            found = f"{what} of {length} bytes in a file of {self.size}"
            raise self.error(at, found, "a complete file; copy it from the device again")
        self.file.seek(at)
        return self.file.read(length)

    def unpack(self, layout: struct.Struct, at: int, what: str) -> tuple[Any, ...]:
        return layout.unpack(self.take(at, layout.size, what))


@dataclass(frozen=True)
class _Group:
    subject: str | None
    values: dict[str, CellValue]
    stimulus_files: str
    variables: list[tuple[str, str]]  # name and unit of each stimulus variable


def recognises(path: Path, head: bytes) -> bool:
    """Return whether the counts and the first group offset in the header fit an arf file."""
    if len(head) < 10:
        return False
    _, groups, records, first = struct.unpack_from("<3hi", head)
    return bool(0 < groups <= MAX_GROUPS and records > 0 and FILE_HEADER.size <= first < FILE_HEADER.size + 8)


def read(path: Path, options: ReadOptions) -> Iterator[Recording]:
    """Yield every record of the file, in file order.

    Raises:
        FileError: an offset or a size does not fit the file, or a record holds no sampling period or no finite signal.
    """
    with path.open("rb") as handle:
        file = _File(handle, path)
        header = file.unpack(FILE_HEADER, 0, "a file header")
        groups = header[1]
        offsets = header[3 : 3 + MAX_GROUPS]
        first_record = header[3 + MAX_GROUPS]
        if not 0 < groups <= MAX_GROUPS:
            raise file.error(2, f"{groups} groups", f"1 to {MAX_GROUPS}, as in a BioSig .arf file")
        layout = _layout(file, first_record - offsets[0])
        end = FILE_HEADER.size
        for offset in offsets[:groups]:
            if offset < end:
                raise file.error(offset, f"a group that begins before byte {end}", "groups one after another")
            end = yield from _read_group(file, offset, layout, options)


def _layout(file: _File, group_bytes: int) -> _Layout:
    """Return the layout whose group headers have `group_bytes` bytes."""
    for layout in (BIOSIG_RZ, BIOSIG_RP):
        if group_bytes == layout.group_bytes:
            return layout
    sizes = f"{BIOSIG_RZ.group_bytes} (BioSigRZ) or {BIOSIG_RP.group_bytes} (BioSigRP)"
    raise file.error(6 + 4 * MAX_GROUPS, f"a first group header of {group_bytes} bytes", sizes)


def _read_group(file: _File, at: int, layout: _Layout, options: ReadOptions) -> Generator[Recording, None, int]:
    """Yield the records of the group at `at`; return the offset after the last."""
    _, _, records = file.unpack(GROUP_COUNTS, at, "a group header")
    group = _group(file, at + GROUP_COUNTS.size, layout)
    at += layout.group_bytes
    for _ in range(records):
        recording, at = _read_record(file, at, layout, group, options)
        yield recording
    return at


def _group(file: _File, at: int, layout: _Layout) -> _Group:
    """Read the texts of a group header, which begin at `at`."""
    texts = list(map(_text, file.unpack(GROUP_TEXTS, at, "a group header")))
    at += GROUP_TEXTS.size + struct.calcsize(f"<2{layout.times}")
    stimuli = list(map(_text, file.unpack(VARIABLES, at, "a group header")))
    texts_of_group = " | ".join(texts)
    return _Group(
        subject=texts[0] or None,
        values={
            "ear": _word(texts_of_group, {"left ear": "L", "right ear": "R"}),
            "sex": _word(texts_of_group, {"female": "F", "male": "M"}),
        },
        stimulus_files=" ".join(stimuli[:2]),
        variables=list(zip(stimuli[2:12], stimuli[12:], strict=True)),
    )


def _read_record(file: _File, at: int, layout: _Layout, group: _Group, options: ReadOptions) -> tuple[Recording, int]:
    """Return the record at `at`, and the offset after it."""
    fields = file.unpack(layout.record, at, "a record header")
    points, delay_ms, _, period_us = fields[7:11]
    averages, artifacts = fields[14:16]
    if points < 0 or not 0 < period_us < math.inf or not math.isfinite(delay_ms):
        found = f"{points} points of {period_us} us after {delay_ms} ms"
        raise file.error(at, found, "a positive number of points, and a positive sampling period")
    at += layout.record.size + CURSORS
    stored = np.frombuffer(file.take(at, 4 * points, "a waveform"), dtype="<f4")
    if not points or not np.isfinite(stored).all():
        raise file.error(at, f"a waveform of {points} points, not all finite", "finite volts")
    period_us = _shortest(period_us)
    values = group.values | _stimulus(group, fields[-10:], options)
    values |= {"n_averages": None, "n_artifacts": None}
    values |= {"recording_index": fields[0], "native_rate_hz": 1e6 / period_us}
    if averages > 0:
        values["n_averages"] = averages
    if artifacts >= 0:
        values["n_artifacts"] = artifacts
    recording = Recording(
        signal_uv=stored.astype(np.float64) * 1e6,
        sampling_rate_hz=1e6 / period_us,
        start_ms=delay_ms,
        usual_band_hz=USUAL_BAND_HZ,
        values=values,
        subject=group.subject,
        peaks=None,
        channel=str(fields[5]),
    )
    return recording, at + 4 * points


def _stimulus(group: _Group, variables: Sequence[float], options: ReadOptions) -> dict[str, CellValue]:
    """Return the known columns of the stimulus from the values of the group's variables."""
    texts = []
    for (name, unit), value in zip(group.variables, variables, strict=True):
        if math.isfinite(value):
            texts.append((name, f"{_shortest(value):f} {unit}"))
    stimulus = stimulus_of(texts, group.stimulus_files, options)
    return {name: value for name, value in stimulus.items() if value is not None}


def _shortest(value: float) -> float:
    """Return a single-precision number with the fewest digits: 40.96 instead of 40.959999."""
    return float(str(np.float32(value)))


def _text(raw: bytes) -> str:
    return raw.split(b"\0")[0].decode("latin-1").strip()


def _word(text: str, meanings: dict[str, str]) -> str | None:
    """Return the meaning of the first of the words that occurs in `text`; None if none does."""
    for word, meaning in meanings.items():
        if re.search(rf"\b{word}\b", text, re.IGNORECASE):
            return meaning
    return None


FORMAT = Format(
    name="arf",
    title="TDT BioSig .arf",
    recognises=recognises,
    read=read,
    mapping_names=frozenset({"signal"}),
    channel_choice="signal",
)
