"""A PostgreSQL server of its own for a measurement or a test: Debian's packages, a temporary folder, loopback only."""

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SETTINGS = "listen_addresses = '127.0.0.1'\nunix_socket_directories = ''\nfsync = off\n"


@dataclass(frozen=True)
class Server:
    """A running server with one user, who needs a password, and one database."""

    folder: Path
    port: int
    password: str

    @property
    def url(self) -> str:
        """Without the password."""
        return f"postgresql://searcher@127.0.0.1:{self.port}/postgres"

    @property
    def secret_url(self) -> str:
        """With the password."""
        return self.url.replace("@", f":{self.password}@")

    @property
    def password_file(self) -> Path:
        """In the form of ~/.pgpass, for PGPASSFILE."""
        return self.folder / "pgpass"

    def control(self, *arguments: str) -> None:
        """Run `pg_ctl` with `arguments`, such as `restart`."""
        log = self.folder / "log"
        _as_postgres("pg_ctl", ["--pgdata", str(self.folder / "data"), "--log", str(log), "--wait", *arguments])


@contextmanager
def postgres_server() -> Iterator[Server]:
    """Start a server, and remove it in the end. For root: the server runs as Debian's user `postgres`."""
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        server = Server(folder, free.getsockname()[1], secrets.token_hex(16))
    try:
        server.password_file.write_text(f"*:*:*:*:{server.password}\n")
        server.password_file.chmod(0o600)
        (folder / "password").write_text(server.password)
        shutil.chown(folder, "postgres")
        shutil.chown(folder / "password", "postgres")
        made = ["--pgdata", str(folder / "data"), "--username=searcher", "--auth=scram-sha-256", "--no-sync"]
        _as_postgres("initdb", [*made, f"--pwfile={folder / 'password'}"])
        with (folder / "data" / "postgresql.conf").open("a") as settings:
            settings.write(f"{SETTINGS}port = {server.port}\n")
        server.control("start")
        try:
            yield server
        finally:
            server.control("stop", "--mode=immediate")
    finally:
        shutil.rmtree(folder)


def _as_postgres(program: str, arguments: Sequence[str]) -> None:
    newest = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    user = pwd.getpwnam("postgres")
    subprocess.run(
        [str(newest / program), *arguments],
        check=True,
        stdout=subprocess.DEVNULL,
        cwd="/",
        user=user.pw_uid,
        group=user.pw_gid,
        extra_groups=[],
        env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
    )
