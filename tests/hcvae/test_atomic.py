"""Atomic writes of files and folders."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from hcvae.atomic import atomic_folder, atomic_write, new_folder, write_json
from hcvae.errors import UserError

FolderWriter = Callable[[Path], AbstractContextManager[Path]]


def test_a_failed_write_leaves_the_old_file_and_no_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail() -> None:
        with atomic_write(path) as temporary:
            temporary.write_text("new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_written_file_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text("old")
    write_json({"a": 1}, path)
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="missing/file: cannot be written"):
        write_json({}, tmp_path / "missing" / "file")


@pytest.mark.parametrize("make", [atomic_folder, new_folder])
def test_a_folder_whose_writing_failed_is_removed(make: FolderWriter, tmp_path: Path) -> None:
    def fail() -> None:
        with make(tmp_path / "folder") as temporary:
            (temporary / "file").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_replaces_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    for content in ("old", "new"):
        with atomic_folder(target) as temporary:
            (temporary / content).touch()
    assert [path.name for path in target.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [target]
