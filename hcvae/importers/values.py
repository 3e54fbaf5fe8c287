"""The columns of one recording, converted to the types of the waveform table."""

from collections.abc import Mapping

import pyarrow as pa

from hcvae.data.plausible_ranges import HIGHPASS, LOWPASS, PLAUSIBLE_RANGES, is_reversed_band
from hcvae.errors import UserError
from hcvae.importers.columns import TYPES
from hcvae.importers.recording import Band, CellValue, Recording

OPTION = "--value"
LETTERS = {
    "ear": {"l": "L", "left": "L", "r": "R", "right": "R"},
    "sex": {"f": "F", "female": "F", "m": "M", "male": "M"},
}
"""Letter in the table by the word in the file, for columns with a fixed set of letters."""


def own_values(recording: Recording, band_hz: Band | None) -> dict[str, CellValue]:
    """Return the columns that the file states, or that follow from the recording and its band-pass."""
    values: dict[str, CellValue] = {"native_rate_hz": recording.sampling_rate_hz, **recording.values}
    if band_hz is not None:
        values |= {HIGHPASS: band_hz[0], LOWPASS: band_hz[1]}
    return values


def letter_of(name: str, value: CellValue) -> str | None:
    """Return the letter for a value of the column `name`, one of `LETTERS`; None if it stands for none."""
    return LETTERS[name].get(str(value).strip().lower())


def is_replaced(name: str, own: CellValue, given: CellValue) -> bool:
    """Return whether a value `given` for the column `name` contradicts the file's `own` value."""
    if name in LETTERS:
        own = letter_of(name, own) or own
    if own is None or own == given:
        return False
    return str(own).strip().lower() != str(given).lower()


def values_of(own: Mapping[str, CellValue], given: Mapping[str, CellValue], where: object) -> dict[str, CellValue]:
    """Return the columns of one recording: its `own` ones, and the values `given` instead of them.

    Raises:
        UserError: see `column_value`, or a band-pass whose lower edge is not below its upper one.
    """
    values: dict[str, CellValue] = {}
    for name, value in ({"half": 0} | dict(own) | dict(given)).items():
        if name in TYPES:
            values[name] = column_value(name, value, where)
    check_band(values, where)
    return values


def check_band(values: Mapping[str, CellValue], where: object) -> None:
    """Refuse a band-pass whose lower edge is not below its upper one."""
    highpass_hz = values.get(HIGHPASS)
    lowpass_hz = values.get(LOWPASS)
    if is_reversed_band(highpass_hz, lowpass_hz):
        raise UserError(f"{where}: {HIGHPASS}: got {highpass_hz} with {LOWPASS} {lowpass_hz}; must be below it")


def column_value(name: str, value: CellValue, where: object) -> CellValue:
    """Convert `value` to the type of the column `name`; ear becomes L or R, sex becomes F or M.

    Raises:
        UserError: it has another type, or is outside its plausible range; the message repeats text from options
            only, because text from files may be a name.
    """
    if value is None:
        return None
    if name in LETTERS:
        return _letter(name, value, where)
    kind = TYPES[name]
    if pa.types.is_string(kind):
        return str(value)
    return _number(name, value, where)


def _number(name: str, value: float | int | str | bool, where: object) -> float | int:
    """Return a number in its plausible range, whole in columns of integers."""
    if isinstance(value, bool):
        raise UserError(f"{where}: {name}: got a logical value (true, false); must be a number, or empty")
    if isinstance(value, str):
        raise UserError(f"{where}: {name}: got {_shown(value, where, 'text')}; must be a number, or empty")
    expected = PLAUSIBLE_RANGES[name]
    if value not in expected:
        hint = ""
        if where != OPTION:
            hint = f"; correct it, or set it for all waveforms with {OPTION} {name}=VALUE"
        raise UserError(f"{where}: {name}: got {value:g}; must be {expected}, or empty{hint}")
    if not pa.types.is_integer(TYPES[name]):
        return float(value)
    if value != int(value):
        raise UserError(f"{where}: {name}: got {value:g}; must be a whole number")
    return int(value)


def _letter(name: str, value: CellValue, where: object) -> str:
    letter = letter_of(name, value)
    if letter is None:
        got = _shown(value, where, "another text")
        raise UserError(f"{where}: {name}: got {got}; must be one of {', '.join(sorted(LETTERS[name]))}")
    return letter


def _shown(value: CellValue, where: object, description: str) -> str:
    """Return a value from an option as it is; only the `description` of one from a file, which may be a name."""
    if where == OPTION:
        return repr(value)
    return description
