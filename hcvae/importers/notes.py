"""Notes of an import about all files together, and messages without the names of files."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from hcvae.importers.file_result import FileResult, ImportOptions
from hcvae.importers.pseudonyms import fingerprint
from hcvae.importers.recording import Pseudonym
from hcvae.importers.steps import USUAL

SHEET = re.compile(r"""sheet (["']).*?\1""")


def notes_on_all(results: Sequence[FileResult], options: ImportOptions, key: bytes) -> Iterator[str]:
    """Yield one line for each note."""
    nameless = [result for result in results if result.rows and not result.names_subject]
    if nameless:
        yield (
            f"{len(nameless)} files name no subject: each counts as a subject of its own; where they are of one "
            "subject, import them with --subject NAME"
        )
    for option in options_without_effect(results, options):
        yield f"note: {option} had no effect: it applies to no recording of these files"
    for name in sorted(options.mapping.keys() & options.values.keys()):
        yield f"note: --map {name} had no effect: --value {name} sets it for all waveforms"
    foreign = _subjects_of_other_keys(results, key)
    if foreign:
        yield (
            f"note: {foreign} subjects keep pseudonyms of another or an unknown key: in other files they count as "
            "other people"
        )
    channels = _channels(results)
    if len(channels) > 1:
        yield (
            f"note: the files are of channels {', '.join(channels)}: channels of one response are not independent "
            f"averages; --map signal={channels[0]} (or channel={channels[0]}) reads one"
        )


def options_without_effect(results: Sequence[FileResult], options: ImportOptions) -> list[str]:
    """Return the given options that had no effect on any recording."""
    steps = options.steps
    given = {
        "--block-sweeps": steps.block_sweeps != USUAL,
        "--reject-before-uv": steps.reject_before_uv != USUAL,
        "--reject-after-uv": steps.reject_after_uv != USUAL,
        "--max-residual-noise-uv": options.max_residual_noise_uv is not None,
        "--max-artifact-share": options.max_artifact_share is not None,
    }
    used: set[str] = set()
    for result in results:
        used |= result.used_options
    return [option for option, is_given in given.items() if is_given and option not in used]


def without_names(message: str, path: Path, number: int) -> str:
    """Return a message about file `number` without its name and without the titles of its sheets."""
    for name in (str(path.resolve()), str(path), str(path.parent.resolve()), path.name, path.stem):
        message = message.replace(name, f"file {number}")
    return SHEET.sub("a sheet", message)


def _subjects_of_other_keys(results: Sequence[FileResult], key: bytes) -> int:
    """Return the number of subjects with pseudonyms of another key, if other subjects get pseudonyms of `key`."""
    subjects: set[str | None] = set()
    for result in results:
        subjects.update(row.subject for row in result.rows)
    own_key = fingerprint(key)
    foreign = {subject for subject in subjects if isinstance(subject, Pseudonym) and subject.key != own_key}
    return len(foreign) if foreign < subjects else 0


def _channels(results: Sequence[FileResult]) -> list[str]:
    """Return the known channels of the files that gave waveforms, sorted."""
    channels: set[str] = set()
    for result in results:
        if result.rows:
            channels.update(filter(None, result.channels))
    return sorted(channels)
