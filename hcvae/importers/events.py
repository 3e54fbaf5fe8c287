"""Stimuli of a continuous recording: when each began, and its condition.

From the file of events that BIDS puts beside a recording, else from its annotations, else from its trigger channel.
Stimuli of different names are averaged together only where a mapping names them as one stimulus.
"""

import csv
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from hcvae.errors import UserError
from hcvae.importers.averages import PER_RECORD
from hcvae.importers.cells import is_null
from hcvae.importers.columns import SCALARS, as_number, plain
from hcvae.importers.lines import lines_of
from hcvae.importers.recording import CellValue, FileError, ReadOptions
from hcvae.suggest import did_you_mean

MAX_TABLE_BYTES = 64 * 2**20
NO_STIMULI = ("bad*", "new segment*", "*/new segment*", "boundary", "edge*", "comment/*")
NOT_CONDITIONS = (
    *("event", "signal", "unit", "trigger", "trigger_idle", "trial_samples"),
    *("epoch_start_ms", "epoch_end_ms", "delay_ms"),
)
BIDS_COLUMNS = ("onset", "duration", "trial_type", "value", "sample")
MAX_UNREAD = 300
MAX_NAME, MAX_NAMES = 32, 8
"""Characters of a stimulus's name, and names, in a message."""


@dataclass(frozen=True)
class Event:
    """One stimulus."""

    onset_s: float
    names: tuple[str, ...]
    """Of a table of events its trial type, its value, and both with a comma; else its annotation or its code."""
    values: Mapping[str, CellValue]


def events_of(
    path: Path, raw: Any, triggers: Callable[[], Iterable[tuple[float, str]]], options: ReadOptions
) -> list[Event]:
    """All stimuli in the order of time; only those whose name matches the mapping of `event`, if it has one.

    Args:
        raw: MNE's recording, with its annotations.
        triggers: gives time in s and code of the stimuli in the trigger channel.

    Raises:
        FileError: a table of events that has no onsets.
        UserError: a mapping that names no column of the table, or is no regular expression; stimuli of different names
            that no column keeps apart.
    """
    table, marks = _table_beside(path), raw.annotations
    if table is not None:
        if any(_is_stimulus((text,), options.mapping) for text in marks.description):
            options.note("annotations are not read: the stimuli are those of the table of events")
        return _kept_apart(list(_from_table(table, options)), options, table)
    if any(_is_stimulus((text,), options.mapping) for text in marks.description):
        return named_events(zip(marks.onset, marks.description, strict=True), options, path)
    return named_events(triggers(), options, path)


def named_events(marks: Iterable[tuple[float, str]], options: ReadOptions, path: Path) -> list[Event]:
    """The stimuli among times in s and names, in the order of time, each with what the mapping finds in its name.

    Raises:
        UserError: a mapping that is no regular expression, or stimuli of different names that no column keeps apart.
    """
    patterns = {name: _pattern(name, text) for name, text in options.mapping.items() if name not in NOT_CONDITIONS}
    events = [
        Event(float(onset), (text,), conditions_of(text) | _found(patterns, (text,)))
        for onset, text in marks
        if _is_stimulus((text,), options.mapping)
    ]
    return _kept_apart(events, options, path)


def bad_spans_s(raw: Any) -> list[tuple[float, float]]:
    """Begin and end of what annotations call bad."""
    marks = zip(raw.annotations.onset, raw.annotations.duration, raw.annotations.description, strict=True)
    return [(onset, onset + duration) for onset, duration, text in marks if text.lower().startswith("bad")]


def _kept_apart(events: list[Event], options: ReadOptions, where: Path) -> list[Event]:
    """The events in the order of time, after a check that no average would hold stimuli of different names."""
    for column in (name for name in options.mapping if name not in NOT_CONDITIONS):
        if missing := sum(event.values.get(column) is None for event in events):
            options.note(f"mapping of {column}: nothing found for {missing} of {len(events)} stimuli")
    apart, chosen = {*SCALARS} - {*PER_RECORD} - options.fixed, {*options.mapping.get("event", "").split("|")}
    averaged: dict[frozenset[tuple[str, CellValue]], Counter[str]] = {}
    unchosen = set()
    for event in events:
        condition = frozenset(item for item in event.values.items() if item[0] in apart and item[1] is not None)
        averaged.setdefault(condition, Counter())[event.names[-1]] += 1
        if not chosen & {*event.names}:
            unchosen.add(condition)
    for condition, names in averaged.items():
        if len(names) > 1 and condition in unchosen:
            raise UserError(_advice(names, where))
    if any(len(names) > 1 for names in averaged.values()):
        options.note("stimuli of several names are averaged together, as the mapping of event names them")
    return sorted(events, key=lambda event: event.onset_s)


def _advice(mixed: Mapping[str, int], where: Path) -> str:
    """The names, but for long ones and those that occur once, which may be remarks about a person."""
    shown = {name: n for name, n in mixed.items() if len(name) <= MAX_NAME and (n > 1 or re.search(r"\d", name))}
    first = dict(sorted(shown.items(), key=lambda item: -item[1])[:MAX_NAMES])
    counts = [f"{name!r} ({n})" for name, n in first.items()]
    if others := len(mixed) - len(first):
        counts.append(f"{others} others")
    one, *more = first or ("NAME",)
    both = "|".join((one, *more[:1])) if more else f"{one}|OTHER"
    return (
        f"{where}: stimuli of {len(mixed)} names would be averaged together: {', '.join(counts)}; choose one with "
        f"--map 'event={one}', name those that are one stimulus with --map 'event={both}', or keep them apart by a "
        "column: --map 'stimulus_level_db=(\\d+)' is a regular expression that finds it in the name, "
        "--map 'stimulus_type=(.*)' takes the name itself"
    )


def _table_beside(path: Path) -> Path | None:
    """BIDS: `sub-1_task-abr_eeg.edf` has its events in `sub-1_task-abr_events.tsv`."""
    name, suffix, _ = path.stem.rpartition("_eeg")
    table = path.with_name(f"{name}_events.tsv")
    return table if suffix and table.is_file() and table.resolve().parent == path.parent.resolve() else None


def _from_table(table: Path, options: ReadOptions) -> Iterator[Event]:
    texts = (line for _, line in lines_of(table, max_bytes=MAX_TABLE_BYTES))
    lines = csv.DictReader(texts, delimiter="\t", quoting=csv.QUOTE_NONE)
    columns, patterns = _columns(list(lines.fieldnames or ()), options.mapping, table)
    if unread := [name for name in lines.fieldnames or () if name not in (*BIDS_COLUMNS, *columns.values())]:
        options.note(f"table of events: columns that are not read: {', '.join(unread)[:MAX_UNREAD]}")
    for line in lines:
        names = _names(line)
        if not _is_stimulus(names, options.mapping):
            continue
        onset = as_number(line.get("onset"))
        if onset is None:
            raise FileError(table, f"line {lines.line_num}", "an onset that is no number", "a time in s")
        values = {column: _value(line.get(at)) for column, at in columns.items()}
        yield Event(onset, names, values | _found(patterns, names))


def _names(line: Mapping[str, str | None]) -> tuple[str, ...]:
    found = [text for name in ("trial_type", "value") if (text := line.get(name)) and text != "n/a"]
    return (*found, ", ".join(found)) if len(found) != 1 else (found[0],)


def _columns(
    present: list[str], mapping: Mapping[str, str], table: Path
) -> tuple[dict[str, str], dict[str, re.Pattern[str]]]:
    """Columns of the table by ours, and the regular expressions for the names of stimuli."""
    columns, patterns = {name: name for name in present if name in SCALARS}, {}
    for column, name in mapping.items():
        if column in NOT_CONDITIONS:
            continue
        if name in present:
            columns[column] = name
        elif "(" in name:
            patterns[column] = _pattern(column, name)
        else:
            raise UserError(f"{table}: mapping of {column}: no column {name!r}{did_you_mean(name, present)}")
    return columns, patterns


def _found(patterns: Mapping[str, re.Pattern[str]], names: Sequence[str]) -> dict[str, CellValue]:
    """What the patterns find, in the last of the names that has it."""
    matches = {
        column: next(filter(None, map(pattern.search, reversed(names))), None) for column, pattern in patterns.items()
    }
    return {column: _value(match[1]) for column, match in matches.items() if match}


def conditions_of(text: str) -> dict[str, CellValue]:
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


def _is_stimulus(names: Sequence[str], mapping: Mapping[str, str]) -> bool:
    """Whether one of the names is wanted, and none says that this is no stimulus."""
    if any(fnmatchcase(name.lower(), pattern) for name in names for pattern in NO_STIMULI):
        return False
    wanted = mapping.get("event", "*").split("|")
    return any(name == pattern or fnmatchcase(name, pattern) for name in names for pattern in wanted)


def _value(text: str | None) -> CellValue:
    if text is None or is_null(text):
        return None
    number = as_number(text)
    return plain(text) if number is None else number
