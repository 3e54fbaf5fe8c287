"""Folders on this machine or in an object store: on any file system that pyarrow supports.

On a disk, a folder is written under a temporary name and renamed. An object store cannot rename a folder: there a
marker file, written last, lists the files of a complete folder. Readers ignore a folder without it.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from pathlib import Path, PurePosixPath
from typing import IO

import pyarrow as pa
import pyarrow.fs
from pydantic import TypeAdapter, ValidationError

from hcvae.atomic import new_folder, renamed_file, temporary_path
from hcvae.errors import UserError
from hcvae.locations import absolute, is_uri
from hcvae.validation import shortened

MARKER = ".complete.json"
"""Written last into a folder of an object store: the size of each file, by its path in the folder."""
MAX_MARKER_BYTES = 2**20
"""A larger marker is not read to its end; our folders have about ten files."""
COPY_BYTES = 2**22
"""Block size of a download."""


@dataclass(frozen=True)
class StoragePath:
    """The location of a file or folder, which need not exist."""

    root: str
    """An absolute path, or a URI such as s3://bucket/studies?region=eu-central-1."""
    inside: str = ""
    """Path below a URI; empty where `root` is a path."""

    @classmethod
    def of(cls, where: "str | Path | StoragePath") -> "StoragePath":
        """Parse a path or URI. No file system is accessed.

        >>> study = StoragePath.of("s3://bucket/studies?region=eu-central-1") / "one"
        >>> str(study), study.name, study.is_local
        ('s3://bucket/studies/one?region=eu-central-1', 'one', False)

        Raises:
            UserError: a URI holds a secret; the message does not repeat it.
        """
        if isinstance(where, StoragePath):
            return where
        return cls(absolute(where))

    @property
    def is_local(self) -> bool:
        """Whether this is a path on this machine, not a URI."""
        return not is_uri(self.root)

    @property
    def path(self) -> Path:
        """The local path.

        Raises:
            ValueError: it is in an object store.
        """
        if not self.is_local:
            raise ValueError(f"{self}: is not a path on this machine")
        return Path(self.root)

    @property
    def name(self) -> str:
        """The last component of the path."""
        return str(self).partition("?")[0].rstrip("/").rpartition("/")[2]

    @property
    def file_system(self) -> pa.fs.FileSystem:
        """The pyarrow file system.

        Raises:
            UserError: pyarrow supports no such URI.
            OSError: the object store does not answer.
        """
        return _connect(self.root)[0]

    @property
    def key(self) -> str:
        """The path within `file_system`."""
        return _joined(_connect(self.root)[1], self.inside)

    def __str__(self) -> str:
        if self.is_local:
            return self.root
        address, question, options = self.root.partition("?")
        return _joined(address.rstrip("/"), self.inside) + question + options

    def __fspath__(self) -> str:
        return str(self.path)

    def __truediv__(self, name: str) -> "StoragePath":
        if self.is_local:
            return StoragePath(str(self.path / name))
        return StoragePath(self.root, _joined(self.inside, name))

    def is_file(self) -> bool:
        """Whether a file exists here."""
        return bool(self.file_system.get_file_info(self.key).type == pa.fs.FileType.File)

    def is_complete(self) -> bool:
        """Whether a complete folder exists here."""
        if self.is_local:
            return self.path.is_dir()
        return (self / MARKER).is_file()

    def is_same(self, other: "StoragePath") -> bool:
        """Whether both are the same file or folder, for example through a link."""
        if self.is_local and other.is_local and self.path.exists() and other.path.exists():
            return self.path.samefile(other.path)
        return self == other

    def listdir(self) -> list[str]:
        """Return the sorted names of the entries of this folder; empty if there is no folder."""
        selector = pa.fs.FileSelector(self.key, allow_not_found=True)
        names = map(attrgetter("base_name"), self.file_system.get_file_info(selector))
        return sorted(filter(None, names))

    def open(self) -> IO[bytes]:
        """Open this file for reading.

        Raises:
            FileNotFoundError: the file does not exist.
        """
        stream: IO[bytes] = self.file_system.open_input_stream(self.key)
        return stream

    def read_text(self) -> str:
        """Return the content of this file.

        Raises:
            FileNotFoundError: the file does not exist.
        """
        with self.open() as stream:
            return stream.read().decode()

    def write(self, content: bytes) -> None:
        """Write this file atomically, and make the folders above it."""
        if not self.is_local:
            with self.file_system.open_output_stream(self.key) as stream:
                stream.write(content)
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with renamed_file(self.path) as temporary:
            temporary.write_bytes(content)

    def upload(self, folder: Path) -> None:
        """Replace what is here by a copy of the local `folder`, complete or not at all."""
        self.remove()
        if self.is_local:
            _copy_folder(folder, self.path)
            return
        pa.fs.copy_files(str(folder), self.key, destination_filesystem=self.file_system)
        self._write_marker()

    def fetch(self, target: Path) -> None:
        """Copy this folder to the local folder `target`, which must not exist yet, complete or not at all.

        Raises:
            FileNotFoundError: there is no complete folder here, or it was removed meanwhile.
            UserError: the marker names files outside the folder.
        """
        if self.is_local:
            _copy_folder(self.path, target)
            return
        sizes = self._read_marker()
        with new_folder(target) as temporary:
            for name in sizes:
                self._download(name, temporary / name)
            for name, size in sizes.items():
                if (temporary / name).stat().st_size != size:
                    raise FileNotFoundError(f"{self}: its files changed while they were read")

    @contextmanager
    def fetched(self) -> Iterator[Path]:
        """Yield this folder as a local one: itself, or a temporary copy.

        Raises:
            FileNotFoundError: see `fetch`.
        """
        if self.is_local:
            yield self.path
            return
        with tempfile.TemporaryDirectory() as temporary:
            self.fetch(Path(temporary) / self.name)
            yield Path(temporary) / self.name

    def move(self, target: "StoragePath") -> None:
        """Move this folder to `target`, which must not exist, in the same file system, complete or not at all."""
        if self.is_local:
            target.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.rename(target.path)
            return
        for name in self._read_marker():
            self.file_system.copy_file((self / name).key, (target / name).key)
        target._write_marker()
        self.remove()

    def remove(self) -> None:
        """Remove the file or folder that is here, if any; a folder is hidden from readers first."""
        if not self.is_local:
            self._remove_object()
        elif self.path.is_dir():
            hidden = self.path.rename(temporary_path(self.path))
            shutil.rmtree(hidden)
        else:
            self.path.unlink(missing_ok=True)

    def _remove_object(self) -> None:
        if self.is_file():
            with suppress(FileNotFoundError):
                self.file_system.delete_file(self.key)
            return
        with suppress(FileNotFoundError):
            self.file_system.delete_file((self / MARKER).key)
        with suppress(FileNotFoundError):
            self.file_system.delete_dir(self.key)

    def _download(self, name: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        with (self / name).open() as source, target.open("wb") as copy:
            shutil.copyfileobj(source, copy, COPY_BYTES)

    def _read_marker(self) -> dict[str, int]:
        """Return the size of each file by its path in this folder, checked: anybody may have written the marker."""
        marker = self / MARKER
        with marker.open() as stream:
            content = stream.read(MAX_MARKER_BYTES)
        try:
            sizes = TypeAdapter(dict[str, int]).validate_json(content, strict=True)
        except ValidationError as error:
            raise UserError(f"{marker}: must list files with their sizes; hcvae did not write this folder") from error
        for name in sizes:
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name:
                raise UserError(f"{marker}: lists {shortened(repr(name))}, but must list files in its folder")
        return sizes

    def _write_marker(self) -> None:
        sizes: dict[str, int] = {}
        for info in self.file_system.get_file_info(pa.fs.FileSelector(self.key, recursive=True)):
            if info.type == pa.fs.FileType.File:
                sizes[info.path[len(self.key) + 1 :]] = info.size
        (self / MARKER).write(json.dumps(sizes).encode())


def _joined(*parts: str) -> str:
    return "/".join(filter(None, parts))


@lru_cache
def _connect(root: str) -> tuple[pa.fs.FileSystem, str]:
    if not is_uri(root):
        return pa.fs.LocalFileSystem(), root
    try:
        file_system, path = pa.fs.FileSystem.from_uri(root)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise UserError(f"{root}: {error}; name a folder, or a URI such as s3://bucket/folder") from None
    return file_system, path.rstrip("/")


def _copy_folder(source: Path, target: Path) -> None:
    with new_folder(target) as temporary:
        files = [path for path in source.rglob("*") if path.is_file()]
        for path in files:
            copy = temporary / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        source.stat()  # it raises if the folder was removed meanwhile, of which rglob lists only a part
