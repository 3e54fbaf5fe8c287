"""A search as a job, its study in PostgreSQL, its models in an object store: stopped, gone on with, pulled, used.

Its secrets are looked for in all that it says, writes, uploads and shows in the process list.
"""

import os
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.fs
import pyarrow.parquet as pq
import pytest
from optuna.trial import TrialState

from cluster.local import LocalCluster, local_cluster
from hcvae.storage import StoragePath
from jobs import pull
from tests.fixtures.object_store import ObjectStore
from tests.fixtures.postgres import PostgresServer
from tune.study.folder import StudyFolder

pytestmark = [pytest.mark.services, pytest.mark.timeout(900)]
Run = Callable[..., subprocess.CompletedProcess[str]]
API = (
    "api/version",
    "api/jobs/",
    "api/jobs/nightly",
    "api/jobs/nightly/logs",
    "api/jobs/again",
    "api/jobs/again/logs",
    "api/v0/actors?detail=1&limit=10000",
    "api/v0/tasks?detail=1&limit=10000",
    "api/v0/nodes?detail=1",
    "api/v0/workers?detail=1&limit=10000",
    "api/v0/runtime_envs?detail=1",
)


@pytest.fixture(scope="module")
def three_nodes(s3: ObjectStore) -> Iterator[LocalCluster]:
    """Two nodes, which know the keys of the object store."""
    with local_cluster([1, 1]) as cluster:
        yield cluster


@pytest.fixture
def seen() -> Iterator[set[bytes]]:
    """The command lines of all processes of this machine while the test runs."""
    lines: set[bytes] = set()
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.1):
            for file in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    lines.add(file.read_bytes())
                except OSError:
                    continue

    thread = threading.Thread(target=look)
    thread.start()
    yield lines
    over.set()
    thread.join()


def test_no_secret_is_anywhere(
    three_nodes: LocalCluster, submit: Run, s3: ObjectStore, postgres: PostgresServer, tiny: Path, seen: set[bytes]
) -> None:
    folder = tiny.parent
    url = folder / "url"
    url.touch(0o600)
    url.write_text(postgres.secret_url)
    storage = s3.address("secret")
    search = ("search", "--config", tiny, "--search.storage", storage, "--search.database", f"file:{url}")
    search = (*search, "--training.epochs", 20, "--search.max_concurrent", 1)
    study = StudyFolder(StoragePath.of(storage) / "tiny")

    said = [submit("--submission-id", "nightly", *search)]
    deadline = time.monotonic() + 120
    while not any((study.attempt(0, 1) / "checkpoint" / name).is_complete() for name in _checkpoints(study)):
        assert time.monotonic() < deadline, submit("--status", "nightly", "--follow").stdout
        time.sleep(0.2)
    said.append(submit("--stop", "nightly"))
    assert said[-1].stdout.strip() == "nightly STOPPED"
    said.append(submit("--submission-id", "again", "--follow", *search))
    assert said[-1].returncode == 0, said[-1].stdout + said[-1].stderr
    assert [trial.state for trial in study.load().trials] == [TrialState.COMPLETE] * 2

    assert pull.run([str(study), "--out", str(folder / "model")]) == 0
    condition = ("--condition", "stimulus_level_db=60", "--samples", 30)
    said.append(submit("--follow", "generate", folder / "model", *condition, "--out", folder / "many"))
    assert said[-1].returncode == 0, said[-1].stdout + said[-1].stderr
    assert pq.read_table(folder / "many").num_rows == 30
    said.append(submit("--status", "again", "--follow"))

    token = (three_nodes.folder / "token").read_text()
    hidden = {name: secret.encode() for name, secret in _secrets(postgres, s3, token).items()}
    told = [text.encode() for done in said for text in (done.stdout, done.stderr)]
    places = {f"what command {index} says": text for index, text in enumerate(told)}
    places |= {f"command line {line!r}": line for line in seen}
    places |= {f"the API's {path}": _answer(three_nodes, token, path) for path in API}
    places |= {str(path): path.read_bytes() for path in _files(three_nodes.folder, folder) if path.name != "token"}
    places |= {key: content for key, content in _objects(s3) if key}
    del places[str(url)]
    assert len(places) > 300
    found = [(name, where) for name, secret in hidden.items() for where, text in places.items() if secret in text]
    assert found == []
    assert any(b"jobs.search" in line for line in seen)


def _checkpoints(study: StudyFolder) -> list[str]:
    return (study.attempt(0, 1) / "checkpoint").listdir()


def _secrets(postgres: PostgresServer, s3: ObjectStore, token: str) -> dict[str, str]:
    return {"password": postgres.password, "key of the object store": s3.secret_key, "token": token}


def _answer(cluster: LocalCluster, token: str, path: str) -> bytes:
    request = urllib.request.Request(f"{cluster.dashboard}/{path}", headers={"Authorization": f"Bearer {token}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        content: bytes = answer.read()
    return content


def _files(*folders: Path) -> Iterator[Path]:
    yield from (path for folder in folders for path in folder.rglob("*") if path.is_file() and os.access(path, os.R_OK))


def _objects(s3: ObjectStore) -> Iterator[tuple[str, bytes]]:
    files, root = pyarrow.fs.FileSystem.from_uri(s3.address(""))
    for entry in files.get_file_info(pyarrow.fs.FileSelector(root.rstrip("/"), recursive=True)):
        if entry.is_file:
            with files.open_input_stream(entry.path) as stream:
                yield f"object {entry.path}", stream.read()
