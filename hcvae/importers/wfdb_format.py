"""WFDB records, above all PhysioNet's Evoked Auditory Responses: in Normals (earndb), in Hearing Impaired (earh).

Both hold tone-burst ABRs of humans (Silva & Epstein 2010, doi 10.1121/1.3397457; 2012, J. Acoust. Soc. Am. 131:353):
raw records of single trials, and averages. The condition stands in the header's comment, as in
`<SPL>: 95 <Stim Freq (kHz)>: 1 <Ear>: r <Trial Length (samples)>: 2002`, and in the record's name.

Legend: T samples a trial.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcvae.errors import UserError
from hcvae.importers.columns import SCALARS, SUBJECT, UV_PER_UNIT, as_number, recordings_of, renamed
from hcvae.importers.events import NOT_CONDITIONS, Event, named_events
from hcvae.importers.foreign import as_file_error, companion, library, same_stem
from hcvae.importers.recording import EEG_AVERAGING, EEG_BAND_HZ, CellValue, FileError, ReadOptions, Recording
from hcvae.importers.registry import Format
from hcvae.importers.triggers import Runs, stimuli_in

FIRST_LINE = re.compile(rb"(#[^\n]*\n|\s*\n)*[\w.-]+(/\d+)? \d{1,4}( |\r?\n)")
SAMPLE_BYTES = {
    "8": 1.0, "16": 2.0, "24": 3.0, "32": 4.0, "61": 2.0, "80": 1.0, "160": 2.0, "212": 1.5, "310": 4 / 3, "311": 4 / 3,
}  # fmt: skip
EARNDB = re.compile(
    r"(?P<subject>n\d+)_evoked_(?P<kind>raw_|ave)(?P<level>\d+)_f(?P<khz>\d+)_r(?P<number>\d+)(_x)?", re.I
)
EARH = re.compile(r"(?P<subject>h\d+)_(?P<ear>[lr])_(?P<khz>\d+)khz_(?P<level>\d+)_(?P<number>\d+)", re.I)
LEVEL, FREQUENCY, EAR, TRIAL = "SPL", "Stim Freq (kHz)", "Ear", "Trial Length (samples)"
PIECE_SAMPLES = 2**19
MAX_TRIAL_SAMPLES = 2**18
ANALOG = 4
"""A trigger channel whose samples are equal for fewer than so many in a row holds no codes, but a voltage."""
MAX_STEP_UV = 1e6  # a step of 1 V between two values is none of an amplifier of brain signals
RIGHT = "a whole WFDB record: a header (.hea) and its signal files"


@dataclass(frozen=True)
class _Signal:
    """The channel of the ABR, and how to cut it."""

    channel: int
    uv_per_unit: float
    trigger: int | None


def recognises(path: Path, head: bytes) -> bool:
    """Whether the file is named as a WFDB header, and begins with a record line."""
    return path.suffix.lower() == ".hea" and FIRST_LINE.match(head) is not None


def read(path: Path, options: ReadOptions) -> Iterator[Recording]:
    """Every trial of the record `path` (its header), or its average.

    The mapping gives `signal` (a channel's name or number from 0; that of the ABR by default), `trial_samples`, `event`
    (names of the trials' annotations or codes, see `hcvae.importers.events`), `trigger_idle`, and for columns of the
    waveform table a name in the header's comment, a number, or a regular expression with one group for those names.

    Raises:
        FileError: a damaged record, signal files in other folders, or no length of a trial.
        UserError: wfdb is not installed, a mapping that names what is not there, or stimuli of different names that no
            column keeps apart.
    """
    wfdb = library("wfdb", path)
    record = str(path.resolve().with_suffix(""))
    with as_file_error(path, RIGHT):
        header = wfdb.rdheader(record)
        _check(header, path)
        comments = dict(re.findall(r"<([^>]+)>:\s*([^<]*[^<\s])", " ".join(header.comments or ())))
        signal = _signal(header, options.mapping.get("signal"), path)
        values, subject = _condition(path.stem, comments)
        values |= _mapped(comments, options.mapping, path)
        length = _trial_samples(header, comments, options.mapping, signal, path)
        values["native_rate_hz"] = float(header.fs)
        if "half" not in values and (length is None or length < header.sig_len):
            values.setdefault("n_averages", 1)  # several trials, one after another
        is_trial = values.get("n_averages") == 1
        usual: Any = {"usual_band_hz": EEG_BAND_HZ, "usual_averaging": EEG_AVERAGING} if is_trial else {}
        marked = _stimuli(wfdb, record, header, signal, length, path, options)
        starts, length = _starts(marked, length, header)
        of_start = {round(event.onset_s * header.fs): event.values for event in marked or ()}
        found = 0
        for start, samples in _trials(wfdb, record, header, signal, starts, length):
            axis = {"signal": samples[None, :], "sampling_rate_hz": float(header.fs), SUBJECT: subject}
            columns = {**values, **of_start.get(start, {}), **axis}
            yield from recordings_of(columns, path, first=found, **usual)
            found += 1
        if not found:
            raise FileError(path, "signal", "no trial", f"at least one whole trial of {length} valid samples")


def _check(header: Any, path: Path) -> None:
    """Refuse what lies elsewhere or would not fit, before any sample is read."""
    if getattr(header, "n_seg", None) is not None or not header.n_sig or not header.sig_len or not header.fs > 0:
        raise FileError(path, "record line", "several segments, or no signals or samples", "a record of one segment")
    needed: dict[str, float] = {}
    for name, form, frames in zip(header.file_name, header.fmt, header.samps_per_frame, strict=True):
        if form not in SAMPLE_BYTES or frames != 1:
            found = f"format {form} with {frames} samples a frame"
            raise FileError(path, "signal line", found, f"one sample a frame in a format of {', '.join(SAMPLE_BYTES)}")
        needed[name] = needed.get(name, 0.0) + SAMPLE_BYTES[form] * header.sig_len
    for name, size in needed.items():
        present = companion(path, name).stat().st_size
        if present < math.floor(size):
            raise FileError(path, "record line", f"{header.sig_len} samples, but a data file of {present} bytes", RIGHT)


def _signal(header: Any, wanted: str | None, path: Path) -> _Signal:
    names = [name or "" for name in header.sig_name]
    triggers = [number for number, name in enumerate(names) if "trig" in name.lower()]
    if wanted is not None:
        found = [number for number, name in enumerate(names) if wanted in (name, str(number))]
    else:
        found = [number for number, name in enumerate(names) if "abr" in name.lower()] or [
            number for number, unit in enumerate(header.units) if unit in ("nV", "uV", "mV") and number not in triggers
        ]
    if len(found) != 1:
        channels = zip(range(len(names)), names, header.units, strict=True)
        known = ", ".join(f"{number}: {name} ({unit})" for number, name, unit in channels)
        raise UserError(f"{path}: must have one channel of the ABR, but has {known[:300]}; give a mapping of signal")
    channel = found[0]
    unit, gain = header.units[channel], header.adc_gain[channel]
    if unit not in UV_PER_UNIT or not gain > 0:
        expected = f"a positive gain, and a unit of {', '.join(UV_PER_UNIT)}"
        raise FileError(path, f"signal {channel}", f"gain {gain} per {unit}", expected)
    scale = UV_PER_UNIT[unit]
    if scale / gain > MAX_STEP_UV:  # earndb's raw records give V per step where steps per nV should stand
        scale = 1e6 * gain**2
    return _Signal(channel, scale, triggers[0] if triggers else None)


def _condition(record: str, comments: Mapping[str, str]) -> tuple[dict[str, CellValue], str | None]:
    """Columns and subject, from the comment, and from the record's name where the comment is silent."""
    name = EARNDB.fullmatch(record) or EARH.fullmatch(record)
    if name is None and LEVEL not in comments:
        return {}, None
    said = {} if name is None else name.groupdict()
    khz, ear = as_number(comments.get(FREQUENCY, said.get("khz"))), comments.get(EAR, said.get("ear")) or ""
    values: dict[str, CellValue] = {
        "species": "human",
        "ear": {"l": "L", "r": "R"}.get(ear.lower()[:1]),
        "stimulus_type": "tone_pip",
        "stimulus_frequency_hz": None if khz is None else 1000 * khz,
        "stimulus_level_db": as_number(comments.get(LEVEL, said.get("level"))),
        "level_reference": "dB peSPL",
    }
    number = None if name is None else int(name["number"])
    if said.get("kind") == "ave":  # the average of the trials of the first or the second half
        values |= {"half": number, "recording_index": 1}
    else:
        values |= {"n_averages": 1, "recording_index": number}
    return values, None if name is None else name["subject"].upper()


def _mapped(comments: Mapping[str, str], mapping: Mapping[str, str], path: Path) -> dict[str, Any]:
    wanted = {name: at for name, at in mapping.items() if name not in NOT_CONDITIONS and "(" not in at}
    known = renamed(comments, wanted, path)
    texts = {name: comments[at] if isinstance(at, str) else at for name, at in known.items()}
    numbers = {name: as_number(text) for name, text in texts.items()}
    return {name: text if numbers[name] is None else numbers[name] for name, text in texts.items()}


def _trial_samples(
    header: Any, comments: Mapping[str, str], mapping: Mapping[str, str], signal: _Signal, path: Path
) -> int | None:
    """Length of a trial; None where the trigger channel says it."""
    said = mapping.get("trial_samples", comments.get(TRIAL))
    length = as_number(said)
    if said is None:
        if signal.trigger is not None:
            return None
        if header.sig_len <= header.fs:  # no longer than a second: an average
            return int(header.sig_len)
    if length is None or not 2 <= length <= min(MAX_TRIAL_SAMPLES, header.sig_len):
        expected = "the number of samples from one stimulus to the next; give a mapping of trial_samples"
        raise FileError(path, "comment", f"a trial length of {said}", expected)
    return int(length)


def _stimuli(
    wfdb: Any, record: str, header: Any, signal: _Signal, length: int | None, path: Path, options: ReadOptions
) -> list[Event] | None:
    """Where the trials begin, and their conditions; None where one follows another every `length` samples.

    Annotations count where they have several names, or where the mapping names one; else the trigger channel, where no
    length of a trial is known.
    """
    named = {name: at for name, at in options.mapping.items() if name in NOT_CONDITIONS or "(" in at}
    marks = _annotations(wfdb, record, header, path)
    if len({name for _, name in marks}) > 1 or (marks and "event" in named):
        return named_events(marks, replace(options, mapping=named), path)
    if marks:
        options.note("annotations of one name are not read: trials begin as the header or the trigger has it")
    if length is not None:
        return None
    runs = Runs.of(
        _samples(wfdb, record, first, min(first + PIECE_SAMPLES, header.sig_len), signal.trigger or 0)
        for first in range(0, header.sig_len, PIECE_SAMPLES)
    )
    if runs.n_samples < ANALOG * len(runs.starts):
        high = runs.values > (np.nanmin(runs.values) + np.nanmax(runs.values)) / 2
        runs = Runs(runs.starts, high.astype(np.float64), runs.n_samples)
    triggers = [(at / header.fs, code) for at, code in stimuli_in(runs, path, options)]
    return named_events(triggers, replace(options, mapping=named), path)


def _annotations(wfdb: Any, record: str, header: Any, path: Path) -> list[tuple[float, str]]:
    """Time in s and name of each annotation of the record's `.atr`, which wins over the symbol."""
    if not path.with_suffix(".atr").is_file():
        return []
    found = wfdb.rdann(record, "atr")
    notes = found.aux_note or [""] * len(found.sample)
    names = [note.strip("\0 ") or symbol for note, symbol in zip(notes, found.symbol, strict=True)]
    return [(at / header.fs, name) for at, name in zip(found.sample.tolist(), names, strict=True)]


def _starts(events: list[Event] | None, length: int | None, header: Any) -> tuple[NDArray[np.int64], int]:
    """First samples of the trials, and their length: by default the shortest time from one to the next."""
    if events is None:
        step = int(header.sig_len) if length is None else length
        return np.arange(0, header.sig_len - step + 1, step), step
    starts = np.array([round(event.onset_s * header.fs) for event in events], np.int64)
    shortest = int(np.diff(starts).min()) if len(starts) > 1 else int(header.sig_len)
    step = shortest if length is None else length
    return starts[starts + step <= header.sig_len], step


def _trials(
    wfdb: Any, record: str, header: Any, signal: _Signal, starts: NDArray[np.int64], length: int
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """First sample and samples [T] in uV of each trial; those with samples that the file marks as invalid are left
    out."""
    for piece in np.array_split(starts, max(1, math.ceil(header.sig_len / PIECE_SAMPLES))):
        if len(piece):
            first, last = int(piece[0]), int(piece[-1]) + length
            samples = _samples(wfdb, record, first, last, signal.channel) * signal.uv_per_unit
            trials = ((int(start), samples[start - first : start - first + length]) for start in piece)
            yield from ((start, trial) for start, trial in trials if np.isfinite(trial).all())


def _samples(wfdb: Any, record: str, first: int, last: int, channel: int) -> NDArray[np.float64]:
    piece = wfdb.rdrecord(record, sampfrom=first, sampto=last, channels=[channel])
    return np.asarray(piece.p_signal[:, 0], dtype=np.float64)


FORMAT = Format(
    name="wfdb",
    title="WFDB (PhysioNet earndb, earh)",
    recognises=recognises,
    read=read,
    companions=same_stem,
    mapping_names=frozenset(
        {"signal", "trial_samples", "event", "trigger_idle", "start_ms", *SCALARS} - {"native_rate_hz"}
    ),
)
