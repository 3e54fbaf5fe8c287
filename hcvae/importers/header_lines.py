"""Lines above the samples in the layout by columns that no mapping names: what their cells give, or could be."""

import re
import shlex
from collections.abc import Callable, Collection, Sequence
from functools import partial
from itertools import filterfalse
from typing import Any

from hcvae.data.plausible_ranges import PLAUSIBLE_RANGES
from hcvae.data.table import LEVEL
from hcvae.importers.cells import cell_text, is_null, shown_value
from hcvae.importers.columns import SCALARS, SUBJECT
from hcvae.importers.recording import ReadOptions
from hcvae.importers.units import decibels_in, hertz_in, level_reference_in, uv_per
from hcvae.importers.values import LETTERS, letter_of

QUANTITIES = {LEVEL: decibels_in, "threshold_db": decibels_in, "stimulus_frequency_hz": hertz_in}
"""Columns whose cells may include their unit."""
LEVEL_NAME = re.compile(r"level|lvl|intensit|db|spl\b|\bhl\b|nhl", re.IGNORECASE)
"""Names of lines that are about levels."""
OTHER_DECIBELS = re.compile(r"thr|atten|loss|gain|nois|mask", re.IGNORECASE)
"""Names of lines whose decibels are not the level of the stimulus."""
BRACKETED = re.compile(r".*[(\[]([^()\[\]]*)[)\]]\s*")
MAX_NAME = 40
"""Characters of the name of a line in a message."""
Number = Callable[[Any], float | None]


def recognised(
    name: str, cells: Sequence[Any], taken: Collection[str], number: Number, options: ReadOptions
) -> dict[str, Any]:
    """Return the columns that an unmapped header line gives by its cells, with a note of what is (not) read.

    Args:
        name: of the line.
        cells: its cells, the first of which is its own name.
        taken: columns that other lines give.
        number: returns the number in a cell.
        options: collects the notes.
    """
    texts = list(map(cell_text, cells[1:]))
    found = _levels_and_units(texts)
    if OTHER_DECIBELS.search(name):
        found.pop(LEVEL, None)
        found.pop("level_reference", None)
    for column in found.keys() & set(taken):
        del found[column]
    if found:
        options.note(f"{' and '.join(sorted(found))} taken from the header line {name[:MAX_NAME]!r}")
    elif any(texts):
        options.note(f"header line {name[:MAX_NAME]!r} is not read{_proposal(name, cells, taken, number)}")
    return found


def _proposal(name: str, cells: Sequence[Any], taken: Collection[str], number: Number) -> str:
    """Return how to read an unmapped header line: as levels, if its numbers and its name, if any, fit; else as what."""
    filled = list(filterfalse(is_null, map(shown_value, cells[1:])))
    possible = [column for column in (SUBJECT, *SCALARS) if column not in taken and _can_be(column, filled, number)]
    if len(name) > MAX_NAME or not possible:
        return ""
    is_nameless = not cell_text(cells[0]).strip()
    if LEVEL in possible and not OTHER_DECIBELS.search(name) and (is_nameless or LEVEL_NAME.search(name)):
        return f"; --map {shlex.quote(f'{LEVEL}={name}')} reads it as levels"
    return f"; --map {shlex.quote(f'COLUMN={name}')} reads it; COLUMN may be {', '.join(possible)}"


def _can_be(column: str, cells: Sequence[Any], number: Number) -> bool:
    """Return whether the filled cells of a line can be values of our column."""
    values = list(map(number, cells))
    if column in QUANTITIES and None in values:
        values = list(map(QUANTITIES[column], map(str, cells)))
    numbers = [value for value in values if value is not None]
    is_text = len(numbers) < len(values)
    if column == SUBJECT:
        return is_text or all(map(float.is_integer, numbers))
    if column in PLAUSIBLE_RANGES:
        return not is_text and all(value in PLAUSIBLE_RANGES[column] for value in numbers)
    if column in LETTERS:
        return None not in map(partial(letter_of, column), cells)
    return is_text


def _levels_and_units(texts: Sequence[str]) -> dict[str, Any]:
    """Return the levels and the units of samples in the cells of a header line, such as `20 dB SPL` and `Cz (mV)`."""
    found: dict[str, Any] = {}
    levels = list(map(decibels_in, texts))
    if None not in levels:
        found[LEVEL] = levels
        references = list(map(level_reference_in, texts))
        if None not in references:
            found["level_reference"] = references
    units = list(map(_bracketed, texts))
    if None not in map(uv_per, units):
        found["unit"] = units
    return found


def _bracketed(text: str) -> str:
    """Return the text in brackets at the end of `text`; all of it without brackets."""
    found = BRACKETED.fullmatch(text)
    if found is None:
        return text
    return found[1]
