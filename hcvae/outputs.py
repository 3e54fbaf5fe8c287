"""Checks of files and folders to write, before the work that produces their content."""

import os
from collections.abc import Iterable
from pathlib import Path, PurePath, PurePosixPath

from hcvae.errors import UserError
from hcvae.locations import is_uri


def check_output(option: str, out: str | Path, inputs: Iterable[str | Path | None]) -> None:
    """Check that `out` is neither an input of the command nor inside one that is a folder.

    Args:
        option: The option that names `out`, for the message.
        out: File or folder to write, a path or a URI.
        inputs: Files and folders that the command reads; None is ignored.

    Raises:
        UserError: `out` would replace or change an input.
    """
    target = _comparable(out)
    for given in inputs:
        if given is None:
            continue
        source = _comparable(given)
        if target == source:
            raise UserError(f"{option} {out}: would replace {given}, which the command reads; name another path")
        if source in target.parents:
            raise UserError(f"{option} {out}: is inside {given}, which the command reads; name a path outside it")


def check_output_file(option: str, out: str | Path, inputs: Iterable[str | Path | None]) -> None:
    """Check that the file `out` can be written and is no input.

    Raises:
        UserError: its folder does not exist; see also `check_output` and `check_writable`.
    """
    check_output(option, out, inputs)
    check_writable(out, option)
    folder = Path(out).absolute().parent
    if not os.path.isdir(folder):
        raise UserError(f"{option}: the folder {folder} does not exist; make it first")


def check_figure(out: str | Path | None, inputs: Iterable[str | Path | None]) -> None:
    """Check the value of `--figure`; None is accepted.

    Raises:
        UserError: another suffix than .png; see also `check_output_file`.
    """
    if out is None:
        return
    if Path(out).suffix.lower() != ".png":
        raise UserError(f"--figure {out}: the name must end in .png")
    check_output_file("--figure", out, inputs)


def check_writable(path: str | Path, option: str = "") -> None:
    """Check that a file can be written; `option` names it in the message.

    Raises:
        UserError: `path` is a folder, or the nearest existing folder above it is not writable.
    """
    path = Path(path).absolute()
    named = f"{option} {path}".lstrip()
    folder = next(filter(os.path.lexists, path.parents))
    if os.path.isdir(path):  # unlike Path.is_dir, False in a folder without permission to enter
        raise UserError(f"{named}: is a folder; name a file")
    if not os.path.isdir(folder) or not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"{named}: cannot be written, as {folder} is not a folder that you may write to")


def _comparable(location: str | Path) -> PurePath:
    """Return a form that is equal for equal locations, with links followed and without the options of a URI."""
    if is_uri(location):
        return PurePosixPath(str(location).partition("?")[0])
    return Path(os.path.realpath(os.path.expanduser(location)))
