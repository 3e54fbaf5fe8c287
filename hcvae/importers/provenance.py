"""Where the waveforms of an imported table come from: JSON in its metadata, without any name of a file or a subject."""

import json
import platform
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import version

import hcvae
from hcvae.importers.file_result import FileResult, ImportOptions
from hcvae.importers.pseudonyms import LENGTH, fingerprint
from hcvae.importers.recording import Pseudonym, Recording

METADATA = b"hcvae_import"
"""Key of the provenance in the table's metadata."""
RECORD_ID = re.compile(r"[0-9a-f]{12}-\d+")
PSEUDONYM = re.compile(rf"s[a-z2-7]{{{LENGTH}}}")


def provenance(results: Sequence[FileResult], options: ImportOptions, key: bytes) -> str:
    """Hashes, options and versions."""
    given = asdict(options) | {
        "subject": None if options.subject is None else "given",
        "mapping": dict(options.mapping),
    }
    libraries = {name: version(name) for name in ("numpy", "scipy", "pyarrow")}
    files = [
        {"sha256": result.sha256, "format": result.format, "companions": result.companions, "rows": len(result.rows)}
        for result in results
        if result.rows
    ]
    versions = {"hcvae": hcvae.__version__, "python": platform.python_version(), **libraries}
    content = {"files": files, "options": given, "versions": versions, "key": fingerprint(key)}
    return json.dumps(content, sort_keys=True)


def kept_subject(recording: Recording, metadata: Mapping[bytes, bytes]) -> str | None:
    """The subject of a recording, as a pseudonym where an import wrote it: by its form, and by the table's metadata or,
    where another program lost these, by the form of the record's identifier."""
    subject = recording.subject
    is_imported = METADATA in metadata or kept_record_id(recording.record_id) is not None
    if not is_imported or subject is None or not PSEUDONYM.fullmatch(subject):
        return subject
    kept = Pseudonym(subject)
    with suppress(ValueError, AttributeError):  # anybody may have written it
        kept.key = json.loads(metadata.get(METADATA, b"{}")).get("key")
    return kept


def kept_record_id(identifier: str | None) -> str | None:
    """The identifier of a record, where an import made it: another text could be a name."""
    return identifier if identifier is not None and RECORD_ID.fullmatch(identifier) else None
