"""Other people's libraries for files from anywhere: where one is missing, and where it stumbles."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from hcvae.errors import UserError
from hcvae.importers.recording import FileError


def library(name: str, path: Path) -> Any:
    """The module `name` of the extra `formats`.

    Raises:
        UserError: it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise UserError(
            f"{path}: needs the package {name}, which is not installed; pip install 'hcvae[formats]'"
        ) from error


@contextmanager
def as_file_error(path: Path, right: str) -> Iterator[None]:
    """Turn whatever a library raises about a damaged file into a FileError, as each raises other kinds."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        found = f"content that cannot be read ({type(error).__name__}: {error})"
        raise FileError(path, "whole file", found, right) from error


def companion(path: Path, name: str) -> Path:
    """The file `name` beside `path`, which a header names.

    Raises:
        FileError: it lies elsewhere, or is not there.
    """
    beside = path.parent / name
    if Path(name).name != name or "\\" in name or ":" in name or beside.resolve().parent != path.parent.resolve():
        raise FileError(path, "header", f"the file name {name!r}", "the name of a file in the same folder")
    if not beside.is_file():
        raise FileError(path, "header", f"the file name {name!r}, which is not there", f"a file in {path.parent}")
    return beside
