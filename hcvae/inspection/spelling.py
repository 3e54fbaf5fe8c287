"""Check for species and stimuli whose names are almost those of known ones."""

import difflib

import pyarrow as pa

from hcvae.counting import counted
from hcvae.data.table import SPECIES
from hcvae.finding import Finding
from hcvae.inspection.recordings import Recordings
from hcvae.inspection.scale import RODENTS

KNOWN = {
    SPECIES: ("human", "cat", "macaque", "marmoset", *RODENTS),
    "stimulus_type": ("click", "chirp", "noise", "tone_burst", "tone_pip"),
}
"""Names by column; others are accepted unless they are almost one of these."""


def check(recordings: Recordings) -> list[Finding]:
    """Find names that differ from a known one in a letter or in case."""
    findings: list[Finding] = []
    for column, known in KNOWN.items():
        if column not in recordings.scalars.column_names or not pa.types.is_string(recordings.scalars[column].type):
            continue
        for entry in recordings.scalars[column].drop_null().value_counts().to_pylist():
            near = difflib.get_close_matches(entry["values"].lower(), known, n=1, cutoff=0.75)
            if entry["values"] not in known and near:
                findings.append(
                    Finding(
                        f"{column} may be misspelt",
                        f"{entry['values']!r} in {counted(entry['counts'], 'row')}; did you mean {near[0]!r}?",
                        f"import again with --value {column}={near[0]}, or correct the files",
                    )
                )
    return findings
