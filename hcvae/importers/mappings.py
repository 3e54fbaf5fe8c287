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
    present = sorted({known.name for known in formats})
    for name in mapping:
        if formats and not any(name in known.mapping_names for known in formats):
            readers = ", ".join(other for other in MODULES if name in format_named(other).mapping_names)
            also = f"; --value {name}=VALUE sets it for all waveforms" if name in SCALARS else ""
            raise UserError(
                f"--map {name}: not read from files of format {', '.join(present)}, only from {readers}{also}"
            )
