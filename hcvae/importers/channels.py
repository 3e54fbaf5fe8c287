"""Choice of the channel to read from a file that has several.

Electrodes that record one response together do not give independent averages of it, so one channel is read. A mapping
names it: `signal=1` for formats of devices, `channel=1` for tables with a column named channel, and `channel=COLUMN=1`
if the column has another name.
"""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from hcvae.errors import UserError
from hcvae.importers.recording import FileError, Recording
from hcvae.suggest import did_you_mean

CHANNEL = "channel"
COLUMNS = ("channel", "chan", "ch", "electrode", "kanal", "elektrode")
"""Usual names of a column of channels, in lower case."""


def channel_column(names: Collection[str], mapping: Mapping[str, str], path: Path) -> str | None:
    """Return the column with the channel of each waveform; None if there is none.

    Raises:
        UserError: the mapping names a missing column, or a channel in a file without such a column.
    """
    column, _, wanted = mapping.get(CHANNEL, "").rpartition("=")
    found = list(filter(is_channel, names))
    if column:
        found = [name for name in names if name == column]
    if wanted and len(found) != 1:
        hint = did_you_mean(column or CHANNEL, sorted(names))
        raise UserError(f"{path}: mapping of {CHANNEL}: no such column; must be CHANNEL, or COLUMN=CHANNEL{hint}")
    if len(found) != 1 or found[0] in mapping.values():
        return None
    return found[0]


def is_channel(name: str) -> bool:
    """Return whether a column, or a field of a struct, has a usual name for channels."""
    return name.rpartition(".")[2].strip().lower() in COLUMNS


def one_channel(recordings: Iterator[Recording], choice: str, wanted: str | None, path: Path) -> Iterator[Recording]:
    """Yield the recordings of the channel `wanted`, or of the only channel.

    Args:
        recordings: all recordings of one file.
        choice: left side of the mapping that names a channel, for messages.
        wanted: name or number of a channel; None: the file must have only one.
        path: for messages.

    Raises:
        FileError: several channels, and `wanted` is None.
        UserError: no such channel.
    """
    seen: set[str | None] = set()
    for recording in recordings:
        seen.add(recording.channel)
        if wanted is None and len(seen) > 1:
            for other in recordings:
                seen.add(other.channel)
            names = _names(seen)
            expected = "one, as channels of one response are not independent averages; "
            expected += f"--map {choice}={names[0]} reads one"
            raise FileError(path, "channels", ", ".join(names), expected)
        if wanted is None or recording.channel == wanted:
            yield recording
    if wanted is not None and wanted not in seen:
        raise UserError(f"{path}: mapping of {choice}: no channel {wanted!r}{did_you_mean(wanted, _names(seen))}")


def _names(channels: set[str | None]) -> list[str]:
    return sorted(channel or "(no number)" for channel in channels)
