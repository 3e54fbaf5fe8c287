import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from cluster import local
from cluster.errors import ClusterError

ROOT = Path(__file__).resolve().parents[2]


def test_a_long_folder_for_temporary_files_is_not_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/a-long-name-as-slurm-gives-it" * 3)
    assert local._default_folder() == Path(f"/tmp/hcvae-{os.getuid()}/cluster")


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "http://127.0.0.1:port", "http://no-such-host.invalid:8265"])
def test_a_dashboard_that_does_not_answer(address: str) -> None:
    command = [sys.executable, "-m", "cluster.submit", "--address", address, "--status", "job"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"error: {address}: no Ray dashboard answers; set RAY_API_SERVER_ADDRESS")
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.services
def test_a_start_that_is_stopped_leaves_nothing() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as parent:
        folder = Path(parent, "c")
        command = [sys.executable, "-m", "cluster.local", "--folder", str(folder), "up"]
        with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
            while not (folder / "cluster.json").exists():  # a node has been started
                assert process.poll() is None
                time.sleep(0.1)
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGINT)
            said = process.communicate(timeout=60)[1]
        assert (process.returncode, said) == (130, "interrupted\n")
        assert not folder.exists()


def test_the_command_for_another_folder_can_be_pasted(tmp_path: Path) -> None:
    folder = tmp_path / "it's here"
    with pytest.raises(ClusterError) as none_there:
        local.run(["--folder", str(folder), "status"])
    command = str(none_there.value).partition("`")[2].rpartition("`")[0]
    assert shlex.split(command) == ["python", "-m", "cluster.local", "--folder", str(folder), "up"]
