"""Folders on this machine or in an object store: on any file system that pyarrow knows.

On a disk a folder becomes whole by a rename. An object store cannot rename one: there a marker, written last, says that
it is whole and which files it has. A folder without it is not there for a reader.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import IO

import pyarrow as pa
import pyarrow.fs
from pydantic import TypeAdapter, ValidationError

from hcvae.errors import UserError
from hcvae.validation import SECRET_ADVICE, shortened, shows_secret

MARKER = ".complete.json"
"""Written last into a folder of an object store; it holds the size of each file, by its path in the folder."""
MAX_MARKER_BYTES = 2**20
"""Of a marker; a folder of ours has ten files."""


@dataclass(frozen=True)
class StoragePath:
    """A file or a folder; nothing says whether it exists."""

    root: str
    """An absolute path, or a URI such as s3://bucket/studies?region=eu-central-1."""
    inside: str = ""
    """Path below a URI; empty where `root` is a path."""

    @classmethod
    def of(cls, where: "str | Path | StoragePath") -> "StoragePath":
        """The place that a path or URI names. Nothing is asked of a file system.

        >>> study = StoragePath.of("s3://bucket/studies?region=eu-central-1") / "one"
        >>> str(study), study.name, study.is_local
        ('s3://bucket/studies/one?region=eu-central-1', 'one', False)

        Raises:
            UserError: a URI holds a secret; it is not repeated.
        """
        if isinstance(where, StoragePath):
            return where
        if not is_uri(where):
            return cls(str(Path(os.path.expanduser(where)).absolute()))  # unlike Path's it accepts an unknown ~user
        if shows_secret(str(where)):
            raise UserError(f"{str(where).partition('://')[0]}://...: {SECRET_ADVICE}")
        return cls(str(where))

    @property
    def is_local(self) -> bool:
        """Whether it lies on a disk that this machine sees as its own."""
        return not is_uri(self.root)

    @property
    def path(self) -> Path:
        """As a path of this machine.

        Raises:
            ValueError: it lies in an object store.
        """
        if not self.is_local:
            raise ValueError(f"{self}: is no path of this machine")
        return Path(self.root)

    @property
    def name(self) -> str:
        """The last part of its path."""
        return str(self).partition("?")[0].rstrip("/").rpartition("/")[2]

    @property
    def file_system(self) -> pa.fs.FileSystem:
        """The file system that it lies in.

        Raises:
            UserError: pyarrow knows none for such a URI.
            OSError: an object store does not answer.
        """
        return _connect(self.root)[0]

    @property
    def key(self) -> str:
        """Its path in `file_system`."""
        return "/".join(filter(None, (_connect(self.root)[1], self.inside)))

    def __str__(self) -> str:
        address, question, options = self.root.partition("?") if not self.is_local else (self.root, "", "")
        return "/".join(filter(None, (address.rstrip("/"), self.inside))) + question + options

    def __fspath__(self) -> str:
        return str(self.path)

    def __truediv__(self, name: str) -> "StoragePath":
        if self.is_local:
            return StoragePath(str(self.path / name))
        return StoragePath(self.root, "/".join(filter(None, (self.inside, name))))

    def is_file(self) -> bool:
        """Whether a file is here."""
        return bool(self.file_system.get_file_info(self.key).type == pa.fs.FileType.File)

    def is_complete(self) -> bool:
        """Whether a folder is here, complete."""
        return self.path.is_dir() if self.is_local else (self / MARKER).is_file()

    def is_same(self, other: "StoragePath") -> bool:
        """Whether both are one file or folder, perhaps in two spellings, such as through a link."""
        if self.is_local and other.is_local and self.path.exists() and other.path.exists():
            return self.path.samefile(other.path)
        return self == other

    def listdir(self) -> list[str]:
        """Names of what lies in this folder, sorted; none where there is no folder."""
        selector = pa.fs.FileSelector(self.key, allow_not_found=True)
        return sorted(info.base_name for info in self.file_system.get_file_info(selector) if info.base_name)

    def open(self) -> IO[bytes]:
        """This file, to be read from its beginning.

        Raises:
            FileNotFoundError: there is none.
        """
        stream: IO[bytes] = self.file_system.open_input_stream(self.key)
        return stream

    def read_text(self) -> str:
        """The content of this file.

        Raises:
            FileNotFoundError: there is none.
        """
        with self.open() as stream:
            return stream.read().decode()

    def write(self, content: bytes) -> None:
        """Write this file: a reader sees the old one or the new one. Folders above it are made."""
        if not self.is_local:
            with self.file_system.open_output_stream(self.key) as stream:
                stream.write(content)
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _temporary(self.path)
        temporary.write_bytes(content)
        os.replace(temporary, self.path)

    def upload(self, folder: Path) -> None:
        """Copy a local folder here, in place of what is here: whole, or not there."""
        self.remove()
        if self.is_local:
            _copied(folder, self.path)
            return
        pa.fs.copy_files(str(folder), self.key, destination_filesystem=self.file_system)
        self._mark()

    def fetch(self, target: Path) -> None:
        """Copy this folder to the local folder `target`, which must not exist yet: whole, or not there.

        Raises:
            FileNotFoundError: there is no whole folder here, or it was removed meanwhile.
            UserError: its marker names files elsewhere.
        """
        if self.is_local:
            _copied(self.path, target)
            return
        files = self._marked()
        temporary = _temporary(target)
        try:
            for name in files:
                (temporary / name).parent.mkdir(parents=True, exist_ok=True)
                with (self / name).open() as source, (temporary / name).open("wb") as copy:
                    shutil.copyfileobj(source, copy, 2**22)
            if {name: (temporary / name).stat().st_size for name in files} != files:
                raise FileNotFoundError(f"{self}: files have changed while they were read")
            temporary.rename(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    @contextmanager
    def fetched(self) -> Iterator[Path]:
        """This folder as a local one: itself, or a copy for the time being.

        Raises:
            FileNotFoundError: as `fetch`.
        """
        if self.is_local:
            yield self.path
            return
        with tempfile.TemporaryDirectory() as temporary:
            self.fetch(Path(temporary) / self.name)
            yield Path(temporary) / self.name

    def move(self, target: "StoragePath") -> None:
        """Move this folder to `target`, of the same file system, where nothing is: whole, or not there."""
        if self.is_local:
            target.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.rename(target.path)
            return
        for name in self._marked():
            self.file_system.copy_file((self / name).key, (target / name).key)
        target._mark()
        self.remove()

    def remove(self) -> None:
        """Remove the file or folder that is here; first of all it is no longer seen."""
        if not self.is_local:
            delete_file, delete_folder = self.file_system.delete_file, self.file_system.delete_dir
            steps = [(delete_file, self)] if self.is_file() else [(delete_file, self / MARKER), (delete_folder, self)]
            for delete, place in steps:
                with suppress(FileNotFoundError):
                    delete(place.key)
        elif self.path.is_dir():
            hidden = self.path.rename(_temporary(self.path))
            shutil.rmtree(hidden)
        else:
            self.path.unlink(missing_ok=True)

    def _marked(self) -> dict[str, int]:
        """The size of each file of this folder by its path in it, from the marker, which anybody may have written."""
        marker = self / MARKER
        with marker.open() as stream:
            content = stream.read(MAX_MARKER_BYTES)
        try:
            files = TypeAdapter(dict[str, int]).validate_json(content, strict=True)
        except ValidationError as error:
            raise UserError(f"{marker}: must name files with their sizes; this folder is none of ours") from error
        for name in files:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name:
                raise UserError(f"{marker}: names {shortened(repr(name))}, but must name files in its folder")
        return files

    def _mark(self) -> None:
        found = self.file_system.get_file_info(pa.fs.FileSelector(self.key, recursive=True))
        files = {info.path[len(self.key) + 1 :]: info.size for info in found if info.type == pa.fs.FileType.File}
        (self / MARKER).write(json.dumps(files).encode())


def is_uri(where: object) -> bool:
    """Whether `where` names another file system than this machine's."""
    return "://" in str(where)


@lru_cache
def _connect(root: str) -> tuple[pa.fs.FileSystem, str]:
    if not is_uri(root):
        return pa.fs.LocalFileSystem(), root
    try:
        file_system, path = pa.fs.FileSystem.from_uri(root)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise UserError(f"{root}: {error}; name a folder, or a URI such as s3://bucket/folder") from None
    return file_system, path.rstrip("/")


def _copied(source: Path, target: Path) -> None:
    temporary = _temporary(target)
    try:
        temporary.mkdir()
        for name in [path.relative_to(source) for path in source.rglob("*") if path.is_file()]:
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, temporary / name)
        source.stat()  # its names were read one by one: of a folder that is removed meanwhile, some
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _temporary(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")
