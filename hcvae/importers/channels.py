"""Channels of one device: two electrodes record one response at the same time, and are no independent averages of it.

One channel of a file is read. Where it holds several, a mapping names the one: `signal=1` for the formats of devices;
`channel=1` for tables with a column named channel, and `channel=COLUMN=1` where it has another name.
"""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from hcvae.errors import UserError
from hcvae.importers.recording import FileError, Recording
from hcvae.suggest import did_you_mean

CHANNEL = "channel"
COLUMNS = ("channel", "chan", "ch", "electrode", "kanal", "elektrode")
"""Names of a column of channels, in lower case."""


def channel_column(names: Collection[str], mapping: Mapping[str, str], path: Path) -> str | None:
    """The column that names the channel of each waveform; None where there is none.

    Raises:
        UserError: the mapping names a column that is not there, or needs one.
    """
    column, _, wanted = mapping.get(CHANNEL, "").rpartition("=")
    found = [name for name in names if name == column or (not column and is_channel(name))]
    if wanted and len(found) != 1:
        hint = did_you_mean(column or CHANNEL, sorted(names))
        raise UserError(f"{path}: mapping of {CHANNEL}: no such column; must be CHANNEL, or COLUMN=CHANNEL{hint}")
    return found[0] if len(found) == 1 and found[0] not in mapping.values() else None


def is_channel(name: str) -> bool:
    """Whether a column, or a field of a struct, has a name of channels."""
    return name.rpartition(".")[2].strip().lower() in COLUMNS


def one_channel(recordings: Iterator[Recording], choice: str, wanted: str | None, path: Path) -> Iterator[Recording]:
    """The recordings of the channel `wanted`, or of the only one.

    Args:
        recordings: of one file.
        choice: left side of the mapping that names a channel, for messages.
        wanted: name or number of a channel; None: the file must have one only.
        path: for messages.

    Raises:
        FileError: several channels where none is wanted.
        UserError: no such channel.
    """
    seen: set[str | None] = set()
    for recording in recordings:
        seen.add(recording.channel)
        if wanted is None and len(seen) > 1:
            names = _names(seen.union(one.channel for one in recordings))
            expected = (
                f"one, as channels of one response are no independent averages; --map {choice}={names[0]} reads one"
            )
            raise FileError(path, "channels", ", ".join(names), expected)
        if wanted is None or recording.channel == wanted:
            yield recording
    if wanted is not None and wanted not in seen:
        raise UserError(f"{path}: mapping of {choice}: no channel {wanted!r}{did_you_mean(wanted, _names(seen))}")


def _names(channels: set[str | None]) -> list[str]:
    return sorted(channel or "(no number)" for channel in channels)
