"""Quantities with their units, as programs and people write them."""

import re
from collections.abc import Iterable
from pathlib import Path

from hcvae.errors import UserError
from hcvae.importers.cells import number_of
from hcvae.importers.recording import CellValue, FileError

UV_PER_UNIT = {"V": 1e6, "mV": 1e3, "uV": 1.0, "µV": 1.0, "nV": 1e-3}
VOLTAGES = ", ".join(UV_PER_UNIT)
"""The units of voltage, for messages."""
MICRO = str.maketrans("µμ", "uu")  # micro sign, Greek letter
UV_PER = {name.lower().translate(MICRO): scale for name, scale in UV_PER_UNIT.items()}
HERTZ = re.compile(r"\s*(\S+?)\s*(k?)Hz\s*", re.IGNORECASE)
NUMBER = r"(?<![\d.,])(?<!\de)(?<!\de[-+])(?:(?<![\w.,])[-+])?\d+(?:[.,]\d+)?"  # "M1-20" is no negative number
DECIBELS = re.compile(rf"({NUMBER})\s*dB\s*([a-z]*)", re.IGNORECASE)
REFERENCES = {name.lower(): f"dB {name}" for name in ("SPL", "peSPL", "ppeSPL", "HL", "nHL", "SL", "eHL")}


def uv_per(unit: str) -> float | None:
    """Return the microvolts in one `unit`, in upper or lower case; None if it is not a unit of voltage."""
    return UV_PER.get(unit.strip().lower().translate(MICRO))


def uv_per_given(unit: str, path: Path) -> float:
    """Return the microvolts in one `unit`, which a mapping gives for the file `path`.

    Raises:
        UserError: not a unit of voltage.
    """
    scale = uv_per(unit)
    if scale is None:
        raise UserError(f"{path}: mapping of unit: must be one of {VOLTAGES}, but got {unit!r}")
    return scale


def uv_per_shared(units: Iterable[CellValue], path: Path) -> float:
    """Return the microvolts in the unit that all waveforms share; None is skipped, and without any unit it is uV.

    Raises:
        FileError: several units, or not a unit of voltage.
    """
    names = {str(unit) for unit in units if unit is not None} or {"uV"}
    scales = set(map(uv_per, names))
    scale = scales.pop()
    if scales or scale is None:
        found = "another unit"
        if scales:
            found = f"{len(scales) + 1} units"
        raise FileError(path, "unit", found, f"one of {VOLTAGES} for all waveforms; give it with a mapping of unit")
    return scale


def hertz_in(text: str) -> float | None:
    """Return the frequency in Hz in a text such as `8000 Hz` or `11.3 kHz`; None if it is something else."""
    found = HERTZ.fullmatch(text)
    if found is None:
        return None
    number = number_of(found[1])
    if number is None:
        return None
    if found[2]:
        number *= 1000
    return round(number, 6)


def decibels_in(text: str) -> float | None:
    """Return the level in dB in a text such as `90 dB SPL` or `Click 20 dB`; None unless there is exactly one."""
    found = DECIBELS.findall(text.replace("\N{MINUS SIGN}", "-"))
    if len(found) != 1:
        return None
    return number_of(found[0][0].replace(",", "."))


def level_reference_in(text: str) -> str | None:
    """Return the reference of the level in dB in a text, such as `dB SPL`; None if it states none."""
    found = DECIBELS.search(text)
    if found is None:
        return None
    return REFERENCES.get(found[2].lower())
