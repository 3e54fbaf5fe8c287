"""The stimulus of TDT BioSig records, whose variables users name as they like: read by name and unit."""

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
"""Words of variables and stimulus files that speak against a click."""
NO_HINTS = re.compile(r"rate|pass|filter|cut|samp|notch")


@dataclass
class _Read:
    """What the variables of a record give."""

    frequencies_hz: set[float] = field(default_factory=set)
    levels_db: dict[float, str | None] = field(default_factory=dict)
    """Each with what it refers to."""
    unread: list[str] = field(default_factory=list)
    hints: bool = False
    """Whether an unread variable speaks against a click."""


def stimulus_of(variables: Iterable[tuple[str, str]], files: str, options: ReadOptions) -> dict[str, CellValue]:
    """Type, frequency and level of a stimulus; None, and a note, where they are not understood.

    Args:
        variables: names, and values with their units; the unit may stand in brackets after the name.
        files: names of the stimulus files.
        options: take the notes.
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
        [(values["stimulus_level_db"], reference)] = read.levels_db.items()
        values |= {"level_reference": reference} if reference else {}
    else:
        options.note("no stimulus variable gives one level in dB; --value stimulus_level_db=... sets it")
    if kind is None:
        options.note("neither click nor tone is certain; --value stimulus_type=... sets it")
    if read.unread:
        options.note(f"stimulus variables that are not read: {', '.join(sorted(set(read.unread)))}")
    return values


@lru_cache
def _read(variables: tuple[tuple[str, str], ...]) -> _Read:
    read = _Read()
    used = ((name, text) for name, text in map(_with_unit, variables) if name.strip(". "))
    for name, text in used:
        letters = re.sub("[^a-z]", "", name.lower())
        hertz, decibels = hertz_in(text), decibels_in(text)
        if FREQUENCY.match(letters) and hertz is not None and hertz >= 0:
            read.frequencies_hz.add(hertz)
        elif LEVEL.match(letters) and decibels is not None:
            read.levels_db[decibels] = level_reference_in(text)
        else:
            read.unread.append(name[:40])
            against_click = HINTS.search(letters) or hertz is not None
            read.hints |= bool(
                against_click and not NO_HINTS.search(letters) and number_of(text.split()[0] if text else None) != 0
            )
    return read


def _with_unit(variable: tuple[str, str]) -> tuple[str, str]:
    """`Freq(kHz)` and `8` as `Freq` and `8 kHz`."""
    name, bracket, unit = variable[0].replace("[", "(").rpartition("(")
    return (name.strip(), f"{variable[1]} {unit.strip(' )]')}".strip()) if bracket else variable


def _type(files: str, tones: set[float], *, hints: bool) -> str | None:
    """By the names of the stimulus files, in lower case, else by the variables."""
    is_click, is_tone = "click" in files, "tone" in files
    if re.search("noise|chirp", files) or (is_click and is_tone):
        return None
    if is_click or is_tone:
        return "click" if is_click else "tone_pip"
    if len(tones) == 1:
        return "tone_pip"
    return None if tones or hints or HINTS.search(files) else "click"
