"""Recorded results: one file an experiment, one line of JSON a run, sorted by the key of the run."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hcvae.atomic import atomic_write

RESULTS = Path(__file__).resolve().parent / "results"

Record = dict[str, Any]


def read(path: Path, key: str = "key") -> dict[str, Record]:
    """Return the records in a file by their `key`; none where there is no file."""
    if not path.exists():
        return {}
    records = map(json.loads, path.read_text().splitlines())
    return {record[key]: record for record in records}


def write(path: Path, record: Mapping[str, Any], key: str = "key") -> None:
    """Add a record to a file, or replace the one with the same `key`."""
    records = read(path, key) | {record[key]: dict(record)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        temporary.write_text("".join(json.dumps(records[name]) + "\n" for name in sorted(records)))
