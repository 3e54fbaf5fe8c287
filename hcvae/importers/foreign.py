"""Other people's libraries for files from anywhere: where one is missing, and where it stumbles."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from hcvae.errors import PackageMissing, UserError
from hcvae.importers.recording import FileError


def library(name: str, path: Path) -> Any:
    """The module `name` of the extra `formats`.

    Raises:
        UserError: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise PackageMissing(f"{path}:", name, "formats") from error


@contextmanager
def as_file_error(path: Path, expected: str) -> Iterator[None]:
    """Turn whatever a library raises about a damaged file into a FileError, as each raises other kinds.

    Of the library's message only the kind is passed on: it may repeat a header, and with it a name.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        found = f"content that cannot be read ({type(error).__name__})"
        raise FileError(path, "whole file", found, expected) from error


def same_stem(path: Path) -> list[Path]:
    """The other files beside `path` whose names differ in the suffix alone."""
    return sorted(p for p in path.parent.iterdir() if p.stem == path.stem and p != path and not p.is_symlink())


def companion(path: Path, name: str) -> Path:
    """The file `name` beside `path`, which a header names.

    Raises:
        FileError: it lies elsewhere, or is not there.
    """
    beside = path.parent / name
    if Path(name).name != name or "\\" in name or ":" in name or beside.resolve().parent != path.parent.resolve():
        raise FileError(path, "header", "the name of a file elsewhere", "the name of a file in the same folder")
    if not beside.is_file():
        raise FileError(path, "header", "the name of a file that is not there", "a file in the same folder")
    return beside
