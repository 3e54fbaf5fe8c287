"""Ctrl-C and SIGTERM at every stage of a program: exit code 130, one line, nothing half written, no process left."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

Start = Callable[..., "subprocess.Popen[str]"]
MARK = "HCVAE_TEST_SIGNALS"
SMALL = "--model.width=0.02 --data.simulator.rows=1500 --training.epochs=200 --training.early_stopping_patience=null"
SEARCH = f"search {SMALL} --search.study=s --search.storage={{folder}} --log-json"
WAITING = f"{SEARCH} --search.gpus_per_worker=64 --wait-for-resources"
ONE_EPOCH = f"{SEARCH} --training.epochs=1 --search.trials=1"
TRAIN = f"train {SMALL} --out={{folder}}/out --log-json"


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The environment variable of the processes that a test starts; what is left of them is ended."""
    monkeypatch.setenv(MARK, f"{os.getpid()}-{time.monotonic()}")
    yield f"{MARK}={os.environ[MARK]}"
    for number in processes(f"{MARK}={os.environ[MARK]}"):
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)


def processes(mark: str) -> dict[int, str]:
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and int(entry.name) != os.getpid() and mark in (entry / "environ").read_text():
                found[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
        except (OSError, UnicodeDecodeError):
            continue
    return {number: line for number, line in found.items() if line}


def wait_until(condition: Callable[[], bool], timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def handles_signals(process: "subprocess.Popen[str]") -> bool:
    """Whether it has begun to import: the first thing that a program does is to set its handlers."""
    [caught] = [line for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if "SigCgt" in line]
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.services
@pytest.mark.parametrize(
    ("command", "stage", "numbers"),
    [
        (SEARCH, "", [signal.SIGTERM]),
        (SEARCH, "reading the data", [signal.SIGTERM]),
        (SEARCH, "Starting Ray", [signal.SIGTERM]),
        (SEARCH, "Starting Ray", [signal.SIGINT, signal.SIGTERM]),
        (WAITING, "waiting for resources", [signal.SIGTERM]),
        (SEARCH, "Searched by", [signal.SIGTERM]),
        (SEARCH, '"epoch"', [signal.SIGINT, signal.SIGTERM]),
        (ONE_EPOCH, '"ended"', [signal.SIGTERM]),
        (TRAIN, "reading the data", [signal.SIGINT]),
        (TRAIN, '"epoch"', [signal.SIGTERM]),
        (f"{TRAIN} --workers=2", '"epoch"', [signal.SIGTERM]),
        ("generate nothing --out={folder}/many", "", [signal.SIGTERM]),
        ("pull nothing --out={folder}/model", "", [signal.SIGTERM]),
        ("report nothing", "", [signal.SIGTERM]),
        ("dashboard nothing", "", [signal.SIGTERM]),
    ],
)
def test_a_signal_at_any_stage(
    command: str, stage: str, numbers: list[signal.Signals], start_job: Start, tmp_path: Path, mark: str
) -> None:
    process = start_job(*command.format(folder=tmp_path / "results").split())
    lines: list[str] = []
    threads = [threading.Thread(target=lines.extend, args=(file,)) for file in (process.stdout, process.stderr)]
    for thread in threads:
        thread.start()
    wait_until(lambda: any(stage in line for line in lines) if stage else handles_signals(process))
    assert process.poll() is None, lines
    began = time.monotonic()
    for number in numbers:
        process.send_signal(number)
        time.sleep(0.03)
    assert process.wait(60) == 130, lines
    assert time.monotonic() - began < 10
    for thread in threads:
        thread.join()
    assert [line for line in lines if "interrupted" in line] == ["interrupted\n"]
    for noise in ("Traceback", "Exception ignored", "***", "SIGTERM", "Error"):
        assert not [line for line in lines if noise in line]
    wait_until(lambda: not processes(mark), timeout_s=30)
    if stage not in ("Searched by", '"epoch"', '"ended"'):
        assert not (tmp_path / "results").exists()
