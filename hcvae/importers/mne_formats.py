"""EDF, BDF and BrainVision through MNE: epochs of a continuous recording, or the waveforms of our own EDF export.

One recording a stimulus, `n_averages` 1: averaging is the pipeline's task. Data are read in pieces.

Legend: T samples.
"""

import configparser
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hcvae.errors import UserError
from hcvae.importers.columns import SCALARS, SUBJECT, as_number, recordings_of
from hcvae.importers.edf_header import BDF, EDF, UNITS, EdfHeader, read_edf_header
from hcvae.importers.events import Event, bad_spans_s, conditions_of, events_of
from hcvae.importers.foreign import as_file_error, companion, library, same_stem
from hcvae.importers.lines import text_of
from hcvae.importers.recording import EEG_AVERAGING, EEG_BAND_HZ, FileError, ReadOptions, Recording
from hcvae.importers.registry import Format
from hcvae.importers.triggers import Runs, stimuli_in

BRAINVISION = (b"Brain Vision Data Exchange Header File", b"BrainVision Data Exchange Header File")
EXPORTED_CHANNEL = "ABR"
EPOCH_MS = (-5.0, 20.0)
PIECE_SAMPLES = 2**20
MAX_ASCII_BYTES = 64 * 2**20
NOBODY = re.compile(r"[X\s]*(Startdate.*)?")  # EDF+ writes X for each field that is unknown or left out
MAPPING_NAMES = frozenset(
    {"signal", "event", "trigger", "trigger_idle", "epoch_start_ms", "epoch_end_ms", "delay_ms", *SCALARS}
    - {"n_averages", "native_rate_hz"}
)
RIGHT = "a whole EDF, BDF or BrainVision recording"


def recognises(path: Path, head: bytes) -> bool:
    """Whether the file begins as one of the three do."""
    return head.startswith((BDF, *BRAINVISION)) or (head.startswith(EDF) and path.suffix.lower() in (".edf", ".rec"))


def companions(path: Path) -> list[Path]:
    """Data and markers of a BrainVision header, and the tables and descriptions that BIDS puts beside a recording."""
    data = same_stem(path) if path.suffix.lower() == ".vhdr" else []
    name, is_bids, _ = path.stem.rpartition("_eeg")
    beside = [p for p in path.parent.iterdir() if is_bids and p.name.startswith(f"{name}_") and not p.is_symlink()]
    return sorted({*data, *(p for p in beside if p.suffix in (".tsv", ".json"))})


def read(path: Path, options: ReadOptions) -> Iterator[Recording]:
    """The waveforms of our own export; of any other recording one epoch a stimulus.

    The mapping gives `signal` (a channel, or the difference of two as `Cz-A1`), `event` (a pattern such as `click*` of
    the stimuli's names, or several names as `A|B` that are one stimulus), `trigger` (the channel of triggers) and
    `trigger_idle` (its value between stimuli), `epoch_start_ms` and `epoch_end_ms` from the trigger (-5 and 20 by
    default), `delay_ms` from trigger to stimulus (0), and for columns of the waveform table a column of the table of
    events, or a regular expression with one group to search in the stimuli's names.

    Raises:
        FileError: a damaged file, or one without stimuli.
        UserError: MNE is not installed, a mapping that names what is not there, or stimuli of different names that no
            column keeps apart.
    """
    library("mne", path)  # before the file is looked at: what is missing is no fault of the file
    with as_file_error(path, RIGHT):
        header = None if path.suffix.lower() == ".vhdr" else read_edf_header(path)
        if header is None:
            labels = _brainvision_channels(path)
            signals = _signals(options.mapping.get("signal"), dict(zip(labels, labels, strict=True)), path)
        else:
            signals = _edf_signals(options.mapping.get("signal"), header)
        raw = _open(path, header, signals)
        if header is not None and signals == [EXPORTED_CHANNEL] and _is_exported(raw, header):
            yield from _exported(raw, path)
            return
        yield from _epochs(raw, header, path, signals, options)


def _open(path: Path, header: EdfHeader | None, signals: Sequence[str]) -> Any:
    """The recording, no samples read yet; of an EDF only the channels that are needed, as MNE gives all one rate."""
    mne = library("mne", path)
    if header is None:
        return mne.io.read_raw_brainvision(path, verbose="ERROR")
    reader = mne.io.read_raw_bdf if header.is_bdf else mne.io.read_raw_edf
    return reader(path, include=list(signals), stim_channel=None, exclude_after_unique=True, verbose="ERROR")


def _edf_signals(wanted: str | None, header: EdfHeader) -> list[str]:
    """The channels of the ABR; without a mapping the one voltage.

    Raises:
        FileError: a signal that is wanted is no voltage.
        UserError: as `_signals`.
    """
    units = {signal.name: signal.unit for signal in header.signals if not signal.is_trigger}
    labels = {signal.name: signal.label for signal in header.signals if not signal.is_trigger}
    voltages = {name: label for name, label in labels.items() if units[name] in UNITS}
    signals = _signals(wanted, voltages if wanted is None and voltages else labels, header.path)
    for name in signals:
        if units[name] not in UNITS:
            found = f"the unit {units[name]!r}" if units[name] else "no unit"
            expected = "uV, mV or V; name a voltage with --map signal=NAME"
            raise FileError(header.path, f"signal {name!r}", found, expected)
    return signals


def _brainvision_channels(path: Path) -> list[str]:
    """Names of the channels, after a check of the files that the header names."""
    text = text_of(path.read_bytes()[: 2**20])
    ini = configparser.ConfigParser(interpolation=None, strict=False, comment_prefixes=(";",), delimiters=("=",))
    ini.optionxform = str  # type: ignore[assignment, method-assign]
    ini.read_string("[" + text.partition("[")[2].partition("[Comment]")[0])
    data = companion(path, ini["Common Infos"]["DataFile"])
    if marker := ini["Common Infos"].get("MarkerFile"):
        companion(path, marker)
    if ini["Common Infos"].get("DataFormat", "BINARY").upper() == "ASCII" and data.stat().st_size > MAX_ASCII_BYTES:
        raise FileError(data, "whole file", f"{data.stat().st_size} bytes of text", "binary data; export it so")
    channels = ini["Channel Infos"].items()
    labels = [value.split(",")[0].replace("\\1", ",") for name, value in channels if name[:2] == "Ch"]
    if doubled := sorted({label for label in labels if labels.count(label) > 1}):  # MNE reads none of its channels then
        raise FileError(path, "Channel Infos", f"several channels called {doubled[0]!r}", "names that differ; edit one")
    return labels


def _signals(wanted: str | None, channels: Mapping[str, str], path: Path) -> list[str]:
    """One channel, or two of which the difference is wanted; `channels` has the label of each name."""
    if wanted is None:
        if len(channels) == 1 or EXPORTED_CHANNEL in channels:
            return [EXPORTED_CHANNEL if EXPORTED_CHANNEL in channels else next(iter(channels))]
        known = ", ".join([*channels][:12]) + (", ..." if len(channels) > 12 else "")
        raise UserError(
            f"{path}: {len(channels)} channels ({known}); name one, or two as A-B, with a mapping of signal"
        )
    if wanted in channels:
        return [wanted]
    pairs = [[wanted[:at], wanted[at + 1 :]] for at, letter in enumerate(wanted) if letter == "-"]
    found = [pair for pair in pairs if set(pair) <= set(channels)]
    if found:
        return found[0]
    for label in (wanted, *itertools.chain(*pairs)):
        same = [name for name, its in channels.items() if its == label]
        if len(same) > 1:
            raise UserError(
                f"{path}: mapping of signal: {len(same)} channels are called {label!r}; name one as {' or '.join(same)}"
            )
    raise UserError(f"{path}: mapping of signal: no channel {wanted!r}; known are {', '.join([*channels][:12])}")


def _subject(path: Path, header: EdfHeader | None) -> str | None:
    """The label of a BIDS file name, or the patient of the header."""
    if label := re.match(r"sub-([A-Za-z0-9]+)_", path.name):
        return label[1]
    return header.patient if header is not None and not NOBODY.fullmatch(header.patient) else None


def _is_exported(raw: Any, header: EdfHeader) -> bool:
    texts = raw.annotations.description
    return len(texts) == header.records and all(text.startswith("{") for text in texts)


def _exported(raw: Any, path: Path) -> Iterator[Recording]:
    """One waveform a data record, its columns as JSON in the annotation at its start."""
    texts, rate_hz = raw.annotations.description, raw.info["sfreq"]
    length = raw.n_times // len(texts)
    for row, text in enumerate(texts):
        fields = json.loads(text)
        columns = conditions_of(text) | {
            "sampling_rate_hz": rate_hz,
            "start_ms": as_number(fields.get("start_ms")) or 0.0,
        }
        columns |= {SUBJECT: fields.get(SUBJECT), "signal": raw.get_data(start=row * length, stop=(row + 1) * length)}
        yield from recordings_of(columns, path, "V", row)


def _epochs(
    raw: Any, header: EdfHeader | None, path: Path, signals: Sequence[str], options: ReadOptions
) -> Iterator[Recording]:
    rate_hz, mapping, subject = float(raw.info["sfreq"]), options.mapping, _subject(path, header)
    first, last = _window(mapping, rate_hz, path)
    delay_ms = as_number(mapping.get("delay_ms", "0"))
    if delay_ms is None:
        raise UserError(f"{path}: mapping of delay_ms: must be a time in ms, but got {mapping['delay_ms']!r}")
    bad = [(int(begin * rate_hz), int(end * rate_hz)) for begin, end in bad_spans_s(raw)]
    stimuli = []
    for event in events_of(path, raw, partial(_triggers, header, options), options):
        at = round(event.onset_s * rate_hz)
        begin, end = at + first, at + last
        if begin >= 0 and end <= raw.n_times and not any(begin < stop and start < end for start, stop in bad):
            stimuli.append((begin, event))
    if not stimuli:
        expected = "stimuli in a table of events, annotations or triggers, with a whole epoch around one at least"
        raise FileError(path, "whole file", "no stimulus with a whole epoch", expected)
    for number, (event, samples) in enumerate(_cut(raw, signals, stimuli, last - first)):
        columns = dict(event.values) | {"n_averages": 1, "native_rate_hz": rate_hz, SUBJECT: subject}
        axis = {"signal": samples[None, :], "sampling_rate_hz": rate_hz, "start_ms": 1e3 * first / rate_hz - delay_ms}
        yield from recordings_of(
            columns | axis, path, "V", number, usual_band_hz=EEG_BAND_HZ, usual_averaging=EEG_AVERAGING
        )


def _triggers(header: EdfHeader | None, options: ReadOptions) -> list[tuple[float, str]]:
    """Time in s and code of each stimulus in the trigger channel of an EDF or BDF; none without such a channel."""
    wanted = options.mapping.get("trigger")
    if header is None:
        return []
    signals = [one for one in header.signals if (one.is_trigger if wanted is None else one.name == wanted)]
    if not signals and wanted is None:
        return []
    if len(signals) != 1:
        known = ", ".join(signal.name for signal in signals or header.signals)[:300]
        raise UserError(f"{header.path}: must have one trigger channel; give --map trigger=NAME, one of {known}")
    runs = Runs.of(header.trigger_values(signals[0]))
    return [(at / signals[0].rate_hz, code) for at, code in stimuli_in(runs, header.path, options)]


def _window(mapping: Mapping[str, str], rate_hz: float, path: Path) -> tuple[int, int]:
    """First sample of an epoch, and that after its last, from the stimulus."""
    texts = [mapping.get(f"epoch_{side}_ms", str(ms)) for side, ms in zip(("start", "end"), EPOCH_MS, strict=True)]
    start_ms, end_ms = map(as_number, texts)
    if start_ms is None or end_ms is None or not start_ms < end_ms <= start_ms + 10_000:
        raise UserError(f"{path}: mapping of epoch_start_ms, epoch_end_ms: must be two rising times, but got {texts}")
    return round(start_ms * rate_hz / 1e3), round(end_ms * rate_hz / 1e3)


def _cut(
    raw: Any, signals: Sequence[str], stimuli: Sequence[tuple[int, Event]], length: int
) -> Iterator[tuple[Event, NDArray[np.float64]]]:
    """Epochs [T] in V, read a piece of the recording at a time."""
    for _, piece in itertools.groupby(stimuli, key=lambda stimulus: stimulus[0] // PIECE_SAMPLES):
        together = list(piece)
        begin, end = together[0][0], together[-1][0] + length
        data = raw.get_data(picks=list(signals), start=begin, stop=end)
        signal = data[0] - data[1] if len(signals) == 2 else data[0]
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
