"""Notes of an import about all files together, and messages without the names of files."""

import re
from collections.abc import Iterator, Sequence
from operator import attrgetter
from pathlib import Path

from hcvae.counting import first_of
from hcvae.importers.file_result import FileResult, ImportOptions
from hcvae.importers.pseudonyms import fingerprint
from hcvae.importers.recording import Pseudonym
from hcvae.importers.steps import USUAL

MAX_NAMES = 12
"""Files in a note."""
MAX_NUMBERS = 5
"""Recordings of a file in a note."""
SHEET = re.compile(r"""sheet (["']).*?\1""")


def shown_names(results: Sequence[FileResult], *, hide_names: bool) -> list[str]:
    """Return the names of the files in messages."""
    if hide_names:
        return [f"file {number}" for number in range(1, len(results) + 1)]
    return [str(result.path) for result in results]


def notes_on_all(
    results: Sequence[FileResult], options: ImportOptions, key: bytes, names: Sequence[str]
) -> Iterator[str]:
    """Yield one line for each note; `names` are the names of the files to show."""
    if options.subject is None:
        yield from _notes_on_subjects(results, names)
    for option in options_without_effect(results, options):
        yield f"note: {option} had no effect: it applies to no recording of these files"
    for name in sorted(options.mapping.keys() & options.values.keys()):
        yield f"note: --map {name} had no effect: --value {name} sets it for all waveforms"
    yield from _notes_on_foreign_subjects(results, key, names)
    yield from _notes_on_channels(results, names)


def options_without_effect(results: Sequence[FileResult], options: ImportOptions) -> Iterator[str]:
    """Yield the given options that had no effect on any recording."""
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
    for option, is_given in given.items():
        if is_given and option not in used:
            yield option


def without_names(message: str, path: Path, number: int) -> str:
    """Return a message about file `number` without its name and without the titles of its sheets."""
    for name in (str(path.resolve()), str(path), str(path.parent.resolve()), path.name, path.stem):
        message = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", f"file {number}", message)
    return SHEET.sub("a sheet", message)


def _notes_on_subjects(results: Sequence[FileResult], names: Sequence[str]) -> Iterator[str]:
    """Yield notes on files without a subject, and on files of which only some recordings have one."""
    nameless = []
    partly = []
    for result, name in zip(results, names, strict=True):
        missing = len(result.without_subject)
        if result.rows and missing == result.recordings:
            nameless.append(name)
        elif result.rows and missing:
            numbers = first_of(list(map(str, result.without_subject)), MAX_NUMBERS)
            partly.append(f"{name} ({missing} of {result.recordings} recordings, numbers {numbers} from 0)")
    consequence = (
        "so a split by subject can put recordings of one individual into both the training and the test part; name "
        "the subject with --map subject_id=COLUMN, or import the files of each individual apart with --subject NAME"
    )
    if nameless:
        files = f"no subject is named in {len(nameless)} of {len(results)} files: {first_of(nameless, MAX_NAMES)}"
        yield f"note: {files}: each of them counts as a separate subject, {consequence}"
    if partly:
        shown = first_of(partly, MAX_NAMES)
        files = f"some recordings name no subject in {len(partly)} of {len(results)} files: {shown}"
        yield f"note: {files}: those of a file count as one separate subject, {consequence}"


def _notes_on_foreign_subjects(results: Sequence[FileResult], key: bytes, names: Sequence[str]) -> Iterator[str]:
    """Yield a note on subjects with pseudonyms of another key, if other subjects get pseudonyms of `key`."""
    own_key = fingerprint(key)
    subjects: set[str | None] = set()
    foreign: set[str] = set()
    files = []
    for result, name in zip(results, names, strict=True):
        of_file = set(map(attrgetter("subject"), result.rows))
        kept = {subject for subject in of_file if isinstance(subject, Pseudonym) and subject.key != own_key}
        subjects |= of_file
        foreign |= kept
        if kept:
            files.append(name)
    if foreign and foreign < subjects:
        yield (
            f"note: {len(foreign)} subjects keep pseudonyms of another or an unknown key: in other files than "
            f"{first_of(files, MAX_NAMES)} they count as other people"
        )


def _notes_on_channels(results: Sequence[FileResult], names: Sequence[str]) -> Iterator[str]:
    """Yield a note if the files that gave waveforms are of different channels."""
    files: dict[str, list[str]] = {}
    for result, name in zip(results, names, strict=True):
        for channel in result.channels:
            if result.rows and channel:
                files.setdefault(channel, []).append(name)
    if len(files) > 1:
        listed = []
        for channel in sorted(files):
            listed.append(f"{channel} ({first_of(files[channel], MAX_NAMES)})")
        first = min(files)
        yield (
            f"note: the files are of channels {'; '.join(listed)}: channels of one response are not independent "
            f"averages; --map signal={first} (or channel={first}) reads one"
        )
