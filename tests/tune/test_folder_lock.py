"""Locks that the kernel refuses, as on Lustre and NFS under some mount options. See also test_study.py."""

import ctypes
import errno
import fcntl
import os
import platform
import struct
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from hcvae.errors import UserError
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.studies import SmallSearch
from tune.study.lock import locked_folder
from tune.study.opening import open_study

ROOT = Path(__file__).resolve().parents[2]

FLOCK, FCNTL = {"x86_64": (73, 72), "aarch64": (32, 25)}[platform.machine()]
LOAD, JUMP_IF_EQUAL, RETURN, ERRNO, ALLOW = 0x20, 0x15, 0x06, 0x50000, 0x7FFF0000
NUMBER_AT, SECOND_ARGUMENT_AT = 0, 24
NO_NEW_PRIVILEGES, SET_SECCOMP, FILTER = 38, 22, 2

BEGIN = (
    "import sys; from tune.config import SearchConfig; from tune.study.lock import locked_folder\n"
    "from tune.study.opening import open_study; config = SearchConfig.model_validate_json(sys.argv[1])\n"
    "with locked_folder(config) as folder: open_study(folder, config, 'data').ask()"
)


def deny(call: int, error: int, second_argument: int | None = None) -> None:
    """Let the kernel answer a system call of this process and its children with `error`, see seccomp(2)."""
    checks = [(LOAD, NUMBER_AT), (JUMP_IF_EQUAL, call)]
    if second_argument is not None:
        checks += [(LOAD, SECOND_ARGUMENT_AT), (JUMP_IF_EQUAL, second_argument)]
    code = [*checks, (RETURN, ERRNO | error), (RETURN, ALLOW)]
    allow = len(code) - 1
    program = b"".join(
        struct.pack("HBBI", kind, 0, allow - at - 1 if kind == JUMP_IF_EQUAL else 0, value)
        for at, (kind, value) in enumerate(code)
    )
    content = ctypes.create_string_buffer(program)
    libc, filters = ctypes.CDLL(None), struct.pack("HxxxxxxQ", len(code), ctypes.addressof(content))
    assert libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0
    assert libc.prctl(SET_SECCOMP, FILTER, ctypes.c_char_p(filters), 0, 0) == 0


@pytest.mark.parametrize(
    ("call", "error", "second_argument"),
    [
        (FLOCK, errno.ENOLCK, None),
        (FLOCK, errno.EOPNOTSUPP, None),
        (FCNTL, errno.ENOSYS, fcntl.F_SETLK),  # sqlite's locks alone
    ],
)
def test_sqlite_without_locks_is_refused_and_nothing_is_left(
    tmp_path: Path, call: int, error: int, second_argument: int | None
) -> None:
    storage = tmp_path / "a" / "b"
    command = [sys.executable, "-m", "jobs.search", "--search.storage", str(storage), "--dry-run"]
    refused = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, preexec_fn=partial(deny, call, error, second_argument)
    )
    assert refused.returncode == 2
    begun, message = refused.stderr.splitlines()
    assert begun.endswith("reading the data")
    assert message.startswith(f"error: search.storage: the file system of {storage / 'quickstart'} has no file locks")
    assert f"({os.strerror(error)})" in message
    assert "search.database postgresql://" in message
    assert not (tmp_path / "a").exists()


def test_a_study_is_left_alone_where_it_cannot_be_locked(small_search: SmallSearch, tmp_path: Path) -> None:
    config = small_search()
    with locked_folder(config) as folder:
        open_study(folder, config, "data").ask()
    before = {file.name: file.read_bytes() for file in (tmp_path / "small").iterdir()}
    command = [sys.executable, "-c", BEGIN, config.model_dump_json()]
    refused = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, preexec_fn=partial(deny, FLOCK, errno.ENOLCK)
    )
    assert "UserError: search.storage: the file system of" in refused.stderr
    assert {file.name: file.read_bytes() for file in (tmp_path / "small").iterdir()} == before


@pytest.mark.services
def test_postgresql_needs_no_lock_of_the_folder(
    small_search: SmallSearch, tmp_path: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSFILE", str(postgres.password_file))
    config = small_search(study="unlocked", database=postgres.url)
    command = [sys.executable, "-c", BEGIN, config.model_dump_json()]
    begun = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, preexec_fn=partial(deny, FLOCK, errno.ENOLCK)
    )
    assert begun.returncode == 0
    [line] = begun.stderr.splitlines()
    assert line == (
        f"{tmp_path / 'unlocked'}: its file system has no file locks (No locks available); "
        "PostgreSQL keeps the processes of this search apart"
    )
    assert (tmp_path / "unlocked" / "study.json").is_file()


@pytest.mark.parametrize("content", [b"", b"not a database"])
def test_a_database_that_was_there_before_is_not_removed(
    small_search: SmallSearch, tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "small" / "study.db"
    file.parent.mkdir()
    file.write_bytes(content)
    with pytest.raises((UserError, ZeroDivisionError)), locked_folder(small_search()):
        raise ZeroDivisionError
    assert file.read_bytes() == content
