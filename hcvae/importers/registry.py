"""What a format is."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hcvae.importers.recording import ReadOptions, Recording


@dataclass(frozen=True)
class Format:
    """A file format: how to know it by its path and first bytes, and how to read it."""

    name: str
    title: str
    recognises: Callable[[Path, bytes], bool]
    read: Callable[[Path, ReadOptions], Iterator[Recording]]
