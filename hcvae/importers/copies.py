"""Detection of repeated files and waveforms: a copy is not an independent average."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from hcvae.importers.file_result import FileResult
from hcvae.importers.provenance import kept_record_id, made_record_id


@dataclass
class Copies:
    """Contents of the files so far."""

    _first: dict[str, int] = field(default_factory=dict)
    """Number of the first file with a hash, or with an identifier of a record."""

    def check(self, result: FileResult, number: int) -> None:
        """Set an error in the result of file `number` if it repeats another file, or a waveform of one."""
        for key in _keys(result):
            earlier = self._first.get(key, number)
            if earlier != number:
                same = "waveforms that are also in"
                if result.sha256 in self._first:
                    same = "the same content as"
                result.error = f"{result.path}: {same} file {earlier}; copies are not independent averages"
                result.rows = []
                return
        self._first |= dict.fromkeys(_keys(result), number)


def _keys(result: FileResult) -> Iterator[str]:
    """Yield what identifies the file, and each of its waveforms."""
    yield result.sha256
    for number, row in enumerate(result.rows, start=1):
        if row.record_id is None or kept_record_id(row.record_id):
            yield row.record_id or made_record_id(result.sha256, number)
        else:  # a foreign identifier, such as a number, is unique only together with its waveform
            yield row.record_id + hashlib.sha256(row.signal_uv.tobytes()).hexdigest()
