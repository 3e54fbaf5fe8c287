"""Files and waveforms that came before: a copy is no independent average."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from hcvae.importers.file_result import FileResult
from hcvae.importers.provenance import kept_record_id


@dataclass
class Copies:
    """What the files so far held."""

    _first: dict[str, int] = field(default_factory=dict)
    """Number of the file by its hash, and by the identifiers of its records."""

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
    numbers = (f"{result.sha256[:12]}-{number}" for number in range(1, len(result.rows) + 1))
    for row, made in zip(result.rows, numbers, strict=True):
        if row.record_id is None or kept_record_id(row.record_id):
            yield row.record_id or made
        else:  # an identifier of others, such as a number, means something together with its waveform only
            yield row.record_id + hashlib.sha256(row.signal_uv.tobytes()).hexdigest()
