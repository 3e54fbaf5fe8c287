"""Folders on a disk and in an object store: whole or not there, whatever happens to who writes them."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import hcvae
from hcvae.errors import UserError
from hcvae.storage import MARKER, StoragePath
from tests.fixtures.object_store import ObjectStore

FILES = {"model.safetensors": b"weights" * 1000, "README.md": b"what it is", "inner/deep.json": b"{}", "empty": b""}
_names = (f"place-{number}" for number in itertools.count())


@pytest.fixture(params=["disk", "object store"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> StoragePath:
    """A place where nothing is."""
    if request.param == "disk":
        return StoragePath.of(tmp_path / next(_names))
    store: ObjectStore = request.getfixturevalue("s3")
    return StoragePath.of(store.address(next(_names)))


@pytest.fixture
def remote(s3: ObjectStore) -> StoragePath:
    """A place in an object store where nothing is."""
    return StoragePath.of(s3.address(next(_names)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of `FILES`."""
    return made(tmp_path / "source", FILES)


def made(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_comes_back_as_it_was_put(place: StoragePath, folder: Path, tmp_path: Path) -> None:
    target = place / "trials" / "3"
    assert (target.is_whole(), target.names(), place.names()) == (False, [], [])
    target.put(folder)
    assert target.is_whole()
    assert place.names() == ["trials"]
    target.fetch(tmp_path / "copy")
    assert content(tmp_path / "copy") == FILES
    with target.fetched() as local:
        assert content(local) | {MARKER: b""} == FILES | {MARKER: b""}
        assert (local == target.path) if place.is_local else (local.name == "3")


def test_what_was_there_is_replaced_whole(place: StoragePath, folder: Path, tmp_path: Path) -> None:
    place.put(folder)
    place.put(made(tmp_path / "other", {"README.md": b"another"}))
    place.fetch(tmp_path / "copy")
    assert content(tmp_path / "copy") == {"README.md": b"another"}


def test_a_moved_folder_is_at_its_target_only(place: StoragePath, folder: Path, tmp_path: Path) -> None:
    (place / "attempt").put(folder)
    (place / "attempt").move(place / "best" / "trial-1")
    assert not (place / "attempt").is_whole()
    assert (place / "attempt").names() == []
    (place / "best" / "trial-1").fetch(tmp_path / "copy")
    assert content(tmp_path / "copy") == FILES


def test_what_is_removed_is_gone_and_may_be_removed_again(place: StoragePath, folder: Path) -> None:
    (place / "one").put(folder)
    (place / "file").write(b"x")
    for name in ("one", "one", "file", "file", "never"):
        (place / name).remove()
    assert place.names() == []
    assert not (place / "one").is_whole()


def test_a_file_is_replaced_whole(place: StoragePath) -> None:
    file = place / "deep" / "study.json"
    assert not file.is_file()
    with pytest.raises(FileNotFoundError):
        file.read_text()
    for text in ("first", "zweite µV"):
        file.write(text.encode())
        assert file.read_text() == text
    assert (place / "deep").names() == ["study.json"]


def test_nothing_is_fetched_where_nothing_whole_is(place: StoragePath, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        place.fetch(tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_folder_without_its_marker_is_not_there(remote: StoragePath, folder: Path, tmp_path: Path) -> None:
    remote.put(folder)
    assert json.loads((remote / MARKER).read_text()) == {name: len(file) for name, file in FILES.items()}
    (remote / MARKER).remove()
    assert not remote.is_whole()
    with pytest.raises(FileNotFoundError):
        remote.fetch(tmp_path / "copy")


@pytest.mark.parametrize("damage", ["removed", "shortened"])
def test_a_folder_that_is_damaged_meanwhile_is_not_there(
    damage: str, remote: StoragePath, folder: Path, tmp_path: Path
) -> None:
    remote.put(folder)
    file = remote / "model.safetensors"
    file.remove() if damage == "removed" else file.write(b"half")
    with pytest.raises(FileNotFoundError):
        remote.fetch(tmp_path / "copy")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]


def test_a_writer_that_is_killed_leaves_nothing_whole(remote: StoragePath, tmp_path: Path) -> None:
    folder = made(tmp_path / "source", {f"part-{k}": os.urandom(8_000_000) for k in range(6)})
    program = "import sys, pathlib, hcvae.storage as s; s.StoragePath.of(sys.argv[1]).put(pathlib.Path(sys.argv[2]))"
    writer = subprocess.Popen([sys.executable, "-c", program, str(remote), str(folder)])
    deadline = time.monotonic() + 60
    while not remote.names():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert MARKER not in remote.names()
    assert not remote.is_whole()
    remote.put(folder)
    remote.fetch(tmp_path / "copy")
    assert content(tmp_path / "copy") == content(folder)


def test_a_place_says_what_a_person_can_type(tmp_path: Path) -> None:
    uri = "s3://bucket/studies?region=eu-central-1"
    assert str(StoragePath.of(uri) / "nightly" / "best") == "s3://bucket/studies/nightly/best?region=eu-central-1"
    assert StoragePath.of(str(StoragePath.of(uri) / "nightly")).name == "nightly"
    assert str(StoragePath.of(tmp_path) / "nightly") == f"{tmp_path}/nightly"
    assert Path(StoragePath.of(tmp_path)) == tmp_path


@pytest.mark.parametrize(
    "uri", ["s3://key:s3cr3t@bucket/x", "s3://bucket/x?secret_key=s3cr3t", "s3://bucket/x?access_key=s3cr3t"]
)
def test_keys_in_a_uri_are_refused_and_not_repeated(uri: str) -> None:
    with pytest.raises(UserError, match=r"s3://\.\.\.: holds a key or a password") as refused:
        StoragePath.of(uri)
    assert "s3cr3t" not in str(refused.value)


def test_an_unknown_file_system_is_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"nowhere://x: .*s3://bucket/folder"):
        StoragePath.of("nowhere://x").names()


def test_a_bundle_that_is_not_there_is_said_to_be_so(remote: StoragePath) -> None:
    with pytest.raises(UserError, match="no whole model bundle"):
        hcvae.load(str(remote))


@pytest.mark.parametrize(
    "names", [{"../outside": 4}, {"/outside": 4}, {"a/../../outside": 4}, {"": 4}, {"README.md": "4"}, ["README.md"]]
)
def test_a_marker_that_names_files_elsewhere_is_refused(
    remote: StoragePath, folder: Path, tmp_path: Path, names: object
) -> None:
    remote.put(folder)
    (remote / MARKER).write(json.dumps(names).encode())
    with pytest.raises(UserError, match="must name files"):
        hcvae.load(str(remote))
    with pytest.raises(UserError, match="must name files"):
        remote.move(StoragePath.of(f"{remote}-moved"))


def test_a_marker_that_is_nested_without_end_is_refused(remote: StoragePath, folder: Path, tmp_path: Path) -> None:
    remote.put(folder)
    (remote / MARKER).write(b"[" * 10**5)
    with pytest.raises(UserError, match="this folder is none of ours"):
        remote.fetch(tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
