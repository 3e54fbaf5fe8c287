"""TDT BioSig text exports: groups of records, each with a header and one sample in volts a line.

Checked against an export of a TDT BioSig system (Wang et al. 2021, iScience 24:103285, doi
10.1016/j.isci.2021.103285).

Legend: T samples.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hcvae.importers.columns import as_number
from hcvae.importers.lines import lines_of, number_in, whole_in
from hcvae.importers.recording import Averaging, FileError, ReadOptions, Recording, Value
from hcvae.importers.registry import Format

GROUP, RECORD = "ABR Group Header", "Record Number"
FIELD = re.compile(r"\s*([A-Za-z][\w .#-]*?)\s*[:=]\s*(.*?)\s*")
QUANTITY = re.compile(r"(\S+)\s+(Hz|kHz|dB)")
CHANNEL = re.compile(r"(AD )?Chan(nel)?\b", re.IGNORECASE)
USUAL_BAND_HZ = (300.0, 3000.0)
USUAL_AVERAGING = Averaging(block_sweeps=(8, 16, 32), reject_before_uv=55.0, reject_after_uv=10.0)
MAX_POINTS = 2**20
Fields = dict[str, tuple[int, str]]
"""Line and text of each field by its name."""


def recognises(path: Path, head: bytes) -> bool:
    """Whether the text begins with the header of a group."""
    return head.lstrip().startswith(GROUP.encode())


def read(path: Path, options: ReadOptions) -> Iterator[Recording]:
    """Every record, in the order of the file.

    Raises:
        FileError: a field is missing, or is no number, or a record holds another number of points than it says.
    """
    group: Fields = {}
    record: Fields | None = None
    samples: list[float] = []
    for number, line in lines_of(path):
        field = FIELD.fullmatch(line)
        if line.startswith(GROUP) or (field and field[1] == RECORD):
            if record is not None:
                yield _recording(group, record, samples, path)
            samples = []
            if line.startswith(GROUP):
                group, record = {}, None
            else:
                record = {RECORD: (number, line.split(":", 1)[1].strip())}
        elif field:
            if record is not None and samples:
                raise FileError(path, f"line {number}", "a field among the samples", "samples in V, one a line")
            (group if record is None else record)[field[1]] = (number, field[2])
        elif line.strip() and not line.startswith("---"):
            samples.append(_sample(line, record, len(samples), path, number))
    if record is None:
        raise FileError(path, "whole file", f"no {RECORD!r}", "a group with one record or more")
    yield _recording(group, record, samples, path)


def _sample(line: str, record: Fields | None, taken: int, path: Path, number: int) -> float:
    if record is None or "No. Points" not in record or taken >= MAX_POINTS:
        raise FileError(path, f"line {number}", "a line outside a record", "a header line 'Name: value'")
    return number_in(line, path, number, "a sample")


def _recording(group: Fields, record: Fields, samples: list[float], path: Path) -> Recording:
    def number(name: str, unit: str) -> float:
        line, text = _field(record, name, path)
        return number_in(text.removesuffix(unit).strip(), path, line, name)

    def whole(name: str) -> int:
        line, text = _field(record, name, path)
        return whole_in(text, path, line, name)

    points = whole("No. Points")
    if points != len(samples) or not points:
        found = f"{len(samples)} samples"
        raise FileError(path, f"line {record[RECORD][0]}", found, f"{points}, as 'No. Points' says")
    duration_ms = number("Aqu. Duration", "ms")
    period_us = round(1e3 * duration_ms / points, 2)
    if not 0.1 <= period_us <= 10_000:
        line = record["Aqu. Duration"][0]
        raise FileError(path, f"line {line}", f"{duration_ms:g} ms for {points} points", "0.1 us to 10 ms a point")
    frequency_hz = _quantity(record, "Freq")
    values: dict[str, Value] = {
        "stimulus_type": "click" if frequency_hz is None else "tone_pip",
        "stimulus_frequency_hz": frequency_hz,
        "stimulus_level_db": _quantity(record, "Level"),
        "n_averages": whole("No. Averages"),
        "n_artifacts": whole("No. Artifacts"),
        "recording_index": whole_in(record[RECORD][1], path, record[RECORD][0], RECORD),
        "native_rate_hz": 1e6 / period_us,
    }
    return Recording(
        signal_uv=np.array(samples) * 1e6,
        sampling_rate_hz=1e6 / period_us,
        start_ms=number("Onset Delay", "ms"),
        values=values,
        subject=group.get("Subject ID", (0, ""))[1] or None,
        peaks=None,
        usual_band_hz=USUAL_BAND_HZ,
        usual_averaging=USUAL_AVERAGING,
        channel=_channel(record),
    )


def _field(record: Fields, name: str, path: Path) -> tuple[int, str]:
    if name not in record:
        raise FileError(path, f"line {record[RECORD][0]}", f"a record without {name!r}", "a whole header of a record")
    return record[name]


def _channel(record: Fields) -> str | None:
    return next((text for name, (_, text) in record.items() if CHANNEL.match(name) and text), None)


def _quantity(record: Fields, name: str) -> float | None:
    """A stimulus variable in Hz or dB; None where the record does not have it."""
    found = QUANTITY.fullmatch(record.get(name, (0, ""))[1])
    value = as_number(found[1]) if found else None
    return value if found is None or value is None or found[2] != "kHz" else 1e3 * value


FORMAT = Format(
    name="biosig-text",
    title="TDT BioSig text",
    recognises=recognises,
    read=read,
    mapping_names=frozenset({"signal"}),
    channel_choice="signal",
)
