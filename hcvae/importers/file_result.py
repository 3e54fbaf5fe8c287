"""Options of an import, and the result of reading one file."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hcvae.importers.averages import Row
from hcvae.importers.recording import CellValue
from hcvae.importers.steps import Steps


@dataclass(frozen=True)
class ImportOptions:
    """Options of an import, without the list of files."""

    steps: Steps = field(default_factory=Steps)
    format: str | None = None
    """Name of the format of all files; None: detect the format of each file."""
    mapping: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, CellValue] = field(default_factory=dict)
    """Columns with one value for all waveforms, which replaces the value in the files."""
    subject: str | None = None
    """Identity of the only subject of all files."""
    max_residual_noise_uv: float | None = None
    max_artifact_share: float | None = None
    licence: str | None = None
    """Licence of the recordings, for the cards of models that are trained on them."""


@dataclass
class FileResult:
    """Result of reading one file."""

    path: Path
    format: str | None = None
    sha256: str = ""
    companions: list[str] = field(default_factory=list)
    """SHA-256 hashes of the files that are read with it."""
    recordings: int = 0
    rows: list[Row] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    """Number of recordings that were left out, by reason."""
    notes: Counter[str] = field(default_factory=Counter)
    """Unused or unrecognised content of the file, with counts."""
    without_subject: list[int] = field(default_factory=list)
    """Numbers, from 0, of the recordings that name no subject."""
    channels: set[str | None] = field(default_factory=set)
    used_options: set[str] = field(default_factory=set)
    """Options with an effect on this file, among those that only some recordings can use."""
    error: str | None = None
