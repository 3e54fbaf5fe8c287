"""Which formats use a mapping: one that nothing reads is a mistake, and is named before any file is read."""

from collections.abc import Collection, Mapping

from hcvae.errors import UserError
from hcvae.importers.columns import SCALARS
from hcvae.importers.registry import MODULES, Format, format_named
from hcvae.suggest import did_you_mean


def check_names(mapping: Mapping[str, str]) -> None:
    """Check the left sides.

    Raises:
        UserError: one that no format reads.
    """
    known = sorted(frozenset.union(*(format_named(name).mapping_names for name in MODULES)))
    for name in mapping:
        if name not in known:
            raise UserError(f"--map {name}: no such column{did_you_mean(name, known)}")


def check_use(mapping: Mapping[str, str], formats: Collection[Format]) -> None:
    """Check that each mapping is read from one of the files, which have `formats`.

    Raises:
        UserError: one that none of them reads.
    """
    used = frozenset[str]().union(*(known.mapping_names for known in formats))
    unused = [name for name in mapping if name not in used] if formats else []
    if not unused:
        return
    present = ", ".join(sorted({known.name for known in formats}))
    left_sides = ", ".join(sorted(used - {*SCALARS})) or "none"
    readers = ", ".join(name for name in MODULES if unused[0] in format_named(name).mapping_names)
    also = f"; --value {unused[0]}=VALUE sets it for all waveforms" if unused[0] in SCALARS else ""
    raise UserError(
        f"--map {unused[0]}: not read from files of format {present} (left sides there: {left_sides}), only from "
        f"{readers}{also}"
    )
