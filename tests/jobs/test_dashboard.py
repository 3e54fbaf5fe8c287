"""The dashboard in a process of its own, as a user starts it, and in a browser."""

import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from torch.utils.tensorboard import SummaryWriter

from hcvae.errors import UserError
from jobs import dashboard
from tune.report.results import SearchResult
from tune.study.artifacts import images
from tune.study.folder import StudyFolder

Run = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., "subprocess.Popen[str]"]


def addresses(process: "subprocess.Popen[str]") -> tuple[str, str]:
    """Where the dashboard of the study and TensorBoard are, as the process says once both serve."""
    assert process.stdout is not None
    said = "".join(process.stdout.readline() for _ in range(3))
    found = re.fullmatch(r"study +(\S+)\ntrainings +(\S+)\nCtrl-C ends both\n", said)
    assert found, said + process.communicate()[1]
    return found[1], found[2]


def get(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=30) as answer:
        assert answer.status == 200
        return bytes(answer.read())


def runs_of(tensorboard: str, count: int) -> list[str]:
    """What TensorBoard calls the trainings, once it has read them."""
    deadline = time.monotonic() + 30
    while True:
        runs: list[str] = json.loads(get(f"{tensorboard}data/runs"))
        if len(runs) == count or time.monotonic() > deadline:
            return sorted(runs)
        time.sleep(0.5)


def port_of(address: str) -> int:
    found = re.match(r"http://127\.0\.0\.1:(\d+)/", address)
    assert found, address
    return int(found[1])


def free_ports() -> tuple[int, int]:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        return one.getsockname()[1], other.getsockname()[1]


def family(process: int) -> dict[int, str]:
    """Command lines of a process and of its descendants."""
    found, parents = {}, {}
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit():
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    todo = [process]
    while todo:
        found[todo[-1]] = Path(f"/proc/{todo[-1]}/cmdline").read_text().replace("\0", " ")
        parent = todo.pop()
        todo += [child for child, its in parents.items() if its == parent]
    return found


def wait_for_end(process: int) -> None:
    deadline = time.monotonic() + 10
    with suppress(OSError):
        while Path(f"/proc/{process}/cmdline").read_text():  # empty where it has ended and nobody has asked how
            assert time.monotonic() < deadline, "still running"
            time.sleep(0.1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_both_are_served_until_a_signal(study: Path, start_job: Start, number: signal.Signals) -> None:
    ports = free_ports() if number == signal.SIGTERM else None
    given = [f"--port={ports[0]}", f"--tensorboard-port={ports[1]}"] if ports else []
    process = start_job("dashboard", str(study), *given)
    served = addresses(process)
    if ports:
        assert (port_of(served[0]), port_of(served[1])) == ports
    for address in served:  # for this machine only: a server of all addresses would answer here, too
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.2", port_of(address)), timeout=5)
    with socket.create_connection(("127.0.0.1", port_of(served[0]))):  # one that says nothing holds nobody up
        assert b"<title>Optuna Dashboard</title>" in get(served[0])
    assert b"TensorBoard" in get(served[1])
    assert runs_of(served[1], 3) == [f"tensorboard/tiny-trial-000{number}-attempt-1" for number in range(3)]

    running = family(process.pid)
    assert not [line for line in running.values() if "sqlite" in line or "://" in line or ".db" in line]
    os.killpg(process.pid, number)
    said = process.communicate(timeout=30)[1]
    assert process.returncode == 0
    assert "Traceback" not in said
    for address in served:
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", port_of(address)), timeout=5)
    for process_id in running:
        wait_for_end(process_id)


def test_a_port_in_use_is_refused(study: Path, run_job: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for option in ("--port", "--tensorboard-port"):
            ended = run_job("dashboard", str(study), option, str(port))
            assert ended.returncode == 2, ended.stderr
            assert f"error: {option}: " in ended.stderr
            assert str(port) in ended.stderr
            assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{tmp}"], r"no study here; name a folder that holds a study\.json"),
        ([], "the following arguments are required: STUDY"),
        (["{tmp}", "--port=70000"], "port: input should be less than or equal to 65535, but got '70000'"),
        (["{tmp}", "--tensorbord-port=1"], r"unknown option; did you mean '--tensorboard-port'\?"),
    ],
)
def test_what_must_be_refused(tmp_path: Path, arguments: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        dashboard.run([argument.format(tmp=tmp_path) for argument in arguments])


def test_trainings_of_earlier_versions_are_found(tmp_path: Path) -> None:
    """Their events lie in the folders of the attempts."""
    folders = ("trials/7/attempt-1/tensorboard", "tensorboard/tiny-trial-0008-attempt-2")
    for name in folders:
        with SummaryWriter(str(tmp_path / name)) as writer:
            writer.add_scalar("Objectives/reconstruction_nmse", 0.5, 1)
    with dashboard._trainings(StudyFolder(tmp_path)) as trainings:
        reader = EventMultiplexer().AddRunsFromDirectory(str(trainings)).Reload()
    assert sorted(reader.Runs()) == sorted(folders)
    scalars = reader.PluginRunToTagToContent("scalars")
    assert {run: list(tags) for run, tags in scalars.items()} == {
        run: ["Objectives/reconstruction_nmse"] for run in folders
    }


@pytest.fixture
def served(study: Path, start_job: Start) -> Iterator[str]:
    """The address of the study's page."""
    process = start_job("dashboard", str(study))
    yield addresses(process)[0]
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=30)


@pytest.mark.services
def test_the_page_of_a_study_shows_objectives_and_front(study: Path, served: str, browser: Browser) -> None:
    page = browser.new_page(viewport={"width": 1400, "height": 1200})
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(served)
    page.get_by_text("Pareto Front").first.wait_for()
    for objective in ("reconstruction_nmse", "disentanglement"):
        page.get_by_text(objective).first.wait_for()
    chart = page.locator(".js-plotly-plot").first  # the first of the page, below that heading
    chart.locator(".scatterlayer .points path").first.wait_for()
    assert chart.locator(".scatterlayer .points path").count() == len(SearchResult.open(study).trials)
    origin = served.partition("/dashboard")[0]
    assert [url for url in requests if not url.startswith((origin, "data:", "blob:"))] == []


@pytest.mark.services
def test_the_figures_of_a_trial_open(study: Path, served: str, browser: Browser) -> None:
    page = browser.new_page(viewport={"width": 1400, "height": 1200})
    page.goto(f"{served}/trials?numbers=1")
    page.get_by_text("Trial 1 (trial_id=").wait_for()
    shown = page.locator("img[src*='/artifacts/']")
    shown.first.wait_for()
    page.wait_for_function("[...document.querySelectorAll('img')].every(image => image.complete)")
    assert shown.count() == 3
    widest = "Math.max(...[...document.querySelectorAll('*')].map(element => element.scrollWidth))"
    assert page.evaluate(widest) <= 1400
    page.get_by_text("history.jsonl").first.wait_for()
    assert all(image.evaluate("image => image.naturalWidth") > 300 for image in shown.all())
    folder = StudyFolder(study)
    kept: dict[str, Any] = images(folder, folder.load(), folder.load().trials[1])
    address = served.partition("/dashboard")[0] + str(shown.first.get_attribute("src"))
    assert page.request.get(address).body() in kept.values()
    page.goto(address)
    assert page.locator("img").evaluate("image => image.naturalWidth") > 300
