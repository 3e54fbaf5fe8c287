"""A server of the S3 API for a measurement or a test: moto's, in a process of its own, in memory, loopback only."""

import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pyarrow.fs

BUCKET = "studies"


@dataclass(frozen=True)
class ObjectStore:
    """A running server with one bucket."""

    port: int
    secret_key: str = field(repr=False)

    @property
    def variables(self) -> dict[str, str]:
        """The environment of its users."""
        return {
            "AWS_ACCESS_KEY_ID": "tester",
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def address(self, folder: str) -> str:
        """The URI of a folder in the bucket."""
        return f"s3://{BUCKET}/{folder}?endpoint_override=127.0.0.1:{self.port}&scheme=http&region=us-east-1"


@contextmanager
def object_store() -> Iterator[ObjectStore]:
    """Start a server, and end it in the end."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        store = ObjectStore(free.getsockname()[1], secrets.token_hex(16))
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(store.port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(store.port, server)
        pyarrow.fs.S3FileSystem(
            access_key="tester",
            secret_key=store.secret_key,
            region="us-east-1",
            scheme="http",
            endpoint_override=f"127.0.0.1:{store.port}",
            allow_bucket_creation=True,
        ).create_dir(BUCKET)
        yield store
    finally:
        server.kill()
        server.wait()


def _wait_for(port: int, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
