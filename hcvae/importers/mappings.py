"""Checks of the mappings before any file is read: a mapping that no format uses is a mistake."""

from collections.abc import Collection, Iterable, Mapping

from hcvae.errors import UserError
from hcvae.importers.columns import SCALARS, other_name
from hcvae.importers.registry import MODULES, Format, format_named


def check_names(mapping: Mapping[str, str]) -> None:
    """Check the left sides of the mappings.

    Raises:
        UserError: one that no format uses.
    """
    known = sorted(_left_sides(map(format_named, MODULES)))
    for name in mapping:
        if name not in known:
            raise UserError(f"--map {name}: no such column{other_name(name, known)}")


def check_use(mapping: Mapping[str, str], formats: Collection[Format]) -> None:
    """Check that at least one of the `formats` of the files uses each mapping.

    Raises:
        UserError: a mapping that none of them uses.
    """
    used = _left_sides(formats)
    for name in mapping:
        if formats and name not in used:
            raise UserError(_unused(name, used, formats))


def _unused(name: str, used: set[str], formats: Collection[Format]) -> str:
    """Return the message about the mapping of `name`, which none of the formats uses."""
    present = ", ".join(sorted({known.name for known in formats}))
    left_sides = ", ".join(sorted(used.difference(SCALARS))) or "none"
    readers = ", ".join(other for other in MODULES if name in format_named(other).mapping_names)
    also = ""
    if name in SCALARS:
        also = f"; --value {name}=VALUE sets it for all waveforms"
    return (
        f"--map {name}: not read from files of format {present} (left sides there: {left_sides}), only from "
        f"{readers}{also}"
    )


def _left_sides(formats: Iterable[Format]) -> set[str]:
    """Return the left sides of mappings that at least one of the formats uses."""
    used: set[str] = set()
    for known in formats:
        used |= known.mapping_names
    return used
