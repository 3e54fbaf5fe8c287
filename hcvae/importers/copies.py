"""Files and waveforms that came before: a copy is no independent average."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from hcvae.importers.importing import FileResult


@dataclass
class Copies:
    """What the files so far held."""

    _first: dict[str, int] = field(default_factory=dict)
    """Number of the file by the hash of a file or of samples, or by the identifier of a record."""

    def check(self, result: FileResult, number: int) -> None:
        """Make it an error of file `number` where it repeats another file, or a waveform of one."""
        before = [self._first[key] for key in _keys(result) if self._first.get(key, number) != number]
        if not before:
            self._first |= dict.fromkeys(_keys(result), number)
            return
        same = "the same content as" if result.sha256 in self._first else "waveforms that are also in"
        result.error = f"{result.path}: {same} file {before[0]}; copies are no independent averages"
        result.rows = []


def _keys(result: FileResult) -> Iterator[str]:
    yield result.sha256
    for row in result.rows:
        if np.ptp(row.signal_uv) > 0:
            yield hashlib.sha256(row.signal_uv.tobytes()).hexdigest()
        if row.record_id is not None:
            yield f"record {row.record_id}"
