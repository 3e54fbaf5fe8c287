import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from hcvae.data.simulator import simulate
from jobs import search

ROOT = Path(__file__).resolve().parents[2]

# At 1e-7 nothing is learnt: the seed draws 1e-2, 1e-7, 1e-3, so that the second trial is dominated by the first.
TINY: dict[str, Any] = {
    "model": {"width": 0.02},
    "data": {"simulator": {"rows": 1500}},
    "training": {"epochs": 2, "batch_size": 64},
    "search": {
        "study": "tiny",
        "objectives": ["reconstruction_nmse", "disentanglement"],
        "trials": 3,
        "max_concurrent": 1,
        "sampler": "random",
        "start_from_defaults": False,
        "space": {
            "model.global_latent_dim": {"type": "int", "low": 4, "high": 16},
            "training.learning_rate": {"type": "choice", "choices": [1e-2, 1e-3, 1e-7]},
        },
    },
}

Run = Callable[..., subprocess.CompletedProcess[str]]
Write = Callable[[Any], str]


@pytest.fixture(scope="session")
def run_job() -> Run:
    """Runs `python -m jobs.NAME ARGUMENTS` in a process of its own."""

    def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", f"jobs.{name}", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400)

    return run


def _accept_ctrl_c() -> None:
    # A shell starts background commands with SIGINT ignored, and their children inherit that.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def start_job() -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts `python -m jobs.NAME ARGUMENTS` in its own process group, as a terminal does, and kills it at the end."""
    processes: list[subprocess.Popen[str]] = []

    def start(name: str, *arguments: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-m", f"jobs.{name}", *arguments]
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=_accept_ctrl_c,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture
def write_config(tmp_path: Path) -> Write:
    """Writes a configuration file and returns its name."""

    def write(content: Any) -> str:
        file = tmp_path / "config.json"
        file.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(file)

    return write


@pytest.fixture(scope="session")
def simulated() -> pa.Table:
    """600 simulated waveforms of 200 samples."""
    return simulate(600, 0)


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished search, `TINY`. It uses a running Ray, or starts and ends one of its own."""
    folder = tmp_path_factory.mktemp("study")
    config = folder / "config.json"
    config.write_text(json.dumps(TINY))
    assert search.run(["--config", str(config), "--search.storage", str(folder / "results")]) == 0
    return folder / "results" / "tiny"


@pytest.fixture(scope="session")
def tiny(study: Path) -> dict[str, Any]:
    """The configuration of `study`."""
    settings = TINY["search"] | {"storage": str(study.parent)}
    return TINY | {"search": settings}
