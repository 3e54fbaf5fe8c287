"""The columns of one recording, converted to the types of the waveform table."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from hcvae.errors import UserError
from hcvae.importers.columns import TYPES
from hcvae.importers.recording import Band, CellValue, Recording

LETTERS = {
    "ear": {"l": "L", "left": "L", "r": "R", "right": "R"},
    "sex": {"f": "F", "female": "F", "m": "M", "male": "M"},
}
"""Letter in the table by the word in the file, for columns with a fixed set of letters."""


def values_of(
    recording: Recording, given: Mapping[str, CellValue], band_hz: Band | None, where: object
) -> dict[str, CellValue]:
    """Return the columns of a recording that is filtered with `band_hz`; the values `given` replace its own.

    Raises:
        UserError: see `column_value`.
    """
    values: dict[str, CellValue] = {"half": 0, "native_rate_hz": recording.sampling_rate_hz, **recording.values}
    if band_hz is not None:
        values |= {"highpass_hz": band_hz[0], "lowpass_hz": band_hz[1]}
    values |= given
    return {name: column_value(name, value, where) for name, value in values.items() if name in TYPES}


def column_value(name: str, value: CellValue, where: object) -> CellValue:
    """Convert `value` to the type of the column `name`; ear becomes L or R, sex becomes F or M.

    Raises:
        UserError: it has another type; the message does not repeat the value, which may be a name.
    """
    if value is None:
        return None
    if name in LETTERS:
        return _letter(name, value, where)
    kind = TYPES[name]
    if pa.types.is_string(kind):
        return str(value)
    if isinstance(value, str) or not np.isfinite(value):
        raise UserError(f"{where}: {name}: got text; must be a number, or empty")
    if pa.types.is_integer(kind):
        if value != int(value) or abs(value) > np.iinfo(kind.to_pandas_dtype()).max:
            raise UserError(f"{where}: {name}: got {value:g}; must be a whole number of {kind}")
        return int(value)
    return float(value)


def _letter(name: str, value: CellValue, where: object) -> str:
    letter = LETTERS[name].get(str(value).strip().lower())
    if letter is None:
        raise UserError(f"{where}: {name}: got another text; must be one of {', '.join(sorted(LETTERS[name]))}")
    return letter
