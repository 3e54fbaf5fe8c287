"""Which file holds which subject of the table: for the owner of the files only, as file names may name persons."""

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from hcvae.atomic import atomic_write
from hcvae.importers.file_result import FileResult

MAX_LISTED = 20
"""Files of the warnings in a message."""
TITLES = ("file", "subject_id", "waveforms")


def write_subject_list(results: Sequence[FileResult], table: pa.Table, path: Path) -> None:
    """Write a CSV file that only its owner can read: each file, its subjects, and the waveforms of each.

    Args:
        results: of all files, in the order of the rows of `table`.
        table: the imported waveform table.
        path: the file to write.

    Raises:
        UserError: the file cannot be written.
    """
    with atomic_write(path) as temporary:
        temporary.touch(0o600)
        with temporary.open("w", encoding="utf-8", newline="") as file:
            lines = csv.writer(file)
            lines.writerow(TITLES)
            for result, rows in _rows_of_files(results, table):
                for subject, waveforms in Counter(rows["subject_id"].to_pylist()).items():
                    lines.writerow((result.path, subject, waveforms))


def files_in(warnings: str, results: Sequence[FileResult], table: pa.Table, names: Sequence[str]) -> list[str]:
    """Return lines with the files whose subjects or records the text of warnings names; `names` are those to show."""
    words = set(re.findall(r"[\w-]+", warnings))
    lines = []
    for (_, rows), name in zip(_rows_of_files(results, table), names, strict=True):
        own = {*rows["subject_id"].to_pylist(), *rows["record_id"].to_pylist()}
        if words & own:
            lines.append(f"  {name}: {', '.join(sorted(words & own))}")
    if len(lines) > MAX_LISTED:
        lines[MAX_LISTED:] = [f"  and {len(lines) - MAX_LISTED} others; --subject-list FILE lists all files"]
    if lines:
        lines.insert(0, "files of the subjects and records in the warnings:")
    return lines


def _rows_of_files(results: Sequence[FileResult], table: pa.Table) -> Iterator[tuple[FileResult, pa.Table]]:
    first = 0
    for result in results:
        yield result, table.slice(first, len(result.rows))
        first += len(result.rows)
