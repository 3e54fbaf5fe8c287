"""500 damaged copies of a bundle: a clear error or a right load, no code run, nothing read elsewhere, under 1 GB."""

import subprocess
import sys
from pathlib import Path

import pytest

from hcvae.bundle import load, save_bundle
from tests.hcvae.hostile import ROOT

HERE = Path(__file__).parent


@pytest.mark.services
@pytest.mark.timeout(600)
def test_damaged_bundles_do_no_harm(tmp_path):
    save_bundle(tmp_path / "original", load(HERE / "version-1"), "Split by subject.", ())
    (tmp_path / "damaged").mkdir()
    script = [str(HERE / "mutations.py"), str(tmp_path / "original"), str(tmp_path / "damaged"), "500", "0"]
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, *script], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    print(done.stdout)
