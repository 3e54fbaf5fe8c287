"""Stimuli of a continuous recording: when each began, and its condition.

From the file of events that BIDS puts beside a recording, else from its annotations, else from its trigger channel.
"""

import csv
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from hcvae.errors import UserError
from hcvae.importers.cells import is_null
from hcvae.importers.columns import SCALARS, as_number, plain
from hcvae.importers.foreign import library
from hcvae.importers.lines import lines_of
from hcvae.importers.recording import FileError, Value
from hcvae.suggest import did_you_mean

MAX_TABLE_BYTES = 64 * 2**20
NO_STIMULI = ("bad*", "new segment*", "*/new segment*", "boundary", "edge*", "comment/*")
NOT_CONDITIONS = ("event", "signal", "unit", "epoch_start_ms", "epoch_end_ms", "delay_ms")


@dataclass(frozen=True)
class Event:
    """One stimulus."""

    onset_s: float
    values: Mapping[str, Value]


def events_of(path: Path, raw: Any, mapping: Mapping[str, str]) -> list[Event]:
    """All stimuli in the order of time; only those whose name matches the mapping of `event`, if it has one.

    Raises:
        FileError: a table of events that has no onsets.
        UserError: a mapping that names no column of the table, or is no regular expression.
    """
    table = _table_beside(path)
    if table is not None:
        events = _from_table(table, mapping)
    elif any(_is_stimulus(text, mapping) for text in raw.annotations.description):
        events = _from_descriptions(raw.annotations.onset, raw.annotations.description, mapping)
    else:
        events = _from_triggers(raw, mapping, path)
    return sorted(events, key=lambda event: event.onset_s)


def bad_spans_s(raw: Any) -> list[tuple[float, float]]:
    """Begin and end of what annotations call bad."""
    marks = zip(raw.annotations.onset, raw.annotations.duration, raw.annotations.description, strict=True)
    return [(onset, onset + duration) for onset, duration, text in marks if text.lower().startswith("bad")]


def _table_beside(path: Path) -> Path | None:
    """BIDS: `sub-1_task-abr_eeg.edf` has its events in `sub-1_task-abr_events.tsv`."""
    name, suffix, _ = path.stem.rpartition("_eeg")
    table = path.with_name(f"{name}_events.tsv")
    return table if suffix and table.is_file() and table.resolve().parent == path.parent.resolve() else None


def _from_table(table: Path, mapping: Mapping[str, str]) -> Iterator[Event]:
    texts = (line for _, line in lines_of(table, max_bytes=MAX_TABLE_BYTES))
    lines = csv.DictReader(texts, delimiter="\t", quoting=csv.QUOTE_NONE)
    columns = _columns(list(lines.fieldnames or ()), mapping, table)
    for line in lines:
        name = line.get("trial_type") or line.get("value") or ""
        if not _is_stimulus(name, mapping):
            continue
        onset = as_number(line.get("onset"))
        if onset is None:
            raise FileError(table, f"line {lines.line_num}", "an onset that is no number", "a time in s")
        yield Event(onset, {column: _value(line.get(at)) for column, at in columns.items()})


def _columns(present: list[str], mapping: Mapping[str, str], table: Path) -> dict[str, str]:
    columns = {name: name for name in present if name in SCALARS}
    for column, name in mapping.items():
        if column in NOT_CONDITIONS:
            continue
        if name not in present:
            raise UserError(f"{table}: mapping of {column}: no column {name!r}{did_you_mean(name, present)}")
        columns[column] = name
    return columns


def _from_descriptions(onsets: Any, descriptions: Any, mapping: Mapping[str, str]) -> Iterator[Event]:
    patterns = {name: _pattern(name, text) for name, text in mapping.items() if name not in NOT_CONDITIONS}
    for onset, text in zip(onsets, descriptions, strict=True):
        if _is_stimulus(text, mapping):
            found = {name: pattern.search(text) for name, pattern in patterns.items()}
            values = {name: _value(match[1]) for name, match in found.items() if match}
            yield Event(float(onset), conditions_of(text) | values)


def _from_triggers(raw: Any, mapping: Mapping[str, str], path: Path) -> Iterator[Event]:
    mne = library("mne", path)
    if "stim" not in raw.get_channel_types():
        return
    found = mne.find_events(raw, stim_channel=None, shortest_event=1, consecutive=True, verbose="ERROR")
    onsets = [sample / raw.info["sfreq"] for sample in found[:, 0] - raw.first_samp]
    yield from _from_descriptions(onsets, [str(code) for code in found[:, 2]], mapping)


def conditions_of(text: str) -> dict[str, Value]:
    """Columns of the waveform table that a JSON object spells; none where it is no such object."""
    try:
        found = json.loads(text) if text.lstrip().startswith("{") else None
    except (ValueError, RecursionError):
        found = None
    return {name: plain(found[name]) for name in SCALARS if name in found} if isinstance(found, dict) else {}


def _pattern(name: str, text: str) -> re.Pattern[str]:
    """A regular expression with one group; for a file without a table of events."""
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise UserError(f"mapping of {name}: must be a regular expression, but got {text!r} ({error})") from error
    if pattern.groups != 1:
        raise UserError(
            f"mapping of {name}: must be a regular expression with one group that finds the value in an annotation, "
            f"such as '(\\d+) dB', but got {text!r}"
        )
    return pattern


def _is_stimulus(name: str, mapping: Mapping[str, str]) -> bool:
    if any(fnmatchcase(name.lower(), pattern) for pattern in NO_STIMULI):
        return False
    return fnmatchcase(name, mapping.get("event", "*"))


def _value(text: str | None) -> Value:
    if text is None or is_null(text):
        return None
    number = as_number(text)
    return plain(text) if number is None else number
