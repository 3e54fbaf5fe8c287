"""The stimulus of TDT BioSig records, from variables that users name freely: recognised by name and unit."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from hcvae.importers.cells import number_of
from hcvae.importers.recording import CellValue, ReadOptions
from hcvae.importers.units import decibels_in, hertz_in, level_reference_in

STIMULUS = r"(tone|stim(ulus)?|click|carrier|cent(er|re)|test|pip|burst|sound)?"
FREQUENCY = re.compile(STIMULUS + "freq")
LEVEL = re.compile(STIMULUS + "(level|lvl|intens|spl)")
HINTS = re.compile(r"freq|tone|pip|burst|chirp|noise|hz")
"""Words in variables and stimulus files that are evidence against a click."""
NO_HINTS = re.compile(r"rate|pass|filter|cut|samp|notch")
"""Words in variables that are not about the stimulus."""


@dataclass
class _Read:
    """What the variables of a record give about the stimulus."""

    frequencies_hz: set[float] = field(default_factory=set)
    levels_db: dict[float, str | None] = field(default_factory=dict)
    """Reference, such as `dB SPL`, by level."""
    unread: list[str] = field(default_factory=list)
    hints: bool = False
    """Whether an unread variable is evidence against a click."""


def stimulus_of(variables: Iterable[tuple[str, str]], files: str, options: ReadOptions) -> dict[str, CellValue]:
    """Return type, frequency and level of a stimulus; None, with a note, if they are not recognised.

    Args:
        variables: names, and values with their units; the unit may be in brackets after the name.
        files: names of the stimulus files.
        options: collects the notes.
    """
    read = _read(tuple(variables))
    tones = read.frequencies_hz - {0.0}
    kind = _type(files.lower(), tones, hints=read.hints)
    values: dict[str, CellValue] = {"stimulus_type": kind, "stimulus_frequency_hz": None, "stimulus_level_db": None}
    if len(tones) == 1 and kind != "click":
        values["stimulus_frequency_hz"] = next(iter(tones))
    elif tones:
        options.note("the frequency is not read: the stimulus is a click, or has several frequencies")
    if len(read.levels_db) == 1:
        [(level, reference)] = read.levels_db.items()
        values["stimulus_level_db"] = level
        if reference:
            values["level_reference"] = reference
    else:
        options.note("no stimulus variable gives one level in dB; --value stimulus_level_db=... sets it")
    if kind is None:
        options.note("neither click nor tone is certain; --value stimulus_type=... sets it")
    if read.unread:
        options.note(f"stimulus variables that are not read: {', '.join(sorted(set(read.unread)))}")
    return values


@lru_cache
def _read(variables: tuple[tuple[str, str], ...]) -> _Read:
    """Read variables; cached, as the records of a file have few different ones."""
    read = _Read()
    for name, text in map(_with_unit, variables):
        if not name.strip(". "):
            continue
        letters = re.sub("[^a-z]", "", name.lower())
        hertz = hertz_in(text)
        decibels = decibels_in(text)
        if FREQUENCY.match(letters) and hertz is not None and hertz >= 0:
            read.frequencies_hz.add(hertz)
        elif LEVEL.match(letters) and decibels is not None:
            read.levels_db[decibels] = level_reference_in(text)
        else:
            read.unread.append(name[:40])
            is_hint = HINTS.search(letters) is not None or hertz is not None
            if is_hint and not NO_HINTS.search(letters) and not _is_zero(text):
                read.hints = True
    return read


def _is_zero(text: str) -> bool:
    """Return whether a value with its unit is 0."""
    return bool(text) and number_of(text.split()[0]) == 0


def _with_unit(variable: tuple[str, str]) -> tuple[str, str]:
    """Move a unit from the name to the value: `Freq(kHz)` and `8` become `Freq` and `8 kHz`."""
    name, bracket, unit = variable[0].replace("[", "(").rpartition("(")
    if not bracket:
        return variable
    value = f"{variable[1]} {unit.strip(' )]')}"
    return name.strip(), value.strip()


def _type(files: str, tones: set[float], *, hints: bool) -> str | None:
    """Return the type from the names of the stimulus files, in lower case, else from the variables."""
    is_click = "click" in files
    is_tone = "tone" in files
    if re.search("noise|chirp", files) or (is_click and is_tone):
        return None
    if is_click:
        return "click"
    if is_tone or len(tones) == 1:
        return "tone_pip"
    if tones or hints or HINTS.search(files):
        return None
    return "click"
