"""EDF, BDF and BrainVision through MNE: epochs of a continuous recording, or the waveforms of our own EDF export.

Each stimulus gives one recording with `n_averages` 1; the pipeline averages them. Data are read in pieces.

Legend: T samples.
"""

import itertools
import json
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcvae.counting import first_of
from hcvae.errors import UserError
from hcvae.importers.bids import note_bids_channels, note_bids_rate
from hcvae.importers.brainvision_header import channels_of_brainvision
from hcvae.importers.columns import SCALARS, SUBJECT, as_number, recordings_of
from hcvae.importers.edf_header import BDF, EDF, UNITS, EdfHeader, EdfSignal, read_edf_header
from hcvae.importers.events import Event, bad_spans_s, conditions_of, events_of
from hcvae.importers.foreign import as_file_error, library, same_stem
from hcvae.importers.recording import EEG_AVERAGING, EEG_BAND_HZ, FileError, ReadOptions, Recording
from hcvae.importers.registry import Format
from hcvae.importers.time_axis import MAX_START_MS
from hcvae.importers.triggers import Runs, timed_stimuli_in

BRAINVISION = (b"Brain Vision Data Exchange Header File", b"BrainVision Data Exchange Header File")
EDF_HEAD = re.compile(EDF + rb".{176}\d{1,8} *.{44,68}", re.DOTALL)
"""Begin of an EDF file: version, names and date, and the size of the header in bytes."""
SUFFIXES = {"EDF": (".edf", ".rec"), "BDF": (".bdf",), "BrainVision": (".vhdr",)}
"""Suffixes that MNE accepts, by format."""
EXPORTED_CHANNEL = "ABR"
EPOCH_START_MS = "-5.0"
EPOCH_END_MS = "20.0"
PIECE_SAMPLES = 2**20
NOBODY = re.compile(r"[X\s]*(Startdate.*)?")  # EDF+ writes X for each unknown field
OWN_NAMES = frozenset(("signal", "event", "trigger", "trigger_idle", "epoch_start_ms", "epoch_end_ms", "delay_ms"))
MAPPING_NAMES = OWN_NAMES.union(SCALARS) - {"n_averages", "native_rate_hz"}
MAX_SHOWN = 12
"""Names of channels in a message."""
EXPECTED = "a complete EDF, BDF or BrainVision recording"


def recognises(path: Path, head: bytes) -> bool:
    """Return whether the file begins like one of the three formats."""
    if head.startswith(EDF):
        return EDF_HEAD.match(head) is not None
    return head.startswith((BDF, *BRAINVISION))


def companions(path: Path) -> list[Path]:
    """Return data and markers of a BrainVision header, and the BIDS tables and descriptions of the subject."""
    found: set[Path] = set()
    if path.suffix.lower() == ".vhdr":
        found.update(same_stem(path))
    subject = path.stem.partition("_")[0]
    is_bids = path.stem.endswith("_eeg")
    for beside in path.parent.iterdir():
        is_of_recording = is_bids and beside.name.startswith(f"{subject}_") and beside.suffix in (".tsv", ".json")
        if is_of_recording and not beside.is_symlink():
            found.add(beside)
    return sorted(found)


def read(path: Path, options: ReadOptions) -> Iterator[Recording]:
    """Yield the waveforms of our own export; from any other recording one epoch for each stimulus.

    The mapping gives `signal` (a channel, or the difference of two as `Cz-A1`), `event` (a pattern such as `click*` for
    the names of stimuli, or several names as `A|B` that are one stimulus), `trigger` (the channel of triggers) and
    `trigger_idle` (its value between stimuli), `epoch_start_ms` and `epoch_end_ms` from the trigger (-5 and 20 by
    default), `delay_ms` from trigger to stimulus (0), and for columns of the waveform table a column of the table of
    events, or a regular expression with one group to search in the names of stimuli.

    Raises:
        FileError: a damaged file, or one without stimuli.
        UserError: MNE is not installed, a mapping names something that is not there, or stimuli have different names
            that no column separates.
    """
    library("mne", path)  # first, as a missing package is no fault of the file
    with as_file_error(path, EXPECTED):
        header = _edf_header(path, options)
        if header is None:
            units = channels_of_brainvision(path)
            signals = _signals(options.mapping.get("signal"), dict(zip(units, units, strict=True)), path)
        else:
            units = {signal.name: signal.unit for signal in header.signals}
            signals = _edf_signals(options.mapping.get("signal"), header)
        note_bids_channels(path, signals, units, options)
        raw = _open(path, header, signals, options)
        note_bids_rate(path, float(raw.info["sfreq"]), options)
        if header is not None and signals == [EXPORTED_CHANNEL] and _is_exported(raw, header):
            yield from _exported(raw, path)
            return
        yield from _epochs(raw, header, path, signals, options)


def _edf_header(path: Path, options: ReadOptions) -> EdfHeader | None:
    """Return the header of an EDF or BDF; None for BrainVision.

    Raises:
        FileError: a damaged header, or a suffix with which MNE does not open the format.
    """
    with path.open("rb") as file:
        start = file.read(len(BDF))
    kind = {EDF: "EDF", BDF: "BDF"}.get(start, "BrainVision")
    if path.suffix.lower() not in SUFFIXES[kind]:
        expected = f"{' or '.join(SUFFIXES[kind])}; rename the file"
        raise FileError(path, "name", f"{kind} with the suffix {path.suffix!r}", expected)
    if kind == "BrainVision":
        return None
    header = read_edf_header(path)
    if header.unread_bytes:
        options.note(f"{header.unread_bytes} bytes after the {header.records} records of the header are not read")
    return header


def _open(path: Path, header: EdfHeader | None, signals: Sequence[str], options: ReadOptions) -> Any:
    """Open the recording without reading samples; of an EDF only `signals`, as MNE resamples all to one rate."""
    mne = library("mne", path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if header is None:
            raw = mne.io.read_raw_brainvision(path, verbose="WARNING")
        else:
            reader = mne.io.read_raw_edf
            if header.is_bdf:
                reader = mne.io.read_raw_bdf
            raw = reader(path, include=list(signals), stim_channel=None, exclude_after_unique=True, verbose="WARNING")
    if any("outside data range" in str(warning.message) for warning in caught):
        options.note("annotations or markers outside the recording are left out; are the data complete?")
    return raw


def _edf_signals(wanted: str | None, header: EdfHeader) -> list[str]:
    """Return the channels of the ABR; without a mapping the only voltage.

    Raises:
        FileError: a chosen signal is not a voltage.
        UserError: see `_signals`.
    """
    found: dict[str, EdfSignal] = {}
    labels: dict[str, str] = {}
    voltages: dict[str, str] = {}
    for signal in header.signals:
        if not signal.is_trigger:
            found[signal.name] = signal
            labels[signal.name] = signal.label
            if signal.unit in UNITS:
                voltages[signal.name] = signal.label
    if wanted is None and voltages:
        signals = _signals(wanted, voltages, header.path)
    else:
        signals = _signals(wanted, labels, header.path)
    for name in signals:
        if name not in voltages:
            unit = "no unit"
            if found[name].unit:
                unit = f"the unit {found[name].unit!r}"
            expected = "uV, mV or V; name a voltage with --map signal=NAME"
            raise FileError(header.path, f"signal {name!r}", unit, expected)
        if not found[name].step:
            expected = "physical and digital minimum and maximum that differ"
            raise FileError(header.path, f"signal {name!r}", "no scale in the header", expected)
    return signals


def _signals(wanted: str | None, channels: Mapping[str, str], path: Path) -> list[str]:
    """Return one channel, or two whose difference is wanted; `channels` has the label of each name.

    Raises:
        UserError: no such channel, several with its label, the difference of a channel and itself, or no name where
            there are several channels.
    """
    if wanted is None:
        return [_only_channel(channels, path)]
    if wanted in channels:
        return [wanted]
    pairs = list(_differences(wanted))
    known_pairs = [pair for pair in pairs if channels.keys() >= set(pair)]
    if len(known_pairs) > 1:
        raise UserError(f"{path}: mapping of signal: {wanted!r} is a difference of channels in more than one way")
    for first, second in known_pairs:
        if first == second:
            raise UserError(f"{path}: mapping of signal: must be two channels as A-B, but got {first!r} twice")
        return [first, second]
    for label in itertools.chain([wanted], *pairs):
        same = [name for name, other in channels.items() if other == label]
        if len(same) > 1:
            raise UserError(
                f"{path}: mapping of signal: {len(same)} channels are called {label!r}; name one as {' or '.join(same)}"
            )
    known = ", ".join(itertools.islice(channels, MAX_SHOWN))
    missing = _missing(wanted, pairs, channels)
    raise UserError(f"{path}: mapping of signal: no channel {missing!r}; known are {known}")


def _missing(wanted: str, pairs: Sequence[tuple[str, str]], channels: Mapping[str, str]) -> str:
    """Return the name in `wanted` that is no channel: beside a channel in one of the pairs, else all of it."""
    for pair in pairs:
        unknown = set(pair) - channels.keys()
        if unknown and not channels.keys().isdisjoint(pair):
            return unknown.pop()
    return wanted


def _differences(wanted: str) -> Iterator[tuple[str, str]]:
    """Yield each way to read `wanted` as A-B: names may contain a hyphen."""
    for hyphen in re.finditer("-", wanted):
        yield wanted[: hyphen.start()], wanted[hyphen.end() :]


def _only_channel(channels: Mapping[str, str], path: Path) -> str:
    if EXPORTED_CHANNEL in channels:
        return EXPORTED_CHANNEL
    if len(channels) == 1:
        return next(iter(channels))
    known = first_of(list(channels), MAX_SHOWN)
    raise UserError(f"{path}: {len(channels)} channels ({known}); name one, or two as A-B, with a mapping of signal")


def _subject(path: Path, header: EdfHeader | None) -> str | None:
    """Return the label of a BIDS file name, or the patient of the header; None if there is neither."""
    label = re.match(r"sub-([A-Za-z0-9]+)_", path.name)
    if label:
        return label[1]
    if header is None or NOBODY.fullmatch(header.patient):
        return None
    return header.patient


def _is_exported(raw: Any, header: EdfHeader) -> bool:
    """Return whether there is one JSON object for each data record, as in our own export."""
    texts = raw.annotations.description
    return len(texts) == header.records and all(text.startswith("{") for text in texts)


def _exported(raw: Any, path: Path) -> Iterator[Recording]:
    """Yield one waveform for each data record; its columns are JSON in the annotation at its start."""
    texts = raw.annotations.description
    length = raw.n_times // len(texts)
    for row, text in enumerate(texts):
        fields = json.loads(text)
        columns: dict[str, Any] = conditions_of(text) | {
            "sampling_rate_hz": raw.info["sfreq"],
            "start_ms": as_number(fields.get("start_ms")) or 0.0,
            "signal": raw.get_data(start=row * length, stop=(row + 1) * length),
            SUBJECT: fields.get(SUBJECT),
        }
        yield from recordings_of(columns, path, "V", row)


def _epochs(
    raw: Any, header: EdfHeader | None, path: Path, signals: Sequence[str], options: ReadOptions
) -> Iterator[Recording]:
    """Yield one recording for each stimulus with a complete epoch outside the bad spans."""
    rate_hz = float(raw.info["sfreq"])
    subject = _subject(path, header)
    first, last = _window(options.mapping, rate_hz, path)
    delay_ms = as_number(options.mapping.get("delay_ms", "0"))
    if delay_ms is None or abs(delay_ms) > MAX_START_MS:
        expected = f"must be a time in ms, at most {MAX_START_MS:,.0f}"
        raise UserError(f"{path}: mapping of delay_ms: {expected}, but got {options.mapping['delay_ms']!r}")
    events = events_of(path, raw, partial(_triggers, header, options), options)
    stimuli = _complete(events, raw, (first, last), path, options)
    if not stimuli:
        expected = "stimuli in a table of events, annotations or triggers, at least one of them with a complete epoch"
        raise FileError(path, "whole file", "no stimulus with a complete epoch", expected)
    for number, (event, samples) in enumerate(_cut(raw, signals, stimuli, last - first)):
        columns: dict[str, Any] = dict(event.values) | {
            "n_averages": 1,
            "native_rate_hz": rate_hz,
            "signal": samples[None, :],
            "sampling_rate_hz": rate_hz,
            "start_ms": 1e3 * first / rate_hz - delay_ms,
            SUBJECT: subject,
        }
        yield from recordings_of(columns, path, "V", number, usual_band_hz=EEG_BAND_HZ, usual_averaging=EEG_AVERAGING)


def _complete(
    events: Sequence[Event], raw: Any, window: tuple[int, int], path: Path, options: ReadOptions
) -> list[tuple[int, Event]]:
    """Return the events whose epochs are within the recording and outside bad spans, each with its first sample.

    Of several equal events at one sample the first is kept: the others would be copies of its epoch.

    Raises:
        FileError: events with different columns at one sample.
    """
    rate_hz = float(raw.info["sfreq"])
    bad = [(int(start * rate_hz), int(stop * rate_hz)) for start, stop in bad_spans_s(raw)]
    complete = []
    seen: dict[int, Mapping[str, Any]] = {}
    for event in events:
        onset = event.sample(rate_hz)
        begin = onset + window[0]
        end = onset + window[1]
        if begin < 0 or end > raw.n_times:
            options.note("stimuli are left out, as their epochs extend beyond the recording")
        elif any(begin < stop and start < end for start, stop in bad):
            options.note("stimuli are left out, as their epochs overlap a bad span")
        elif begin not in seen:
            seen[begin] = event.values
            complete.append((begin, event))
        elif seen[begin] == event.values:
            options.note("stimuli are left out, as another one has the same onset: its epoch would be read twice")
        else:
            found = f"two stimuli with different columns at {event.onset_s:g} s"
            raise FileError(path, "stimuli", found, "one; choose with --map event=NAME")
    return complete


def _triggers(header: EdfHeader | None, options: ReadOptions) -> list[tuple[float, str]]:
    """Return time in s and code of each stimulus in the trigger channel of an EDF or BDF; none without such a channel.

    Raises:
        UserError: several trigger channels, or none with the name that the mapping gives.
    """
    if header is None:
        return []
    wanted = options.mapping.get("trigger")
    signals = header.triggers
    if wanted is not None:
        signals = [signal for signal in header.signals if signal.name == wanted]
    elif not signals:
        return []
    if len(signals) != 1:
        known = ", ".join(signal.name for signal in signals or header.signals)[:300]
        raise UserError(f"{header.path}: must have one trigger channel; give --map trigger=NAME, one of {known}")
    runs = Runs.of(header.trigger_values(signals[0]))
    return timed_stimuli_in(runs, signals[0].rate_hz, header.path, options)


def _window(mapping: Mapping[str, str], rate_hz: float, path: Path) -> tuple[int, int]:
    """Return the first sample of an epoch and the sample after its last, relative to the trigger."""
    texts = [mapping.get("epoch_start_ms", EPOCH_START_MS), mapping.get("epoch_end_ms", EPOCH_END_MS)]
    start_ms, end_ms = map(as_number, texts)
    if start_ms is None or end_ms is None or not start_ms < end_ms <= start_ms + 10_000:
        raise UserError(f"{path}: mapping of epoch_start_ms, epoch_end_ms: must be two rising times, but got {texts}")
    return round(start_ms * rate_hz / 1e3), round(end_ms * rate_hz / 1e3)


def _cut(
    raw: Any, signals: Sequence[str], stimuli: Sequence[tuple[int, Event]], length: int
) -> Iterator[tuple[Event, NDArray[np.float64]]]:
    """Yield the epochs [T] in V; the recording is read in pieces."""
    for _, piece in itertools.groupby(stimuli, key=lambda stimulus: stimulus[0] // PIECE_SAMPLES):
        together = list(piece)
        begin = together[0][0]
        end = together[-1][0] + length
        data = raw.get_data(picks=list(signals), start=begin, stop=end)
        signal = data[0]
        if len(signals) == 2:
            signal = data[0] - data[1]
        for at, event in together:
            yield event, signal[at - begin : at - begin + length]


FORMAT = Format(
    name="eeg",
    title="EDF, BDF, BrainVision (also as BIDS)",
    recognises=recognises,
    read=read,
    companions=companions,
    mapping_names=MAPPING_NAMES,
)
