"""What an import reports of more than one file, and messages without the names of files."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from hcvae.importers.file_result import FileResult, ImportOptions
from hcvae.importers.pseudonyms import fingerprint
from hcvae.importers.recording import Pseudonym
from hcvae.importers.steps import USUAL

SHEET = re.compile(r"""sheet (["']).*?\1""")


def notes_on_all(results: Sequence[FileResult], options: ImportOptions, key: bytes) -> Iterator[str]:
    """One line for each thing."""
    nameless = sum(1 for result in results if result.rows and not result.names_subject)
    if nameless:
        yield (
            f"{nameless} files name no subject: each counts as a subject of its own; where they are of one subject, "
            "import them with --subject NAME"
        )
    for option in options_without_effect(results, options):
        yield f"note: {option} had no effect: no recording of these files can use it"
    for name in sorted(options.mapping.keys() & options.values.keys()):
        yield f"note: --map {name} had no effect: --value {name} holds for all waveforms"
    if others := _subjects_of_other_keys(results, key):
        yield (
            f"note: {others} subjects keep pseudonyms of another or an unknown key: in other files they count as other "
            "people"
        )
    channels = sorted({channel for result in results if result.rows for channel in result.channels if channel})
    if len(channels) > 1:
        yield (
            f"note: the files are of channels {', '.join(channels)}: channels of one response are no independent "
            f"averages; --map signal={channels[0]} (or channel={channels[0]}) reads one"
        )


def options_without_effect(results: Sequence[FileResult], options: ImportOptions) -> list[str]:
    """Options that were given and that no recording of the files that were read could use."""
    steps = options.steps
    given = {
        "--block-sweeps": steps.block_sweeps != USUAL,
        "--reject-before-uv": steps.reject_before_uv != USUAL,
        "--reject-after-uv": steps.reject_after_uv != USUAL,
        "--max-residual-noise-uv": options.max_residual_noise_uv is not None,
        "--max-artifact-share": options.max_artifact_share is not None,
    }
    used = set[str]().union(*(result.used_options for result in results))
    return [option for option, is_given in given.items() if is_given and option not in used]


def without_names(message: str, path: Path, number: int) -> str:
    """A message about file `number` without its name, and without the titles of its sheets."""
    for name in (str(path.resolve()), str(path), str(path.parent.resolve()), path.name, path.stem):
        message = message.replace(name, f"file {number}")
    return SHEET.sub("a sheet", message)


def _subjects_of_other_keys(results: Sequence[FileResult], key: bytes) -> int:
    """Subjects that keep pseudonyms of another key, beside subjects whose pseudonyms are made with `key`."""
    subjects = {row.subject for result in results for row in result.rows}
    others = {one for one in subjects if isinstance(one, Pseudonym) and one.key != fingerprint(key)}
    return len(others) if others < subjects else 0
