"""Ray that cannot be had: one message that names the variable and the remedy, or a way around."""

import os
import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster.local import local_cluster
from hcvae.errors import UserError
from tune.placement import ray_environment
from tune.placement.ray_environment import check_head, cluster_address, local_folder, needed_token

ROOT = Path(__file__).resolve().parents[2]
LONG = "a-long-name-as-slurm-gives-it/" * 3


@pytest.fixture
def dead_port() -> Iterator[int]:
    """A port that nobody listens at, and nobody else takes."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that connects, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder with room for the names of Ray's sockets, which pytest's own may lack."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


def run_search(folder: Path, *before: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [*before, sys.executable, "-m", "jobs.search", "--dry-run", "--data.simulator.rows=600"]
    command += ["--model.width=0.02", f"--search.storage={folder / 'results'}"]
    return subprocess.run(command, cwd=ROOT, env=os.environ | variables, capture_output=True, text=True, timeout=100)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("ray://127.0.0.1:10001", "must be HOST:PORT, but got 'ray://127.0.0.1:10001', an address for Ray Client"),
        ("http://127.0.0.1:8265", "the dashboard's, which is for RAY_API_SERVER_ADDRESS"),
        ("nonsense", "must be HOST:PORT, but got 'nonsense'"),
        ("host:port", "must be HOST:PORT"),
        (":6379", "must be HOST:PORT"),
        ("127.0.0.1:99999", "must be HOST:PORT"),
        ("no-such-host.invalid:6379", "no Ray cluster answers at 'no-such-host.invalid:6379'"),
    ],
)
def test_an_address_of_no_cluster(monkeypatch: pytest.MonkeyPatch, address: str, message: str) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(UserError, match=r"^RAY_ADDRESS: .*or unset RAY_ADDRESS") as error:
        cluster_address()
    assert message in str(error.value)


@pytest.mark.parametrize("address", ["", "local"])
def test_no_address(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    assert cluster_address() is None


def test_an_address_where_nobody_listens_ends_a_process_with_2_and_one_message(dead_port: int, tmp_path: Path) -> None:
    ended = run_search(tmp_path, RAY_ADDRESS=f"127.0.0.1:{dead_port}")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"error: RAY_ADDRESS: no Ray cluster answers at '127.0.0.1:{dead_port}'")
    assert len(ended.stderr.splitlines()) == 1


def test_an_address_where_something_else_listens(silent_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_environment, "CONNECT_S", 1)
    with pytest.raises(UserError, match=r"^RAY_ADDRESS: what listens at .* is not the head of a Ray cluster"):
        check_head(f"127.0.0.1:{silent_port}")


@pytest.mark.parametrize("variable", ["TMPDIR", "RAY_TMPDIR"])
@pytest.mark.parametrize(
    ("folder", "fault"),
    [
        (LONG, "characters too long for the names of Ray's sockets"),
        ("missing", r"cannot write to .*missing/ray \(No such file or directory\)"),
        ("file", r"cannot write to .*file/ray \(Not a directory\)"),
    ],
)
def test_another_folder_where_ray_cannot_work(
    short_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    variable: str,
    folder: str,
    fault: str,
) -> None:
    (short_path / LONG).mkdir(parents=True)
    (short_path / "file").touch()
    monkeypatch.setenv(variable, str(short_path / folder))
    assert local_folder() == f"/tmp/ray-{os.getuid()}"
    [warning] = caplog.messages
    assert warning.startswith(f"{variable}={short_path / folder}: Ray cannot work there, as it")
    assert re.search(fault, warning)


def test_the_default_folder_is_left_to_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.delenv("TMPDIR", raising=False)
    assert local_folder() is None


def test_a_home_that_keeps_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, "")  # to be restored
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", "/proc")
    assert len(needed_token()["RAY_AUTH_TOKEN"]) == 64
    assert "RAY_AUTH_TOKEN" not in os.environ


@pytest.mark.services
def test_a_search_starts_ray_beside_all_these_faults_on_the_cpus_it_may_use(tmp_path: Path) -> None:
    (tmp_path / LONG).mkdir(parents=True)
    ended = run_search(tmp_path, "taskset", "-c", "0", TMPDIR=str(tmp_path / LONG), HOME="/proc")
    assert ended.returncode == 0, ended.stderr
    assert "TMPDIR=" in ended.stderr
    assert "1 at once, on 1 node with 1 CPU" in ended.stdout


@pytest.mark.services
def test_data_that_memory_cannot_share_with_the_trials(tmp_path: Path) -> None:
    program = "from tune.placement.ray_connection import ray_cluster\nwith ray_cluster(10**14): pass"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100)
    assert "UserError: Ray: cannot start on this machine: " in ended.stderr
    assert "data.memory_budget_gb" in ended.stderr


@pytest.mark.services
def test_a_cluster_that_refuses_us(tmp_path: Path) -> None:
    with local_cluster([1]) as cluster:
        there = cluster.variables
        no_token = run_search(tmp_path, **there | {"RAY_AUTH_MODE": "disabled"})
        wrong_token = run_search(tmp_path, **there | {"RAY_AUTH_TOKEN": "0" * 64})
        dashboard = run_search(tmp_path, **there | {"RAY_ADDRESS": cluster.dashboard.removeprefix("http://")})
        accepted = run_search(tmp_path, **there)
    for ended in (no_token, wrong_token):
        assert ended.returncode == 2
        assert ended.stderr.splitlines()[-1].startswith("error: RAY_AUTH_TOKEN: the cluster at RAY_ADDRESS=")
        assert len(ended.stderr.splitlines()) == 2
    assert dashboard.returncode == 2
    assert "is not the head of a Ray cluster" in dashboard.stderr
    assert accepted.returncode == 0, accepted.stderr
    assert "on 1 node with 1 CPU" in accepted.stdout
