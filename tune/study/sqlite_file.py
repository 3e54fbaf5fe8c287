"""Checks of a study's sqlite file before Optuna opens it: Optuna would create a missing one, or add its tables."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from hcvae.errors import UserError

BUSY_TIMEOUT_S = 60
"""Another program, such as a dashboard, may lock the file for a moment: wait for it."""
TABLES = {"alembic_version", "studies", "study_directions", "trial_params", "trial_values", "trials", "version_info"}
"""Tables of every version of Optuna that supports several objectives."""


def sqlite_uri(file: Path, mode: str) -> str:
    """Return the file as sqlite names it; of the modes only `rwc` creates it where it is missing."""
    return f"file:{quote(str(file))}?mode={mode}"


def check_file(file: Path, *, has_study: bool, write: bool) -> None:
    """Check that `file` is intact, can be read, and if wanted written, and holds a study if it `has_study`.

    Raises:
        UserError: it is damaged or missing, or cannot be read or written.
    """
    if not file.exists():
        if has_study or file.is_symlink():
            otherwise = ""
            if write:
                otherwise = ", name the search.database of the study, or choose another search.study"
            raise UserError(
                f"{file}: missing, although there is a study here; restore it from a backup{otherwise}; "
                f"the models that were kept are still in {file.parent / 'best'}"
            )
        return
    problem = _access_problem(file, write) or _content_problem(file, has_study)
    if problem:
        raise UserError(f"{file}: {problem}")


def _access_problem(file: Path, write: bool) -> str | None:
    if not file.is_file():
        return "must be a file, the sqlite database of the study; move away what is there, and restore the database"
    if not os.access(file, os.R_OK):
        return "cannot be read: Permission denied; have its owner allow it"
    # Where the folder cannot be written either, its lock reports that.
    if write and os.access(file.parent, os.W_OK) and not os.access(file, os.W_OK):
        return "cannot be written, which a search must; allow it, or choose another search.study or search.storage"
    return None


def _content_problem(file: Path, has_study: bool) -> str | None:
    restore = f"restore it from a backup; the models that were kept are still in {file.parent / 'best'}"
    try:
        with closing(sqlite3.connect(sqlite_uri(file, "rw"), uri=True, timeout=BUSY_TIMEOUT_S)) as connection:
            [[verdict]] = connection.execute("PRAGMA quick_check(1)")
            tables = {name for [name] in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "SQLITE_CORRUPT")  # without one, text that cannot be decoded
        if name in ("SQLITE_NOTADB", "SQLITE_CORRUPT"):
            return f"damaged: {error}; {restore}"
        return f"cannot be opened: {error} ({name}); end what else uses it, or copy the study to another disk"
    if verdict != "ok":
        return f"damaged: {' '.join(verdict.split())}; {restore}"
    if has_study and not tables:
        return f"damaged: it is empty; {restore}"
    is_incomplete = has_study and not tables >= TABLES
    if is_incomplete or (tables and not tables & TABLES):
        return f"holds no study of Optuna; {restore}"
    return None
