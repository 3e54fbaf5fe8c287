"""The formats that can be read, and the detection of the format of a file."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from operator import attrgetter
from pathlib import Path

from hcvae.errors import UserError
from hcvae.importers.channels import CHANNEL
from hcvae.importers.foreign import same_stem
from hcvae.importers.lines import encoding_of, text_of
from hcvae.importers.recording import FileError, ReadOptions, Recording
from hcvae.suggest import did_you_mean

HEAD_BYTES = 65536
HEADERS = (".vhdr", ".hea")
"""Suffixes of headers whose data are in other files beside them."""
MODULES = {
    "table": "tables",
    "arf": "arf",
    "matlab": "matlab",
    "excel": "excel",
    "wfdb": "wfdb_format",
    "eeg": "mne_formats",
    "ihs-smartep": "ihs_smartep",
    "biosig-text": "biosig_text",
    "biosig-csv": "biosig_csv",
    "epl-cfts": "epl_cfts",
    "sheffield": "sheffield",
    "csv": "comma_separated",
}
"""Module by name of the format, in the order of detection; `csv` comes last, as only its suffix identifies it."""


@dataclass(frozen=True)
class Format:
    """File format: detection by the path and first 64 KiB (text in UTF-8 or Latin-1), and reading."""

    name: str
    title: str
    recognises: Callable[[Path, bytes], bool]
    read: Callable[[Path, ReadOptions], Iterator[Recording]]
    companions: Callable[[Path], list[Path]] = lambda path: []
    """Returns other files that are read with this one."""
    mapping_names: frozenset[str] = frozenset()
    """Left sides of a mapping that `read` uses."""
    channel_choice: str = CHANNEL
    """The left side that names the channel to read, if `read` yields recordings of several channels."""


def format_named(name: str) -> Format:
    """Return the format `name`.

    Raises:
        UserError: no such format.
    """
    if name not in MODULES:
        raise UserError(
            f"--format: must be one of {', '.join(MODULES)}, but got {name!r}{did_you_mean(name, list(MODULES))}"
        )
    found: Format = import_module(f"hcvae.importers.{MODULES[name]}").FORMAT
    return found


def formats_of(files: Iterable[Path]) -> list[Format]:
    """Return the formats of the files, without the files of unknown format."""
    found = []
    for path in files:
        with suppress(FileError):
            found.append(recognise(path))
    return found


def recognise(path: Path) -> Format:
    """Detect the format of a file by its content.

    Raises:
        FileError: an empty file, one that cannot be opened, or one of no known format.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        raise FileError(path, "whole file", str(error.strerror), "a file that can be read") from error
    if encoding_of(head) != "utf-8":
        head = text_of(head).encode()  # without the byte order mark, as the formats expect it
    if not head:
        raise FileError(path, "byte 0", "an empty file", "a recording; copy it from the device again")
    for name in MODULES:
        known = format_named(name)
        if known.recognises(path, head):
            return known
    for main in same_stem(path):
        if main.suffix.lower() in HEADERS:
            found = f"the data or markers of {main.name}"
            raise FileError(path, "byte 0", found, f"left out: give {main.name}, with which it is read")
    titles = ", ".join(map(attrgetter("title"), map(format_named, MODULES)))
    raise FileError(path, "byte 0", "content of no known format", f"one of: {titles}; or force one with --format")
