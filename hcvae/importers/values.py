"""The columns of a recording, each of its type."""

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


def values_of(
    recording: Recording, given: Mapping[str, CellValue], band_hz: Band | None, where: object
) -> dict[str, CellValue]:
    """Columns of a recording that gets a band-pass of `band_hz`; those that are `given` replace its own.

    Raises:
        UserError: see `column_value`.
    """
    values: dict[str, CellValue] = {"half": 0, "native_rate_hz": recording.sampling_rate_hz, **recording.values}
    if band_hz is not None:
        values |= {"highpass_hz": band_hz[0], "lowpass_hz": band_hz[1]}
    return {name: column_value(name, value, where) for name, value in {**values, **given}.items() if name in TYPES}


def column_value(name: str, value: CellValue, where: object) -> CellValue:
    """`value` as the type of the column `name`; the letters L, R and F, M for ear and sex.

    Raises:
        UserError: it has another type; what it is, is not repeated, as it may be a name.
    """
    if value is None:
        return None
    kind = TYPES[name]
    if name in LETTERS:
        letter = LETTERS[name].get(str(value).strip().lower())
        if letter is None:
            raise UserError(f"{where}: {name}: got another text; must be one of {', '.join(sorted(LETTERS[name]))}")
        return letter
    if pa.types.is_string(kind):
        return str(value)
    if isinstance(value, str) or not np.isfinite(value):
        raise UserError(f"{where}: {name}: got text; must be a number, or empty")
    if pa.types.is_integer(kind):
        if value != int(value) or abs(value) > np.iinfo(kind.to_pandas_dtype()).max:
            raise UserError(f"{where}: {name}: got {value:g}; must be a whole number of {kind}")
        return int(value)
    return float(value)
