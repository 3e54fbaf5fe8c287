"""The folder of real files that imports once read wrongly."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def cases() -> Path:
    """The folder of import cases, one folder each; the environment variable HCVAE_CASES names its parent."""
    folder = Path(os.environ.get("HCVAE_CASES", ROOT.parent / "shared" / "cases")) / "import"
    if not folder.is_dir():
        pytest.skip(f"no cases in {folder}; name their parent folder in the environment variable HCVAE_CASES")
    return folder
