"""The headers of EDF and BDF files, checked against the length of the file, and the values of their trigger channels.

Format: Kemp et al. (1992), Electroenceph. clin. Neurophysiol. 82:391; EDF+: doi 10.1016/S1388-2457(03)00123-8; BDF is
the same with 24-bit samples. The lower 16 bits of a BDF's Status are triggers, the others the amplifier's state.
"""

import math
import re
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hcvae.importers.columns import as_number
from hcvae.importers.recording import FileError

EDF, BDF = b"0       ", b"\xffBIOSEMI"
FIXED_BYTES = SIGNAL_BYTES = 256
MAX_SIGNALS = 2048
ANNOTATIONS = ("EDF Annotations", "BDF Annotations")
STATUS, TRIGGER_BITS = "status", 0xFFFF
TRIGGERS = re.compile(r"status|trg|trig(ger)?s?|sti|stim(ul(us|i))?|markers?|events?|ttl", re.I)
"""Labels of trigger channels, without a number at their end."""
UNIT_AT, RANGES_AT, SAMPLES_AT = 96, 104, 216  # bytes a signal before the fields of units, ranges and samples a record
UNITS = ("uV", "\xb5V", "mV", "V")
"""Of voltages, in Latin-1."""
PIECE_BYTES = 2**24


@dataclass(frozen=True)
class EdfSignal:
    """One signal of the file."""

    name: str
    """Its label; with a number from 0, such as `Cz-0`, where others have the same label."""
    label: str
    unit: str
    rate_hz: float
    first_byte: int
    """In a data record."""
    samples: int
    """In a data record."""
    offset: float
    """Physical value of the digital 0."""
    step: float
    """Physical value of one digital step."""

    @property
    def is_trigger(self) -> bool:
        """Whether its label is that of a trigger channel."""
        return TRIGGERS.fullmatch(self.label.rstrip(" _-0123456789")) is not None


@dataclass(frozen=True)
class EdfHeader:
    """What of the header is needed to choose channels, and to read triggers."""

    path: Path
    is_bdf: bool
    patient: str
    """As written in the file: may name a person."""
    records: int
    record_bytes: int
    first_byte: int
    """Of the data records."""
    signals: tuple[EdfSignal, ...]
    """Without annotations."""

    def trigger_values(self, signal: EdfSignal) -> Iterator[NDArray[np.float64]]:
        """The samples of a trigger channel, in pieces; of a BDF's Status its lower 16 bits."""
        records = max(1, PIECE_BYTES // self.record_bytes)
        with self.path.open("rb") as file:
            file.seek(self.first_byte)
            for first in range(0, self.records, records):
                n = min(records, self.records - first)
                raw = np.frombuffer(file.read(n * self.record_bytes), np.uint8).reshape(n, -1)
                digital = self._digital(raw, signal)
                if self.is_bdf and signal.label.lower() == STATUS:
                    yield (digital & TRIGGER_BITS).astype(np.float64)
                else:
                    yield signal.offset + signal.step * digital.astype(np.float64)

    def _digital(self, records: NDArray[np.uint8], signal: EdfSignal) -> NDArray[np.int32]:
        """Little-endian samples of 16 or 24 bits, as the upper bits of 32, shifted down with their sign."""
        width = 3 if self.is_bdf else 2
        raw = records[:, signal.first_byte : signal.first_byte + width * signal.samples].reshape(-1, width)
        wide = np.zeros((len(raw), 4), np.uint8)
        wide[:, 4 - width :] = raw
        return wide.view("<i4").ravel() >> (32 - 8 * width)


def read_edf_header(path: Path) -> EdfHeader:
    """Read and check the header.

    Raises:
        FileError: fields that are no numbers or do not fit the length of the file, or a recording with gaps.
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
    is_bdf = fixed.startswith(BDF)
    samples = [_integer(variable, SAMPLES_AT * signals + 8 * n, 8, path) for n in range(signals)]
    record_bytes = sum(samples) * (3 if is_bdf else 2)
    records = _integer(fixed, 236, 8, path)
    present = (size - FIXED_BYTES - len(variable)) // record_bytes if min(samples) > 0 else 0
    if len(variable) < SIGNAL_BYTES * signals or present < max(records, 1):
        raise FileError(path, "byte 236", f"{records} records, of which {present} are there", "a complete file")
    if fixed[192:197] in (b"EDF+D", b"BDF+D"):
        raise FileError(path, "byte 192", "a recording with gaps (EDF+D)", "a continuous one; convert it to EDF+C")
    return EdfHeader(
        path=path,
        is_bdf=is_bdf,
        patient=_text(fixed[8:88]),
        records=present if records < 0 else records,
        record_bytes=record_bytes,
        first_byte=FIXED_BYTES + len(variable),
        signals=tuple(_signals(variable, samples, _number(fixed, 244, 8, path), 3 if is_bdf else 2)),
    )


def unique_names(labels: Sequence[str]) -> list[str]:
    """The labels; those that occur several times with a number from 0, as MNE names them."""
    names = list(labels)
    for label in dict.fromkeys(label for label in labels if labels.count(label) > 1):
        for number, at in enumerate(n for n, other in enumerate(labels) if other == label):
            suffixes = (str(number), *string.ascii_lowercase)
            names[at] = next((name for end in suffixes if (name := f"{label}-{end}") not in names), label)
    return names


def _signals(variable: bytes, samples: Sequence[int], record_s: float, width: int) -> Iterator[EdfSignal]:
    """The signals of the header's `variable` part."""
    number = len(samples)
    labels, units = _texts(variable, 0, 16, number), _texts(variable, UNIT_AT * number, 8, number)
    ranges = [_texts(variable, (RANGES_AT + 8 * field) * number, 8, number) for field in range(4)]
    first_bytes = np.cumsum([0, *samples]) * width
    for n, name in enumerate(unique_names(labels)):
        if labels[n] not in ANNOTATIONS:
            offset, step = _scaling(*(as_number(texts[n]) for texts in ranges))
            rate_hz = samples[n] / record_s
            yield EdfSignal(name, labels[n], units[n], rate_hz, int(first_bytes[n]), samples[n], offset, step)


def _scaling(
    low: float | None, high: float | None, digital_low: float | None, digital_high: float | None
) -> tuple[float, float]:
    """Physical value of the digital 0, and of one step; 0 and 1 where the header gives no ranges."""
    if low is None or high is None or digital_low is None or digital_high is None or digital_low == digital_high:
        return 0.0, 1.0
    step = (high - low) / (digital_high - digital_low)
    return low - step * digital_low, step


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
