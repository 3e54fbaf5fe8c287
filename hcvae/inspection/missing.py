"""Check for rows without a usable waveform, subject or level, and with implausible numbers in their columns."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from hcvae.counting import counted
from hcvae.data.plausible_ranges import PLAUSIBLE_RANGES, implausible_rows, is_logical, spread
from hcvae.data.table import decoded_column
from hcvae.finding import Finding
from hcvae.inspection.recordings import Recordings


def check(recordings: Recordings) -> list[Finding]:
    """Find rows without a waveform, with NaN or infinite samples, without a subject, or constant, and those with text,
    logical values or implausible numbers in columns of numbers.

    Missing values in other columns are not problems; the summary counts them.
    """
    absent = pc.is_null(recordings.table["signal"]).to_numpy()
    checks = [
        (absent, "have no waveform (null)", "remove the rows: training refuses them"),
        (
            ~absent & ~recordings.finite,
            "contain NaN or infinite samples",
            "remove the rows, or record them again: training refuses them",
        ),
        (recordings.finite & ~recordings.usable, "are constant", "remove the rows: no electrode was connected"),
        (recordings.subject == "", "have no subject", "give each row a subject: the split needs it"),
        *_no_numbers(recordings),
    ]
    findings: list[Finding] = []
    for is_bad, problem, remedy in checks:
        rows = np.flatnonzero(is_bad)
        if rows.size:
            evidence = f"{rows.size} of {counted(len(recordings), 'row')}: {recordings.named(rows)}"
            findings.append(Finding(f"rows {problem}", evidence, remedy))
    return findings + _implausible(recordings)


def _implausible(recordings: Recordings) -> list[Finding]:
    """Return a finding for each column with numbers outside its plausible range."""
    columns = dict(zip(recordings.scalars.column_names, recordings.scalars.columns, strict=True))
    findings: list[Finding] = []
    for name, is_bad, expected in implausible_rows(columns):
        rows = np.flatnonzero(is_bad)
        values = columns[name].take(rows).to_numpy()
        evidence = f"{rows.size} of {len(recordings)} rows have {spread(values)}: {recordings.named(rows)}"
        remedy = f"correct them, or set them to null; the numbers must be {expected}"
        findings.append(Finding(f"{name} cannot be right", evidence, remedy))
    return findings


def _no_numbers(recordings: Recordings) -> list[tuple[NDArray[np.bool_], str, str]]:
    """Return rows, problem and remedy of columns that hold text or logical values instead of numbers."""
    checks = []
    for name in PLAUSIBLE_RANGES:
        if name not in recordings.scalars.column_names:
            continue
        present = pc.is_valid(recordings.scalars[name]).to_numpy()
        if pa.types.is_string(recordings.scalars[name].type):
            checks.append((present, f"have text as {name}", "write numbers: each text is a category of its own"))
        if is_logical(name, decoded_column(recordings.table[name])):
            checks.append((present, f"have logical values as {name}", "write numbers"))
    return checks
