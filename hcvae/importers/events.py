"""Stimuli of a continuous recording: onset and condition of each.

They come from the table of events that BIDS puts beside a recording, else from its annotations, else from its trigger
channel. Stimuli with different names are averaged together only if a mapping names them as one stimulus.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import product
from pathlib import Path
from typing import Any

from hcvae.counting import repeated
from hcvae.errors import UserError
from hcvae.importers.averages import PER_RECORD
from hcvae.importers.bids import rows_of_table, table_beside
from hcvae.importers.cells import is_null
from hcvae.importers.columns import SCALARS, as_number, plain_value
from hcvae.importers.recording import CellValue, FileError, ReadOptions
from hcvae.suggest import did_you_mean

MAX_TABLE_BYTES = 64 * 2**20
NO_EPOCH = ("bad*", "new segment*", "*/new segment*", "boundary", "edge*")
"""Patterns of names of bad spans and of pauses of the recording, in lower case."""
NO_STIMULI = (*NO_EPOCH, "comment/*")
"""Patterns of names that are not stimuli, in lower case."""
NOT_CONDITIONS = (
    "event",
    "signal",
    "unit",
    "trigger",
    "trigger_idle",
    "trial_samples",
    "epoch_start_ms",
    "epoch_end_ms",
    "delay_ms",
)
"""Left sides of a mapping that do not give a column of the stimuli."""
BIDS_COLUMNS = ("onset", "duration", "trial_type", "value", "sample")
MAX_UNREAD = 300
"""Characters of a list of columns in a note."""
MAX_NAME = 32
"""Characters of a stimulus's name in a message."""
MAX_NAMES = 8
"""Names of stimuli in a message."""

Patterns = Mapping[str, re.Pattern[str]]
"""Regular expression with one group for each column that the names of stimuli give."""


@dataclass(frozen=True)
class Event:
    """One stimulus."""

    onset_s: float
    names: tuple[str, ...]
    """From a table of events: trial type, value, and both joined with a comma; else the annotation or the code."""
    values: Mapping[str, CellValue]
    """Columns of the waveform table."""

    def sample(self, rate_hz: float) -> int:
        """Return the number, from 0, of the sample nearest to the onset."""
        return round(self.onset_s * rate_hz)


def events_of(
    path: Path, raw: Any, triggers: Callable[[], Iterable[tuple[float, str]]], options: ReadOptions
) -> list[Event]:
    """Return all stimuli sorted by time; with a mapping of `event`, only those whose name matches it.

    Args:
        path: the recording.
        raw: MNE's recording, with its annotations.
        triggers: returns time in s and code of the stimuli in the trigger channel.
        options: mapping and notes.

    Raises:
        FileError: a table of events without onsets.
        UserError: a mapping that names no column of the table or is not a regular expression; stimuli with different
            names that no column separates.
    """
    marks = raw.annotations
    table = table_beside(path, "events")
    has_marks = any(_is_stimulus((text,), options.mapping) for text in marks.description)
    if table is not None:
        if has_marks:
            options.note("annotations are not read: the stimuli are those of the table of events")
        _note_unused_triggers(options, "table of events")
        return _separated(list(_from_table(table, options)), options, table)
    if has_marks:
        _note_unused_triggers(options, "annotations")
        return named_events(zip(marks.onset, marks.description, strict=True), options, path)
    return named_events(triggers(), options, path)


def _note_unused_triggers(options: ReadOptions, source: str) -> None:
    for name in ("trigger", "trigger_idle"):
        if name in options.mapping:
            options.note(f"mapping of {name} is not used: the stimuli are those of the {source}")


def named_events(marks: Iterable[tuple[float, str]], options: ReadOptions, path: Path) -> list[Event]:
    """Return the stimuli among pairs of time in s and name, sorted by time, with the columns that the names give.

    Raises:
        UserError: a mapping that is not a regular expression, or stimuli with different names that no column separates.
    """
    patterns: dict[str, re.Pattern[str]] = {}
    for column, text in options.mapping.items():
        if column not in NOT_CONDITIONS:
            patterns[column] = _pattern(column, text)
    events = []
    for onset, text in marks:
        if _is_stimulus((text,), options.mapping):
            events.append(Event(float(onset), (text,), conditions_of(text) | _found(patterns, (text,))))
    return _separated(events, options, path)


def bad_spans_s(raw: Any) -> list[tuple[float, float]]:
    """Return start and end of the spans that annotations mark as bad, and of the points where the recording pauses."""
    marks = raw.annotations
    spans = []
    for onset, duration, text in zip(marks.onset, marks.duration, marks.description, strict=True):
        if _matches(text, NO_EPOCH):
            spans.append((onset, onset + duration))
    return spans


def _separated(events: list[Event], options: ReadOptions, where: Path) -> list[Event]:
    """Return the events sorted by time, after a check that no average would mix stimuli with different names."""
    for column in options.mapping:
        if column not in NOT_CONDITIONS:
            missing = [event for event in events if event.values.get(column) is None]
            if missing:
                options.note(f"mapping of {column}: nothing found for {len(missing)} of {len(events)} stimuli")
    separating = {*SCALARS}.difference(PER_RECORD, options.fixed)
    chosen = {*options.mapping.get("event", "").split("|")}
    names_of: dict[frozenset[tuple[str, CellValue]], Counter[str]] = {}
    unchosen = set()
    for event in events:
        condition = _condition(event, separating)
        names_of.setdefault(condition, Counter())[event.names[-1]] += 1
        if chosen.isdisjoint(event.names):
            unchosen.add(condition)
    is_mixed = False
    for condition, names in names_of.items():
        if len(names) > 1 and condition in unchosen:
            raise UserError(_advice(names, where))
        is_mixed |= len(names) > 1
    if is_mixed:
        options.note("stimuli of several names are averaged together, as the mapping of event names them")
    return sorted(events, key=lambda event: event.onset_s)


def _condition(event: Event, separating: set[str]) -> frozenset[tuple[str, CellValue]]:
    """Return the known values of the columns in `separating`; events with equal ones are averaged together."""
    known = set()
    for name, value in event.values.items():
        if name in separating and value is not None:
            known.add((name, value))
    return frozenset(known)


def _advice(mixed: Counter[str], where: Path) -> str:
    """Return the message about stimuli that would be averaged together, by name and count.

    It leaves out long names and those that occur once without a digit, which may be remarks about a person.
    """
    names: list[str] = []
    counts: list[str] = []
    for name, n in mixed.most_common():
        if len(name) <= MAX_NAME and (n > 1 or re.search(r"\d", name)) and len(names) < MAX_NAMES:
            names.append(name)
            counts.append(f"{name!r} ({n})")
    if len(names) < len(mixed):
        counts.append(f"{len(mixed) - len(names)} others")
    names = names or ["NAME"]
    together = "|".join([*names, "OTHER"][:2])
    return (
        f"{where}: stimuli of {len(mixed)} names would be averaged together: {', '.join(counts)}; choose one with "
        f"--map 'event={names[0]}', name those that are one stimulus with --map 'event={together}', or keep them apart "
        "by a column: --map 'stimulus_level_db=(\\d+)' is a regular expression that finds it in the name, "
        "--map 'stimulus_type=(.*)' takes the name itself"
    )


def _from_table(table: Path, options: ReadOptions) -> Iterator[Event]:
    lines = rows_of_table(table, MAX_TABLE_BYTES)
    titles = list(lines.fieldnames or ())
    if repeated(titles) or "onset" not in titles:
        found = f"the columns {titles[:MAX_NAMES]}"
        expected = "names that differ, separated by tabs, with 'onset' among them"
        raise FileError(table, "line 1", found, expected)
    columns, patterns = _columns(titles, options.mapping, table)
    read = {*BIDS_COLUMNS, *columns.values()}
    unread = [title for title in titles if title not in read]
    if unread:
        options.note(f"table of events: columns that are not read: {', '.join(unread)[:MAX_UNREAD]}")
    for line in lines:
        if None in line or None in line.values():
            found = "more or fewer cells than names"
            raise FileError(table, f"line {lines.line_num}", found, f"{len(titles)} cells, separated by tabs")
        names = _names(line)
        if not _is_stimulus(names, options.mapping):
            continue
        onset = as_number(line.get("onset"))
        if onset is None:
            raise FileError(table, f"line {lines.line_num}", "an onset that is not a number", "a time in s")
        values = {column: _value(line.get(title)) for column, title in columns.items()}
        yield Event(onset, names, values | _found(patterns, names))


def _names(line: Mapping[str, str | None]) -> tuple[str, ...]:
    """Return the names of the stimulus in a line of the table: trial type, value, and both joined."""
    names = []
    for title in ("trial_type", "value"):
        text = line.get(title)
        if text and text != "n/a":
            names.append(text)
    if len(names) != 1:
        names.append(", ".join(names))
    return tuple(names)


def _columns(
    titles: list[str], mapping: Mapping[str, str], table: Path
) -> tuple[dict[str, str], dict[str, re.Pattern[str]]]:
    """Return titles in the table by our columns, and regular expressions for names of stimuli by our columns."""
    columns: dict[str, str] = {}
    for title in titles:
        if title in SCALARS:
            columns[title] = title
    patterns: dict[str, re.Pattern[str]] = {}
    for column, name in mapping.items():
        if column in NOT_CONDITIONS:
            continue
        if name in titles:
            columns[column] = name
        elif "(" in name:
            patterns[column] = _pattern(column, name)
        else:
            raise UserError(f"{table}: mapping of {column}: no column {name!r}{did_you_mean(name, titles)}")
    return columns, patterns


def _found(patterns: Patterns, names: Sequence[str]) -> dict[str, CellValue]:
    """Return the columns that the patterns find, each in the last of the names that matches."""
    found = {}
    for column, pattern in patterns.items():
        for name in reversed(names):
            match = pattern.search(name)
            if match:
                found[column] = _value(match[1])
                break
    return found


def conditions_of(text: str) -> dict[str, CellValue]:
    """Return the columns of the waveform table in a JSON object; none for other text."""
    if not text.lstrip().startswith("{"):
        return {}
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(fields, dict):
        return {}
    return {name: plain_value(fields[name]) for name in SCALARS if name in fields}


def _pattern(column: str, text: str) -> re.Pattern[str]:
    """Return the regular expression, with one group, that a mapping gives for `column`."""
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise UserError(f"mapping of {column}: must be a regular expression, but got {text!r} ({error})") from error
    if pattern.groups != 1:
        raise UserError(
            f"mapping of {column}: must be a regular expression with one group that finds the value in an annotation, "
            f"such as '(\\d+) dB', but got {text!r}"
        )
    return pattern


def _is_stimulus(names: Sequence[str], mapping: Mapping[str, str]) -> bool:
    """Return whether one of the names matches the mapping of `event`, and none matches `NO_STIMULI`."""
    if any(_matches(name, NO_STIMULI) for name in names):
        return False
    wanted = mapping.get("event", "*").split("|")
    return any(name == pattern or fnmatchcase(name, pattern) for name, pattern in product(names, wanted))


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name.lower(), pattern) for pattern in patterns)


def _value(text: str | None) -> CellValue:
    if text is None or is_null(text):
        return None
    number = as_number(text)
    if number is None:
        return plain_value(text)
    return number
