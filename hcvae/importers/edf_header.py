"""The headers of EDF and BDF files, checked against the length of the file.

Format: Kemp et al. (1992), Electroenceph. clin. Neurophysiol. 82:391; EDF+: doi 10.1016/S1388-2457(03)00123-8; BDF is
the same with 24-bit samples.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path

from hcvae.importers.recording import FileError

EDF, BDF = b"0       ", b"\xffBIOSEMI"
FIXED_BYTES = SIGNAL_BYTES = 256
MAX_SIGNALS = 2048
ANNOTATIONS = ("EDF Annotations", "BDF Annotations", "Status")
UNIT_AT, SAMPLES_AT = 96, 216  # bytes a signal before the fields of units and of samples a record
UNITS = ("uV", "µV", "\xb5V", "mV", "V")


@dataclass(frozen=True)
class EdfHeader:
    """What of the header is needed to choose channels."""

    patient: str
    """As written in the file: may name a person."""
    record_s: float
    records: int
    channels: tuple[str, ...]
    """Of all signals that are no annotations or triggers."""
    has_status: bool


def read_edf_header(path: Path) -> EdfHeader:
    """Read and check the header.

    Raises:
        FileError: fields that are no numbers or do not fit the length of the file, a recording with gaps, or a unit
            that is no voltage.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        fixed = file.read(FIXED_BYTES)
        signals = _integer(fixed, 252, 4, path)
        if not 0 < signals <= MAX_SIGNALS or _integer(fixed, 184, 8, path) != FIXED_BYTES + SIGNAL_BYTES * signals:
            found = f"{signals} signals in a header of another size"
            raise FileError(
                path, "byte 184", found, f"1 to {MAX_SIGNALS} signals, and 256 bytes for each and 256 before"
            )
        variable = file.read(SIGNAL_BYTES * signals)
    labels = _texts(variable, 0, 16, signals)
    samples = [_integer(variable, SAMPLES_AT * signals + 8 * n, 8, path) for n in range(signals)]
    record_bytes = sum(samples) * (3 if fixed.startswith(BDF) else 2)
    records = _integer(fixed, 236, 8, path)
    present = (size - FIXED_BYTES - len(variable)) // record_bytes if min(samples) > 0 else 0
    if len(variable) < SIGNAL_BYTES * signals or present < max(records, 1):
        raise FileError(path, "byte 236", f"{records} records, of which {present} are there", "a complete file")
    if fixed[192:197] in (b"EDF+D", b"BDF+D"):
        raise FileError(path, "byte 192", "a recording with gaps (EDF+D)", "a continuous one; convert it to EDF+C")
    for label, unit in zip(labels, _texts(variable, UNIT_AT * signals, 8, signals), strict=True):
        if label not in ANNOTATIONS and unit not in UNITS:
            raise FileError(path, f"signal {label!r}", f"the unit {unit!r}", "uV, mV or V; leave out other signals")
    return EdfHeader(
        patient=_text(fixed[8:88]),
        record_s=_number(fixed, 244, 8, path),
        records=present if records < 0 else records,
        channels=tuple(label for label in labels if label not in ANNOTATIONS),
        has_status="Status" in labels,
    )


def _integer(raw: bytes, at: int, length: int, path: Path) -> int:
    field = raw[at : at + length].strip()
    if not re.fullmatch(rb"-?\d{1,8}", field):
        raise FileError(path, f"byte {at}", "no number", "a whole number, as in the header of an EDF or BDF file")
    return int(field)


def _number(raw: bytes, at: int, length: int, path: Path) -> float:
    field = raw[at : at + length].strip()
    try:
        number = float(field)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise FileError(path, f"byte {at}", "no such number", "the positive duration of a record in s")
    return number


def _texts(raw: bytes, at: int, length: int, number: int) -> list[str]:
    return [_text(raw[at + length * n : at + length * (n + 1)]) for n in range(number)]


def _text(raw: bytes) -> str:
    return raw.decode("latin-1").strip()
