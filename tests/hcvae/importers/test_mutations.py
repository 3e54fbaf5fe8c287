"""200 damaged copies of each raw file: a clear error or waveforms, never a crash, a hang, or another file read."""

import subprocess
import sys
from pathlib import Path

import pytest

RAW = (
    "raw/biosig_group_mouse_M1_55dB.txt", "raw/biosigrz_mouse_S1.arf", "raw/epl_cfts_ABR-52-3",
    "raw/epl_cfts_CAP-139-5", "raw/ihs_smartep_human_H1_30dB.TXT", "raw/ihs_smartep_human_H1_60dB.TXT",
    "raw/shipm_human_H1.mat", "raw_more/sheffield_mouse_A1_click.csv",
)  # fmt: skip


@pytest.mark.services
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", RAW)
def test_damaged_files_do_no_harm(name, recordings, tmp_path):
    script = Path(__file__).with_name("mutations.py")
    command = [sys.executable, str(script), str(recordings / name), str(tmp_path), "200", "0"]
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(command, cwd=root, env={"PYTHONPATH": str(root), "PATH": ""}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    print(done.stdout)
