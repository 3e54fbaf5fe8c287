"""Waveforms and subjects that are not there."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hcvae.finding import Finding
from hcvae.inspection.recordings import LEVEL, Recordings


def check(recordings: Recordings) -> list[Finding]:
    """Rows without a waveform, with NaN or infinite samples, without a subject, and constant ones.

    Missing values of other columns are no trouble in themselves: the summary counts them.
    """
    absent = pc.is_null(recordings.table["signal"]).to_numpy()
    unnamed = recordings.subject == ""
    levels = recordings.scalars[LEVEL] if LEVEL in recordings.scalars.column_names else None
    textual = pa.types.is_string(levels.type) if levels is not None else False
    cases = [
        (absent, "have no waveform (null)", "remove the rows: training refuses them"),
        (
            ~absent & ~recordings.finite,
            "contain NaN or infinite samples",
            "remove the rows, or record them again: training refuses them",
        ),
        (recordings.finite & ~recordings.usable, "are constant", "remove the rows: no electrode was connected"),
        (unnamed, "have no subject", "give each row a subject: the split needs it"),
        (
            np.full(len(recordings), textual),
            f"have text as {LEVEL}",
            "write levels as numbers: text is one category each",
        ),
    ]
    return [
        Finding(f"rows {what}", f"{rows.size} of {len(recordings)} rows: {recordings.named(rows)}", remedy)
        for bad, what, remedy in cases
        if (rows := np.flatnonzero(bad)).size
    ]
