"""WFDB records, above all PhysioNet's Evoked Auditory Responses: in Normals (earndb), in Hearing Impaired (earh).

Both hold tone-burst ABRs of humans (Silva & Epstein 2010, doi 10.1121/1.3397457; 2012, J. Acoust. Soc. Am. 131:353):
raw records of single trials, and averages. The condition is in the header's comment, such as
`<SPL>: 95 <Stim Freq (kHz)>: 1 <Ear>: r <Trial Length (samples)>: 2002`, and in the record's name.

Legend: T samples a trial.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcvae.errors import UserError
from hcvae.importers.columns import SCALARS, SUBJECT, as_number, columns_in_file, recordings_of
from hcvae.importers.events import NOT_CONDITIONS, Event, named_events
from hcvae.importers.foreign import as_file_error, companion, library, same_stem
from hcvae.importers.lines import lines_of
from hcvae.importers.recording import EEG_AVERAGING, EEG_BAND_HZ, CellValue, FileError, ReadOptions, Recording
from hcvae.importers.registry import Format
from hcvae.importers.triggers import Runs, timed_stimuli_in
from hcvae.importers.units import UV_PER_UNIT, VOLTAGES

FIRST_LINE = re.compile(rb"(#[^\n]*\n|\s*\n)*[\w.-]+(/\d+)? \d{1,4}( |\r?\n)")
SAMPLE_BYTES = {
    "8": 1.0, "16": 2.0, "24": 3.0, "32": 4.0, "61": 2.0, "80": 1.0, "160": 2.0, "212": 1.5, "310": 4 / 3, "311": 4 / 3,
}  # fmt: skip
EARNDB = re.compile(
    r"(?P<subject>n\d+)_evoked_(?P<kind>raw_|ave)(?P<level>\d+)_f(?P<khz>\d+)_r(?P<number>\d+)(_x)?", re.I
)
EARH = re.compile(r"(?P<subject>h\d+)_(?P<ear>[lr])_(?P<khz>\d+)khz_(?P<level>\d+)_(?P<number>\d+)", re.I)
LEVEL = "SPL"
FREQUENCY = "Stim Freq (kHz)"
EAR = "Ear"
TRIAL = "Trial Length (samples)"
EARS = {"l": "L", "r": "R"}
GAIN = re.compile(r"[-+]?[\d.]+(e[-+]?\d+)?", re.IGNORECASE)
"""Gain at the start of the third field of a signal line."""
PADDING_BYTES = 4
"""Bytes after the last sample that formats with packed samples may need."""
PIECE_SAMPLES = 2**19
MAX_TRIAL_SAMPLES = 2**18
MIN_MEAN_RUN = 4
"""A trigger channel with shorter runs of equal samples, on average, is a voltage instead of codes."""
MAX_STEP_UV = 1e6  # no EEG amplifier has steps of 1 V between two values
EXPECTED = "a complete WFDB record: a header (.hea) and its signal files"


@dataclass(frozen=True)
class _Signal:
    """Channel of the ABR, its scale, and the channel of triggers."""

    channel: int
    uv_per_unit: float
    trigger: int | None


def recognises(path: Path, head: bytes) -> bool:
    """Return whether the file has the suffix of a WFDB header and begins with a record line."""
    return path.suffix.lower() == ".hea" and FIRST_LINE.match(head) is not None


def read(path: Path, options: ReadOptions) -> Iterator[Recording]:
    """Yield every trial of the record with the header `path`, or its average.

    The mapping gives `signal` (a channel's name or number from 0; by default the channel of the ABR), `trial_samples`,
    `event` (names of the trials' annotations or codes, see `hcvae.importers.events`), `trigger_idle`, and for columns
    of the waveform table a name in the header's comment, a number, or a regular expression with one group for those
    names.

    Raises:
        FileError: a damaged record, signal files in other folders, or no length of a trial.
        UserError: wfdb is not installed, a mapping names something that is not there, or stimuli have different names
            that no column separates.
    """
    wfdb = library("wfdb", path)
    record = str(path.resolve().with_suffix(""))
    with as_file_error(path, EXPECTED):
        gains = _stated_gains(path)
        header = wfdb.rdheader(record)
        _check(header, path, options)
        comments = dict(re.findall(r"<([^>]+)>:\s*([^<]*[^<\s])", " ".join(header.comments or ())))
        signal = _signal(header, options.mapping.get("signal"), path)
        if not gains[signal.channel]:
            raise FileError(path, f"signal {signal.channel}", "no gain (not calibrated)", "a positive gain")
        _check_first_sample(wfdb, record, header, signal.channel, path)
        values, subject = _condition(path.stem, comments)
        values |= _mapped(comments, options, path)
        length = _trial_samples(header, comments, options.mapping, signal, path)
        values["native_rate_hz"] = float(header.fs)
        if "half" not in values and (length is None or length < header.sig_len):
            values.setdefault("n_averages", 1)  # several trials, one after another
        usual: dict[str, Any] = {}
        if values.get("n_averages") == 1:
            usual = {"usual_band_hz": EEG_BAND_HZ, "usual_averaging": EEG_AVERAGING}
        events = _stimuli(wfdb, record, header, signal, length, path, options)
        starts, length = _starts(events, length, header)
        values_at = {}
        for event in events or ():
            values_at[event.sample(header.fs)] = event.values
        found = 0
        for start, samples in _trials(wfdb, record, header, signal, starts, length):
            if not np.isfinite(samples).all():
                options.note("trials with invalid samples are left out")
                continue
            columns: dict[str, Any] = {**values, **values_at.get(start, {})}
            columns |= {"signal": samples[None, :], "sampling_rate_hz": float(header.fs), SUBJECT: subject}
            yield from recordings_of(columns, path, first=found, **usual)
            found += 1
        if not found:
            raise FileError(path, "signal", "no trial", f"at least one complete trial of {length} valid samples")


def _stated_gains(path: Path) -> list[float]:
    """Return the gain of each signal in the header's text; 0 if there is none, for which wfdb takes 200.

    Raises:
        FileError: the header has another number of signal lines than it states.
    """
    texts = []
    for _, line in lines_of(path):
        if line.strip() and not line.startswith("#"):
            texts.append(line)
    stated = int(texts[0].split()[1])
    if "/" not in texts[0].split()[0] and len(texts) - 1 != stated:
        raise FileError(path, "record line", f"{stated} signals, but {len(texts) - 1} signal lines", EXPECTED)
    return list(map(_stated_gain, texts[1:]))


def _stated_gain(signal_line: str) -> float:
    gain = GAIN.match([*signal_line.split(), "", "", ""][2])
    if gain is None:
        return 0.0
    return float(gain[0])


def _check_first_sample(wfdb: Any, record: str, header: Any, channel: int, path: Path) -> None:
    """Refuse a signal file whose first sample is not the initial value in the header: it is of another record."""
    stated = header.init_value[channel]
    if stated is None:
        return
    first = wfdb.rdrecord(record, sampto=1, channels=[channel], physical=False).d_signal[0, 0]
    if first != stated:
        found = f"the initial value {stated}, but a first sample of {first}"
        raise FileError(path, f"signal {channel}", found, "the signal file of this header")


def _check(header: Any, path: Path, options: ReadOptions) -> None:
    """Refuse several segments, files in other folders, unknown formats and truncated files, before reading samples."""
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
            found = f"{header.sig_len} samples, but a data file of {present} bytes"
            raise FileError(path, "record line", found, EXPECTED)
        if present > math.ceil(size) + PADDING_BYTES:
            options.note(f"a signal file has more samples than the {header.sig_len} of the header: they are not read")


def _signal(header: Any, wanted: str | None, path: Path) -> _Signal:
    """Return the channel of the ABR, which the mapping names or the header shows.

    Raises:
        FileError: the channel has no positive gain, or no unit of voltage.
        UserError: no such channel, or several.
    """
    names = [name or "" for name in header.sig_name]
    triggers = _places_of("trig", names)
    found = _channels(names, header.units, triggers, wanted)
    if len(found) != 1:
        channels = zip(range(len(names)), names, header.units, strict=True)
        known = ", ".join(f"{number}: {name} ({unit})" for number, name, unit in channels)
        raise UserError(f"{path}: must have one channel of the ABR, but has {known[:300]}; give a mapping of signal")
    channel = found[0]
    unit = header.units[channel]
    gain = header.adc_gain[channel]
    if unit not in UV_PER_UNIT or not gain > 0:
        expected = f"a positive gain, and a unit of {VOLTAGES}"
        raise FileError(path, f"signal {channel}", f"gain {gain} per {unit}", expected)
    scale = UV_PER_UNIT[unit]
    if scale / gain > MAX_STEP_UV:  # earndb's raw records give V per step instead of steps per nV
        scale = 1e6 * gain**2
    return _Signal(channel, scale, next(iter(triggers), None))


def _channels(names: Sequence[str], units: Sequence[str], triggers: Sequence[int], wanted: str | None) -> list[int]:
    """Return the channels called `wanted`; by default those named ABR, else all in nV, uV or mV but triggers."""
    if wanted is not None:
        return [number for number, name in enumerate(names) if wanted in (name, str(number))]
    named = _places_of("abr", names)
    if named:
        return named
    voltages = [number for number, unit in enumerate(units) if unit in ("nV", "uV", "mV")]
    return sorted(set(voltages).difference(triggers))


def _places_of(word: str, names: Sequence[str]) -> list[int]:
    """Return the numbers of the channels whose names contain `word`."""
    return [number for number, name in enumerate(names) if word in name.lower()]


def _condition(record: str, comments: Mapping[str, str]) -> tuple[dict[str, CellValue], str | None]:
    """Return columns and subject, from the comment, and from the record's name for what the comment lacks."""
    name = EARNDB.fullmatch(record) or EARH.fullmatch(record)
    if name is None and LEVEL not in comments:
        return {}, None
    named: dict[str, str | None] = {}
    subject = number = None
    if name is not None:
        named = name.groupdict()
        subject = name["subject"].upper()
        number = int(name["number"])
    frequency_hz = as_number(comments.get(FREQUENCY, named.get("khz")))
    if frequency_hz is not None:
        frequency_hz *= 1000
    ear = comments.get(EAR, named.get("ear")) or ""
    values: dict[str, CellValue] = {
        "species": "human",
        "ear": EARS.get(ear.lower()[:1]),
        "stimulus_type": "tone_pip",
        "stimulus_frequency_hz": frequency_hz,
        "stimulus_level_db": as_number(comments.get(LEVEL, named.get("level"))),
        "level_reference": "dB peSPL",
    }
    if named.get("kind") == "ave":  # the average of the trials of the first or the second half
        values |= {"half": number, "recording_index": 1}
    else:
        values |= {"n_averages": 1, "recording_index": number}
    return values, subject


def _mapping_of_events(mapping: Mapping[str, str]) -> dict[str, str]:
    """Return the part of the mapping that chooses stimuli, or finds columns in their names."""
    return {name: at for name, at in mapping.items() if name in NOT_CONDITIONS or "(" in at}


def _mapped(comments: Mapping[str, str], options: ReadOptions, path: Path) -> dict[str, Any]:
    """Return the columns that the mapping takes from the header's comment, or gives as a number."""
    wanted = options.mapping_without(*_mapping_of_events(options.mapping))
    columns: dict[str, Any] = {}
    for name, at in columns_in_file(comments, wanted, path).items():
        columns[name] = at
        if isinstance(at, str):
            columns[name] = as_number(comments[at])
            if columns[name] is None:
                columns[name] = comments[at]
    return columns


def _trial_samples(
    header: Any, comments: Mapping[str, str], mapping: Mapping[str, str], signal: _Signal, path: Path
) -> int | None:
    """Return the length of a trial; None if the trigger channel determines it."""
    given = mapping.get("trial_samples", comments.get(TRIAL))
    length = as_number(given)
    if given is None:
        if signal.trigger is not None:
            return None
        if header.sig_len <= header.fs:  # no longer than a second: an average
            return int(header.sig_len)
    is_whole = length is not None and length.is_integer()
    if length is None or not is_whole or not 2 <= length <= min(MAX_TRIAL_SAMPLES, header.sig_len):
        expected = "the number of samples from one stimulus to the next; give a mapping of trial_samples"
        raise FileError(path, "comment", f"a trial length of {given}", expected)
    return int(length)


def _stimuli(
    wfdb: Any, record: str, header: Any, signal: _Signal, length: int | None, path: Path, options: ReadOptions
) -> list[Event] | None:
    """Return onsets and conditions of the trials; None if one follows another every `length` samples.

    Annotations are used if they have several names, or if the mapping names one; else the trigger channel, if the
    length of a trial is not known.
    """
    mapping = _mapping_of_events(options.mapping)
    marks = _annotations(wfdb, record, header, path)
    names = {name for _, name in marks}
    if len(names) > 1 or (marks and "event" in mapping):
        return named_events(marks, replace(options, mapping=mapping), path)
    if marks:
        options.note("annotations of one name are not read: the header or the trigger gives the start of each trial")
    if length is not None:
        for name in mapping:
            if name not in ("signal", "trial_samples"):
                reason = "the record has no annotations, and the header gives the trials"
                options.note(f"mapping of {name} is not used: {reason}")
        return None
    runs = _trigger_runs(wfdb, record, header.sig_len, signal.trigger or 0)
    triggers = timed_stimuli_in(runs, header.fs, path, options)
    return named_events(triggers, replace(options, mapping=mapping), path)


def _trigger_runs(wfdb: Any, record: str, n_samples: int, channel: int) -> Runs:
    """Return the runs of the trigger channel; of a voltage only low (0) and high (1)."""

    def pieces() -> Iterator[NDArray[np.float64]]:
        for first in range(0, n_samples, PIECE_SAMPLES):
            yield _samples(wfdb, record, first, min(first + PIECE_SAMPLES, n_samples), channel)

    runs = Runs.of(pieces())
    if runs.n_samples >= MIN_MEAN_RUN * len(runs.starts):
        return runs
    high = runs.values > (np.nanmin(runs.values) + np.nanmax(runs.values)) / 2
    return Runs(runs.starts, high.astype(np.float64), runs.n_samples)


def _annotations(wfdb: Any, record: str, header: Any, path: Path) -> list[tuple[float, str]]:
    """Return time in s and name of each annotation in the record's `.atr`: its note, or its symbol without one."""
    if not path.with_suffix(".atr").is_file():
        return []
    found = wfdb.rdann(record, "atr")
    notes = found.aux_note or [""] * len(found.sample)
    marks = []
    for at, note, symbol in zip(found.sample.tolist(), notes, found.symbol, strict=True):
        marks.append((at / header.fs, note.strip("\0 ") or symbol))
    return marks


def _starts(events: list[Event] | None, length: int | None, header: Any) -> tuple[NDArray[np.int64], int]:
    """Return the first samples of the trials, and their length: by default the shortest time between two trials."""
    n_samples = int(header.sig_len)
    if events is None:
        step = length or n_samples
        return np.arange(0, n_samples - step + 1, step), step
    starts = np.array([event.sample(header.fs) for event in events], np.int64)
    step = length or n_samples
    if length is None and len(starts) > 1:
        step = int(np.diff(starts).min())
    return starts[starts + step <= n_samples], step


def _trials(
    wfdb: Any, record: str, header: Any, signal: _Signal, starts: NDArray[np.int64], length: int
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """Yield first sample and samples [T] in uV of each trial; invalid samples are NaN."""
    for piece in np.array_split(starts, max(1, math.ceil(header.sig_len / PIECE_SAMPLES))):
        if not len(piece):
            continue
        first = int(piece[0])
        last = int(piece[-1]) + length
        samples = _samples(wfdb, record, first, last, signal.channel) * signal.uv_per_unit
        for start in piece:
            yield int(start), samples[start - first : start - first + length]


def _samples(wfdb: Any, record: str, first: int, last: int, channel: int) -> NDArray[np.float64]:
    piece = wfdb.rdrecord(record, sampfrom=first, sampto=last, channels=[channel])
    return np.asarray(piece.p_signal[:, 0], dtype=np.float64)


OWN_NAMES = frozenset(("signal", "trial_samples", "event", "trigger_idle", "start_ms"))
FORMAT = Format(
    name="wfdb",
    title="WFDB (PhysioNet earndb, earh)",
    recognises=recognises,
    read=read,
    companions=same_stem,
    mapping_names=OWN_NAMES.union(SCALARS) - {"native_rate_hz"},
)
