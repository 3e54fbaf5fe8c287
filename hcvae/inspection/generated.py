"""Tables of generated waveforms, which have conditions but no subjects."""

import pyarrow as pa
import pyarrow.parquet as pq

from hcvae.data.table import GENERATED_WITH, RESIDUAL_NOISE
from hcvae.inspection.recordings import Recordings

SUBJECT = "subject_id"


def is_generated(path: str) -> bool:
    """Whether a file is a Parquet table of generated waveforms."""
    try:
        metadata = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowException):
        return False  # the reader of tables reports what is wrong
    return RESIDUAL_NOISE in metadata


def read_generated(path: str) -> Recordings:
    """Read a table of generated waveforms as rows of one subject.

    Raises:
        UserError: as `Recordings.of`.
    """
    with pq.ParquetFile(path) as file:
        table = file.read()
    if SUBJECT not in table.column_names:
        table = table.append_column(SUBJECT, pa.array(["generated"] * table.num_rows))
    return Recordings.of(table, path)


def origin(recordings: Recordings) -> str:
    """Return where generated waveforms are from, and whether they contain residual noise."""
    metadata = recordings.table.schema.metadata or {}
    bundle = metadata.get(GENERATED_WITH, b"").decode(errors="replace")
    source = "with a bundle that the file does not name"
    if bundle:
        source = f"with the bundle {bundle}"
    noise = "expected responses, without residual noise"
    if metadata[RESIDUAL_NOISE] == b"true":
        noise = "with residual noise"
    return f"generated {source}, not recorded; {noise}"
