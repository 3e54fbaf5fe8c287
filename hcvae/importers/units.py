"""Quantities with their units, as programs and people write them."""

import re

from hcvae.importers.cells import number_of
from hcvae.importers.columns import UV_PER_UNIT

MICRO = str.maketrans("µμ", "uu")  # micro sign, Greek letter
HERTZ = re.compile(r"\s*(\S+?)\s*(k?)Hz\s*", re.IGNORECASE)
NUMBER = r"(?<![\d.,])(?<!\de)(?<!\de[-+])(?:(?<![\w.,])[-+])?\d+(?:[.,]\d+)?"  # "M1-20" is no negative number
DECIBELS = re.compile(rf"({NUMBER})\s*dB\s*([a-z]*)", re.IGNORECASE)
UV_PER = {name.lower().translate(MICRO): scale for name, scale in UV_PER_UNIT.items()}
REFERENCES = {name.lower(): f"dB {name}" for name in ("SPL", "peSPL", "ppeSPL", "HL", "nHL", "SL", "eHL")}


def uv_per(unit: str) -> float | None:
    """Microvolts of one `unit`, in any case of its letters; None where it is no unit of voltage."""
    return UV_PER.get(unit.strip().lower().translate(MICRO))


def hertz_in(text: str) -> float | None:
    """The frequency of a text such as `8000 Hz` or `11.3 kHz`."""
    found = HERTZ.fullmatch(text)
    number = number_of(found[1]) if found else None
    return None if found is None or number is None else round(number * (1000 if found[2] else 1), 6)


def decibels_in(text: str) -> float | None:
    """The one level in dB that a text holds, such as `90 dB SPL` or `Click 20 dB`."""
    found = DECIBELS.findall(text.replace("\N{MINUS SIGN}", "-"))
    return number_of(found[0][0].replace(",", ".")) if len(found) == 1 else None


def level_reference_in(text: str) -> str | None:
    """What the level in dB that a text holds refers to, such as `dB SPL`; None where it does not say."""
    found = DECIBELS.search(text)
    return REFERENCES.get(found[2].lower()) if found else None
