"""The files of an import: those given by name, and those in given folders."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from hcvae.counting import counted
from hcvae.errors import UserError
from hcvae.importers.recording import FileError
from hcvae.importers.registry import recognise


def files_in(
    given: Sequence[Path], out: Path | None = None, note: Callable[[str], None] = lambda text: None
) -> tuple[list[Path], list[Path]]:
    """Return the files to import, sorted by name within folders, and the companion files that are read with them.

    Hidden files, links and folders within a folder are skipped, and so is `out`, the table to be written; `note`
    receives a text about skipped files.

    Raises:
        UserError: a path is missing or unreadable, a folder holds no files, or `out` is one of the given files.
    """
    files: list[Path] = []
    for path in given:
        try:
            files += _files_of(path, out, note)
        except OSError as error:
            raise UserError(f"{path}: {error.strerror}; name files, or folders, that you may read") from error
    companions: set[Path] = set()
    for path in files:
        companions.update(companions_of(path))
    companions &= set(files)
    return [path for path in files if path not in companions], sorted(companions)


def companions_of(path: Path) -> list[Path]:
    """Return the files that are read with `path`; none if its format is unknown or its folder cannot be listed."""
    try:
        return recognise(path).companions(path)
    except (FileError, OSError):
        return []  # read_file reports what is wrong with it


def _files_of(path: Path, out: Path | None, note: Callable[[str], None]) -> list[Path]:
    if path.is_dir():
        return _files_within(path, out, note)
    if not path.is_file():
        raise UserError(f"{path}: no such file; name the files, or the folder, of your recordings")
    if _is_same(path, out):
        raise UserError(f"{path}: is also the file to write; name another one with --out")
    return [path]


def _files_within(folder: Path, out: Path | None, note: Callable[[str], None]) -> list[Path]:
    entries = sorted(entry for entry in folder.iterdir() if entry.name[0] != ".")
    files = list(filter(_is_plain_file, entries))
    to_read = [file for file in files if not _is_same(file, out)]
    if not to_read:
        message = f"{folder}: a folder without files to read; name one that holds recordings"
        if len(files) < len(entries):
            message += (
                f"; {counted(len(entries) - len(files), 'folder or link', 'folders or links')} in it must be named"
            )
        raise UserError(message)
    if len(files) < len(entries):
        note(f"{len(entries) - len(files)} folders or links within a folder are not read; name the folders to read")
    if len(to_read) < len(files):
        note("the table to write, which is in a folder of the files, is not read")
    return to_read


def _is_plain_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _is_same(path: Path, out: Path | None) -> bool:
    return out is not None and os.path.exists(out) and path.samefile(out)
