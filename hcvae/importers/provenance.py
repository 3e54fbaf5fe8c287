"""The origin of the waveforms in an imported table: JSON in its metadata, without names of files or subjects."""

import json
import platform
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import hcvae
from hcvae.importers.file_result import FileResult, ImportOptions
from hcvae.importers.pseudonyms import LENGTH, fingerprint
from hcvae.importers.recording import Pseudonym, Recording

METADATA = b"hcvae_import"
"""Key of the provenance in the table's metadata."""
RECORD_ID = re.compile(r"[0-9a-f]{12}-\d+")
PSEUDONYM = re.compile(rf"s[a-z2-7]{{{LENGTH}}}")


def provenance(results: Sequence[FileResult], options: ImportOptions, key: bytes) -> str:
    """Return hashes of the files, options and versions as JSON."""
    given = asdict(options) | {"mapping": dict(options.mapping)}
    if options.subject is not None:
        given["subject"] = "given"
    libraries = {name: version(name) for name in ("numpy", "scipy", "pyarrow")}
    files = [_file_entry(result) for result in results if result.rows]
    versions = {"hcvae": hcvae.__version__, "python": platform.python_version(), **libraries}
    content = {"files": files, "options": given, "versions": versions, "key": fingerprint(key)}
    return json.dumps(content, sort_keys=True)


def _file_entry(result: FileResult) -> dict[str, Any]:
    return {
        "sha256": result.sha256,
        "format": result.format,
        "companions": result.companions,
        "rows": len(result.rows),
    }


def kept_subject(recording: Recording, metadata: Mapping[bytes, bytes]) -> str | None:
    """Return the subject of a recording, as a `Pseudonym` if an import wrote it.

    An import is recognised by the form of the subject together with the metadata of the table; if another program
    removed these, by the form of the record's identifier.
    """
    subject = recording.subject
    is_imported = METADATA in metadata or kept_record_id(recording.record_id) is not None
    if not is_imported or subject is None or not PSEUDONYM.fullmatch(subject):
        return subject
    kept = Pseudonym(subject)
    with suppress(ValueError, AttributeError):  # the metadata may come from anyone
        kept.key = json.loads(metadata.get(METADATA, b"{}")).get("key")
    return kept


def kept_record_id(identifier: str | None) -> str | None:
    """Return the identifier of a record if an import made it; None for any other text, which may be a name."""
    if identifier is None or not RECORD_ID.fullmatch(identifier):
        return None
    return identifier


def made_record_id(sha256: str, number: int) -> str:
    """Return the identifier of waveform `number`, from 1, of the file with this hash."""
    return f"{sha256[:12]}-{number}"
