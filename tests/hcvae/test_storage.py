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


def test_a_folder_is_fetched_as_uploaded(place: StoragePath, folder: Path, tmp_path: Path) -> None:
    target = place / "trials" / "3"
    assert (target.is_complete(), target.listdir(), place.listdir()) == (False, [], [])
    target.upload(folder)
    assert target.is_complete()
    assert place.listdir() == ["trials"]
    target.fetch(tmp_path / "copy")
    assert content(tmp_path / "copy") == FILES
    with target.fetched() as local:
        assert content(local) | {MARKER: b""} == FILES | {MARKER: b""}
        assert (local == target.path) if place.is_local else (local.name == "3")


def test_an_upload_replaces_the_old_folder(place: StoragePath, folder: Path, tmp_path: Path) -> None:
    place.upload(folder)
    place.upload(made(tmp_path / "other", {"README.md": b"another"}))
    place.fetch(tmp_path / "copy")
    assert content(tmp_path / "copy") == {"README.md": b"another"}


def test_a_moved_folder_is_at_its_target_only(place: StoragePath, folder: Path, tmp_path: Path) -> None:
    (place / "attempt").upload(folder)
    (place / "attempt").move(place / "best" / "trial-1")
    assert not (place / "attempt").is_complete()
    assert (place / "attempt").listdir() == []
    (place / "best" / "trial-1").fetch(tmp_path / "copy")
    assert content(tmp_path / "copy") == FILES


def test_remove_is_idempotent(place: StoragePath, folder: Path) -> None:
    (place / "one").upload(folder)
    (place / "file").write(b"x")
    for name in ("one", "one", "file", "file", "never"):
        (place / name).remove()
    assert place.listdir() == []
    assert not (place / "one").is_complete()


def test_a_file_is_replaced_atomically(place: StoragePath) -> None:
    file = place / "deep" / "study.json"
    assert not file.is_file()
    with pytest.raises(FileNotFoundError):
        file.read_text()
    for text in ("first", "zweite µV"):
        file.write(text.encode())
        assert file.read_text() == text
    assert (place / "deep").listdir() == ["study.json"]


def test_fetching_an_incomplete_folder_fails(place: StoragePath, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        place.fetch(tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_folder_without_its_marker_is_ignored(remote: StoragePath, folder: Path, tmp_path: Path) -> None:
    remote.upload(folder)
    assert json.loads((remote / MARKER).read_text()) == {name: len(file) for name, file in FILES.items()}
    (remote / MARKER).remove()
    assert not remote.is_complete()
    with pytest.raises(FileNotFoundError):
        remote.fetch(tmp_path / "copy")


@pytest.mark.parametrize("damage", ["removed", "shortened"])
def test_a_damaged_folder_is_not_fetched(damage: str, remote: StoragePath, folder: Path, tmp_path: Path) -> None:
    remote.upload(folder)
    file = remote / "model.safetensors"
    file.remove() if damage == "removed" else file.write(b"half")
    with pytest.raises(FileNotFoundError):
        remote.fetch(tmp_path / "copy")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]


def test_a_killed_upload_leaves_no_complete_folder(remote: StoragePath, tmp_path: Path) -> None:
    folder = made(tmp_path / "source", {f"part-{k}": os.urandom(8_000_000) for k in range(6)})
    program = "import sys, pathlib, hcvae.storage as s; s.StoragePath.of(sys.argv[1]).upload(pathlib.Path(sys.argv[2]))"
    writer = subprocess.Popen([sys.executable, "-c", program, str(remote), str(folder)])
    deadline = time.monotonic() + 60
    while not remote.listdir():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert MARKER not in remote.listdir()
    assert not remote.is_complete()
    remote.upload(folder)
    remote.fetch(tmp_path / "copy")
    assert content(tmp_path / "copy") == content(folder)


def test_the_text_of_a_path_parses_to_the_same_path(tmp_path: Path) -> None:
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
        StoragePath.of("nowhere://x").listdir()


def test_a_missing_bundle_is_reported(remote: StoragePath) -> None:
    with pytest.raises(UserError, match="cannot read a complete model bundle"):
        hcvae.load(str(remote))


@pytest.mark.parametrize(
    "names", [{"../outside": 4}, {"/outside": 4}, {"a/../../outside": 4}, {"": 4}, {"README.md": "4"}, ["README.md"]]
)
def test_a_marker_that_names_files_elsewhere_is_refused(
    remote: StoragePath, folder: Path, tmp_path: Path, names: object
) -> None:
    remote.upload(folder)
    (remote / MARKER).write(json.dumps(names).encode())
    with pytest.raises(UserError, match="must list files"):
        hcvae.load(str(remote))
    with pytest.raises(UserError, match="must list files"):
        remote.move(StoragePath.of(f"{remote}-moved"))


def test_a_deeply_nested_marker_is_refused(remote: StoragePath, folder: Path, tmp_path: Path) -> None:
    remote.upload(folder)
    (remote / MARKER).write(b"[" * 10**5)
    with pytest.raises(UserError, match="hcvae did not write this folder"):
        remote.fetch(tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
