"""Third-party libraries on untrusted files: optional imports, their errors, and files beside a file."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from hcvae.errors import PackageMissing, UserError
from hcvae.importers.recording import FileError


def library(name: str, path: Path) -> Any:
    """Import the module `name` from the extra `formats`, which reading `path` needs.

    Raises:
        PackageMissing: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise PackageMissing(f"{path}:", name, "formats") from error


@contextmanager
def as_file_error(path: Path, expected: str) -> Iterator[None]:
    """Convert any exception that a library raises on a damaged file to a FileError.

    Only the type of the exception is reported: its message may quote a header, which may contain a person's name.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        found = f"content that cannot be read ({type(error).__name__})"
        raise FileError(path, "whole file", found, expected) from error


def same_stem(path: Path) -> list[Path]:
    """Return the other files in the same folder whose names differ only in the suffix."""

    def is_companion(other: Path) -> bool:
        return other.stem == path.stem and other != path and not other.is_symlink()

    return sorted(filter(is_companion, path.parent.iterdir()))


def companion(path: Path, name: str) -> Path:
    """Return the file `name` in the folder of `path`, whose header refers to it.

    Raises:
        FileError: it is in another folder, or missing.
    """
    beside = path.parent / name
    is_plain_name = Path(name).name == name and "\\" not in name and ":" not in name
    if not is_plain_name or beside.resolve().parent != path.parent.resolve():
        raise FileError(path, "header", "the name of a file elsewhere", "the name of a file in the same folder")
    if not beside.is_file():
        expected = "a file in the same folder; if files were renamed, write their new names into the header"
        raise FileError(path, "header", "the name of a missing file", expected)
    return beside
