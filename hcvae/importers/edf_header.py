"""Headers of EDF and BDF files, checked against the length of the file, and values of their trigger channels.

Format: Kemp et al. (1992), Electroenceph. clin. Neurophysiol. 82:391; EDF+: doi 10.1016/S1388-2457(03)00123-8; BDF is
the same with 24-bit samples. The lower 16 bits of the Status of a BDF are triggers, the upper ones the amplifier's
state.
"""

import math
import re
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hcvae.counting import repeated
from hcvae.importers.columns import as_number
from hcvae.importers.recording import FileError

EDF = b"0       "
BDF = b"\xffBIOSEMI"
FIXED_BYTES = SIGNAL_BYTES = 256
MAX_SIGNALS = 2048
ANNOTATIONS = ("EDF Annotations", "BDF Annotations")
STATUS = "status"
TRIGGER_BITS = 0xFFFF
TRIGGERS = re.compile(r"status|trg|trig(ger)?s?|sti|stim(ul(us|i))?|markers?|events?|ttl", re.I)
"""Labels of trigger channels, without a number at the end."""
UNIT_AT = 96  # bytes a signal before the fields of units
RANGES_AT = 104  # the same, before physical and digital minimum and maximum
SAMPLES_AT = 216  # the same, before the numbers of samples a record
UNITS = ("uV", "\xb5V", "mV", "V")
"""Units of voltage, in Latin-1."""
PIECE_BYTES = 2**24


@dataclass(frozen=True)
class EdfSignal:
    """Signal of the file."""

    name: str
    """Label, with a number from 0 if it is repeated, such as `Cz-0`."""
    label: str
    unit: str
    rate_hz: float
    first_byte: int
    """Position in a data record."""
    samples: int
    """Number of samples in a data record."""
    offset: float
    """Physical value of the digital 0."""
    step: float
    """Physical value of one digital step; 0 if the header gives no such ranges."""

    @property
    def is_trigger(self) -> bool:
        """Whether the label is one of a trigger channel."""
        return TRIGGERS.fullmatch(self.label.rstrip(" _-0123456789")) is not None


@dataclass(frozen=True)
class EdfHeader:
    """Fields of the header that are needed to choose channels and to read triggers."""

    path: Path
    is_bdf: bool
    patient: str
    """As written in the file; may name a person."""
    records: int
    unread_bytes: int
    """Bytes after the records that the header states."""
    record_bytes: int
    first_byte: int
    """Position of the data records."""
    signals: tuple[EdfSignal, ...]
    """All signals but annotations."""

    @property
    def triggers(self) -> list[EdfSignal]:
        """Trigger channels, by their labels."""
        return [signal for signal in self.signals if signal.is_trigger]

    def trigger_values(self, signal: EdfSignal) -> Iterator[NDArray[np.float64]]:
        """Yield the samples of a trigger channel in pieces; of the Status of a BDF only the lower 16 bits."""
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
                    yield np.round(signal.offset + (signal.step or 1.0) * digital.astype(np.float64), 6)

    def _digital(self, records: NDArray[np.uint8], signal: EdfSignal) -> NDArray[np.int32]:
        """Return little-endian samples of 16 or 24 bits: put in the upper bits of 32, shifted down with sign."""
        width = _sample_bytes(self.is_bdf)
        raw = records[:, signal.first_byte : signal.first_byte + width * signal.samples].reshape(-1, width)
        wide = np.zeros((len(raw), 4), np.uint8)
        wide[:, 4 - width :] = raw
        return wide.view("<i4").ravel() >> (32 - 8 * width)


def read_edf_header(path: Path) -> EdfHeader:
    """Read and check the header.

    Raises:
        FileError: fields that are not numbers or contradict the length of the file, or a recording with gaps.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        fixed = file.read(FIXED_BYTES)
        signals = _integer(fixed, 252, 4, path)
        if not 0 < signals <= MAX_SIGNALS or _integer(fixed, 184, 8, path) != FIXED_BYTES + SIGNAL_BYTES * signals:
            found = f"{signals} signals in a header of another size"
            expected = f"1 to {MAX_SIGNALS} signals, and 256 bytes for each and 256 before"
            raise FileError(path, "byte 184", found, expected)
        variable = file.read(SIGNAL_BYTES * signals)
    is_bdf = fixed.startswith(BDF)
    width = _sample_bytes(is_bdf)
    samples = [_integer(variable, SAMPLES_AT * signals + 8 * n, 8, path) for n in range(signals)]
    record_bytes = sum(samples) * width
    records = _integer(fixed, 236, 8, path)
    data_bytes = size - FIXED_BYTES - len(variable)
    present = 0
    if min(samples) > 0:
        present = data_bytes // record_bytes
    if len(variable) < SIGNAL_BYTES * signals or present < max(records, 1):
        raise FileError(path, "byte 236", f"{records} records, of which {present} are there", "a complete file")
    if fixed[192:197] in (b"EDF+D", b"BDF+D"):
        raise FileError(path, "byte 192", "a recording with gaps (EDF+D)", "a continuous one; convert it to EDF+C")
    if records < 0:  # not stated, as of a recording that was interrupted
        records = present
    return EdfHeader(
        path=path,
        is_bdf=is_bdf,
        patient=_text(fixed[8:88]),
        records=records,
        unread_bytes=data_bytes - records * record_bytes,
        record_bytes=record_bytes,
        first_byte=FIXED_BYTES + len(variable),
        signals=tuple(_signals(variable, samples, _number(fixed, 244, 8, path), width)),
    )


def unique_names(labels: Sequence[str]) -> list[str]:
    """Return the labels; repeated ones with a number from 0, as MNE names them."""
    names = list(labels)
    for label in repeated(labels):
        places = [at for at, other in enumerate(labels) if other == label]
        for number, at in enumerate(places):
            names[at] = _unused_name(label, number, names)
    return names


def _unused_name(label: str, number: int, names: Sequence[str]) -> str:
    """Return the label with the number; with a letter instead if the name is in `names`, as in MNE."""
    for end in (str(number), *string.ascii_lowercase):
        name = f"{label}-{end}"
        if name not in names:
            return name
    return label


def _signals(variable: bytes, samples: Sequence[int], record_s: float, width: int) -> Iterator[EdfSignal]:
    """Yield the signals of the header's `variable` part; `width` is the number of bytes of a sample."""
    number = len(samples)
    labels = _texts(variable, 0, 16, number)
    units = _texts(variable, UNIT_AT * number, 8, number)
    limits = [_texts(variable, (RANGES_AT + 8 * field) * number, 8, number) for field in range(4)]
    ranges = list(zip(*limits, strict=True))
    first_bytes = np.cumsum([0, *samples]) * width
    for n, name in enumerate(unique_names(labels)):
        if labels[n] in ANNOTATIONS:
            continue
        offset, step = _scaling(*map(as_number, ranges[n]))
        yield EdfSignal(
            name=name,
            label=labels[n],
            unit=units[n],
            rate_hz=samples[n] / record_s,
            first_byte=int(first_bytes[n]),
            samples=samples[n],
            offset=offset,
            step=step,
        )


def _scaling(
    low: float | None, high: float | None, digital_low: float | None, digital_high: float | None
) -> tuple[float, float]:
    """Return the physical values of the digital 0 and of one step; the step is 0 if the header gives no ranges."""
    if low is None or high is None or digital_low is None or digital_high is None or digital_low == digital_high:
        return 0.0, 0.0
    step = (high - low) / (digital_high - digital_low)
    return low - step * digital_low, step


def _sample_bytes(is_bdf: bool) -> int:
    if is_bdf:
        return 3
    return 2


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
