"""Check for rows without a usable waveform, subject or level."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hcvae.counting import counted
from hcvae.finding import Finding
from hcvae.inspection.recordings import LEVEL, Recordings


def check(recordings: Recordings) -> list[Finding]:
    """Find rows without a waveform, with NaN or infinite samples, without a subject, with text as level, or constant.

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
        (
            np.full(len(recordings), _has_text_levels(recordings)),
            f"have text as {LEVEL}",
            "write levels as numbers: each text is a category of its own",
        ),
    ]
    findings: list[Finding] = []
    for is_bad, problem, remedy in checks:
        rows = np.flatnonzero(is_bad)
        if rows.size:
            evidence = f"{rows.size} of {counted(len(recordings), 'row')}: {recordings.named(rows)}"
            findings.append(Finding(f"rows {problem}", evidence, remedy))
    return findings


def _has_text_levels(recordings: Recordings) -> bool:
    if LEVEL not in recordings.scalars.column_names:
        return False
    return bool(pa.types.is_string(recordings.scalars[LEVEL].type))
