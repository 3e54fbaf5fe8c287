"""Two searches of one study in PostgreSQL, each in processes of its own."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import pytest
from optuna.trial import TrialState

import hcvae
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.running_search import RunningSearch
from tests.fixtures.studies import SmallSearch, small_search_config
from tune.config import SearchConfig
from tune.report.html import html_report
from tune.report.results import SearchResult
from tune.study.folder import StudyFolder
from tune.study.leases import lease_of
from tune.study.trial_attributes import attributes_of

pytestmark = pytest.mark.services
ROOT = Path(__file__).resolve().parents[2]
IMPATIENT = """
import sys
import tune.study.leases
tune.study.leases.HEARTBEAT_S, tune.study.leases.EXPIRY_S = 1, 4
from jobs import search
sys.exit(search.run(sys.argv[1:]))
"""


@pytest.fixture
def written(tmp_path: Path) -> Callable[[SearchConfig], Path]:
    """Writes a configuration file."""

    def write(config: SearchConfig) -> Path:
        file = tmp_path / "config.json"
        file.write_text(config.model_dump_json())
        return file

    return write


@pytest.fixture
def search() -> Iterator[Callable[[Path], RunningSearch]]:
    """Starts searches that soon take silence for death, and ends what they leave behind."""
    searches: list[RunningSearch] = []

    def start(config: Path) -> RunningSearch:
        searches.append(RunningSearch(config, ("-c", IMPATIENT)))
        return searches[-1]

    yield start
    for search in searches:
        search.kill(True)


def command_lines() -> str:
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit():
                found.append((entry / "cmdline").read_text())
    return "\n".join(found)


@dataclass(frozen=True)
class Shared:
    """A study that two searches have shared, while their database was restarted."""

    folder: StudyFolder
    searches: "list[subprocess.Popen[bytes]]"
    outputs: list[str]
    command_lines: str
    """Of all processes of the machine, while the searches ran."""
    began: float


@pytest.fixture(scope="module")
def shared(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    """Seven trials, from two searches at once; the environment has the URL of the database, with its password."""
    tmp_path = tmp_path_factory.mktemp("shared")
    training = {"epochs": 10, "early_stopping_patience": None}
    settings = {"study": "shared", "trials": 7, "database": "env:HCVAE_TEST_URL", "max_concurrent": 1}
    (tmp_path / "config.json").write_text(small_search_config(tmp_path, training, **settings).model_dump_json())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HCVAE_TEST_URL", postgres.secret_url)
        yield search_twice(tmp_path, postgres)


def search_twice(tmp_path: Path, postgres: PostgresServer) -> Shared:
    """Start two searches, restart the database while both run, and wait for their ends."""
    command = [sys.executable, "-m", "jobs.search", "--config", str(tmp_path / "config.json")]
    outputs = [tmp_path / f"output-{number}" for number in range(2)]
    began = time.time()
    searches = []
    for output in outputs:
        with output.open("w") as file:
            searches.append(subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT))
    seen = ""
    restarted = False
    while any(search.poll() is None for search in searches):
        seen += command_lines()
        started = (tmp_path / "shared" / "trials" / "2").exists()
        if not restarted and started and all("Searched by" in output.read_text() for output in outputs):
            restart(postgres, outputs)
            restarted = True
        time.sleep(0.5)
    assert restarted
    return Shared(StudyFolder(tmp_path / "shared"), searches, [output.read_text() for output in outputs], seen, began)


def restart(postgres: PostgresServer, outputs: Sequence[Path]) -> None:
    """Stop the database until a search has noticed, then start it."""
    postgres.control("stop", "--mode=immediate")
    while not any("the study cannot be written" in output.read_text() for output in outputs):
        time.sleep(0.1)
    postgres.control("start")


def test_two_searches_outlive_a_restart_of_their_database(shared: Shared) -> None:
    assert [search.returncode for search in shared.searches] == [0, 0], shared.outputs


def test_two_searches_share_a_budget(shared: Shared) -> None:
    trials = shared.folder.load().trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 7
    assert [trial.number for trial in trials] == list(range(7))
    assert len({str(trial.params) for trial in trials}) == 7
    leases = [lease_of(trial) for trial in trials]
    assert {lease.attempt for lease in leases} == {1}
    owners = {lease.owner.process for lease in leases if lease.owner}
    assert owners == {search.pid for search in shared.searches}
    for output in shared.outputs:
        assert "7/7 finished" in output


def test_two_searches_export_one_front(shared: Shared) -> None:
    result = SearchResult.open(shared.folder.path)
    exported = {bundle.name for bundle in shared.folder.best.path.iterdir()}
    assert exported == {f"trial-{trial.number}" for trial in result.pareto}
    for member in result.pareto:
        hcvae.load(result.bundle(member.number))


def test_the_password_of_a_database_is_shown_nowhere(shared: Shared, postgres: PostgresServer) -> None:
    shown = html_report(shared.folder) + repr(SearchResult.open(shared.folder.path)) + from_dashboard(shared.folder)
    logs = [file for file in Path("/tmp/ray").glob("session_*/logs/**/*") if file.stat().st_mtime > shared.began]
    assert logs
    files = [file for file in (*shared.folder.path.parent.rglob("*"), *logs) if file.is_file()]
    assert "jobs.search" in shared.command_lines
    assert postgres.password not in shared.command_lines + shown
    assert [file for file in files if postgres.password.encode() in file.read_bytes()] == []


def from_dashboard(folder: StudyFolder) -> str:
    """Return what the dashboard answers and prints, and the command lines of all processes while it runs."""
    command = [sys.executable, "-m", "jobs.dashboard", str(folder.path)]
    served = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    shown = ""
    try:
        assert served.stdout is not None
        address = re.search(r"(http://[^/]+)/dashboard/studies/(\d+)", served.stdout.readline())
        assert address, served.communicate()[1]
        for name in (f"dashboard/studies/{address[2]}", "api/meta", "api/studies", f"api/studies/{address[2]}"):
            with urlopen(f"{address[1]}/{name}", timeout=30) as answer:
                shown += answer.read().decode()
        shown += command_lines()
    finally:
        served.send_signal(signal.SIGINT)
        shown += "".join(served.communicate(timeout=30))
    return shown


def test_a_search_that_was_silent_has_lost_its_trial(
    small_search: SmallSearch,
    written: Callable[[SearchConfig], Path],
    search: Callable[[Path], RunningSearch],
    tmp_path: Path,
    postgres: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its driver is stopped for a while. Its actor goes on with it, into the folder of its own attempt."""
    monkeypatch.setenv("PGPASSFILE", str(postgres.password_file))
    training = {"epochs": 60, "early_stopping_patience": None, "checkpoint_every_epochs": 1}
    config = small_search(study="silent", trials=2, database=postgres.url, training=training, max_concurrent=1)
    first = search(written(config))
    first.wait_for_epochs(3)
    os.kill(first.process.pid, signal.SIGSTOP)
    second = search(tmp_path / "config.json")
    for event in second.events():
        if event["event"] == "epoch" and event["trial"] == 0:
            assert event["metrics"]["epoch"] > 2  # an epoch is told of before its checkpoint is written
            break
    os.kill(first.process.pid, signal.SIGCONT)
    with ThreadPoolExecutor(1) as pool:  # both are heard: a full pipe would hold one up
        pool.submit(second.first_epochs)
        told = [event["event"] for event in first.events()]
    assert (first.process.wait(), second.process.wait()) == (0, 0)
    assert "lost" in told
    trials = StudyFolder(tmp_path / "silent").load().trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 2
    claim = lease_of(trials[0])
    assert claim.owner
    assert (claim.attempt, claim.owner.process) == (2, second.process.pid)
    assert [epoch["epoch"] for epoch in attributes_of(trials[0])["epochs_reported"]] == list(range(1, 61))
    events = [tmp_path / "silent" / "tensorboard" / f"silent-trial-0000-attempt-{number}" for number in (1, 2)]
    writers = [{file.name.split(".")[-2] for file in folder.iterdir()} for folder in events]
    assert [len(each) for each in writers] == [1, 1]
    assert writers[0] != writers[1]


def test_a_search_that_waits_for_another_s_trial_or_for_the_database_can_be_stopped(
    small_search: SmallSearch,
    written: Callable[[SearchConfig], Path],
    search: Callable[..., RunningSearch],
    tmp_path: Path,
    postgres: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PGPASSFILE", str(postgres.password_file))
    training = {"epochs": 2000, "early_stopping_patience": None}
    config = written(small_search(study="waited", trials=1, database=postgres.url, training=training))
    first = search(config)
    first.wait_for_epochs(1)
    for number in (signal.SIGTERM, signal.SIGINT):
        second = RunningSearch(config, errors=tmp_path / "errors")
        assert any(event["event"] == "waiting" for event in second.events())
        if number == signal.SIGINT:
            postgres.control("stop", "--mode=immediate")
            while "the study cannot be written" not in (tmp_path / "errors").read_text():
                time.sleep(0.1)
        began = time.monotonic()
        second.process.send_signal(number)
        assert second.process.wait(60) == 130
        assert time.monotonic() - began < 10
        assert (tmp_path / "errors").read_text().splitlines()[-1] == "interrupted"
    postgres.control("start")
    assert first.process.poll() is None
