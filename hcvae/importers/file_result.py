"""The options of an import, and what became of each file."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hcvae.importers.averages import Row
from hcvae.importers.recording import CellValue
from hcvae.importers.steps import Steps


@dataclass(frozen=True)
class ImportOptions:
    """What the user says, besides the files."""

    steps: Steps = field(default_factory=Steps)
    format: str | None = None
    """Name of the format of all files; None: each is recognised."""
    mapping: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, CellValue] = field(default_factory=dict)
    """Columns of one value for all waveforms, in place of what the files say."""
    subject: str | None = None
    """Identity of the one subject of all files."""
    max_residual_noise_uv: float | None = None
    max_artifact_share: float | None = None
    licence: str | None = None
    """Of the recordings, for the cards of models that are trained on them."""


@dataclass
class FileResult:
    """What became of one file."""

    path: Path
    format: str | None = None
    sha256: str = ""
    companions: list[str] = field(default_factory=list)
    """Hashes of the files that are read with it."""
    recordings: int = 0
    rows: list[Row] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    """Recordings by the reason."""
    notes: Counter[str] = field(default_factory=Counter)
    """What of the file was not used or not understood, and how often."""
    names_subject: bool = True
    channels: set[str | None] = field(default_factory=set)
    used_options: set[str] = field(default_factory=set)
    """Those of the options that not all recordings can use, which were of use here."""
    error: str | None = None
