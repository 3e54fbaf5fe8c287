"""Checks of this machine and of the environment variables of Ray, before it starts.

Ray itself waits for minutes for a missing cluster, and its errors name no environment variable (Ray 2.60).
"""

import logging
import os
import secrets
import socket
import tempfile
from pathlib import Path

from hcvae.errors import UserError

CONNECT_S = 5
MAX_SOCKET_LENGTH = 107
"""Limit in bytes of a socket's path on Linux."""
SOCKET = "session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store"
"""The longest path of a socket in Ray's folder."""
REMEDY = (
    "name the head of a running cluster as HOST:PORT (the port of `ray start --head`, by default 6379), "
    "or unset RAY_ADDRESS to run on this machine alone"
)

logger = logging.getLogger("hcvae")


def cluster_address() -> str | None:
    """Return RAY_ADDRESS, after checking that something listens there; None for a Ray on this machine alone.

    Raises:
        UserError: it names no head of a cluster that can be reached.
    """
    address = os.environ.get("RAY_ADDRESS", "")
    if address in ("", "local"):
        return None
    if address == "auto":
        return address
    if "://" in address:
        raise UserError(f"RAY_ADDRESS: must be HOST:PORT, but got {address!r}{_kind(address)}; {REMEDY}")
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise UserError(f"RAY_ADDRESS: must be HOST:PORT, but got {address!r}; {REMEDY}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()
    except (OSError, UnicodeError) as error:
        raise UserError(f"RAY_ADDRESS: no Ray cluster answers at {address!r} ({error}); {REMEDY}") from error
    return address


def check_head(address: str) -> None:
    """Check that the head of a Ray cluster answers at `address`, and accepts our token; "auto" is left to Ray.

    Raises:
        UserError: something else answers, or the head refuses us.
    """
    if address == "auto":
        return
    import grpc

    from tune.internals.ray_internals import check_alive

    try:
        check_alive(address, CONNECT_S)
    except grpc.RpcError as error:
        if error.code() == grpc.StatusCode.UNAUTHENTICATED:
            raise UserError(
                f"RAY_AUTH_TOKEN: the cluster at RAY_ADDRESS={address} refuses the token, or needs one; set "
                "RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to a file that holds the cluster's token"
            ) from error
        raise UserError(
            f"RAY_ADDRESS: what listens at {address!r} is not the head of a Ray cluster ({error.code().name}); {REMEDY}"
        ) from error


def local_folder() -> str | None:
    """Return the folder for the sockets and logs of a Ray on this machine alone; None for Ray's default.

    Raises:
        UserError: no folder can be used.
    """
    default = Path("/tmp/ray")
    place = str(default)
    for variable in ("RAY_TMPDIR", "TMPDIR"):
        if variable in os.environ:
            default = Path(os.environ[variable], "ray")
            place = f"{variable}={os.environ[variable]}"
            break
    fault = _fault(default)
    if fault is None:
        return None
    other = Path("/tmp", f"ray-{os.getuid()}")
    if _fault(other) or other.lstat().st_uid != os.getuid():
        raise UserError(
            f"{place}: Ray cannot work there, {fault}, nor in {other}; "
            "set RAY_TMPDIR to a folder of yours with a short path on a local disk"
        )
    logger.warning("%s: Ray cannot work there, %s; it works in %s instead", place, fault, other)
    return str(other)


def needed_token() -> dict[str, str]:
    """Return a token as an environment variable if Ray cannot keep one in the home folder; nothing where it can."""
    if not {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"}.isdisjoint(os.environ):
        return {}
    try:
        folder = Path.home() / ".ray"
        folder.mkdir(exist_ok=True)
        if not (folder / "auth_token").is_file():
            tempfile.TemporaryFile(dir=folder).close()
    except (OSError, RuntimeError):  # RuntimeError: the user has no home
        return {"RAY_AUTH_TOKEN": secrets.token_hex(32)}
    return {}


def _kind(address: str) -> str:
    if address.startswith("ray://"):
        return ", an address for Ray Client, which the search cannot use"
    if address.startswith("http"):
        return ", the dashboard's, which is for RAY_API_SERVER_ADDRESS"
    return ""


def _fault(folder: Path) -> str | None:
    spare = MAX_SOCKET_LENGTH - len(os.fsencode(folder / SOCKET))
    if spare < 0:
        return f"as its path is {-spare} characters too long for the names of Ray's sockets"
    if not folder.is_absolute():
        return "as its path is not absolute"
    try:
        folder.mkdir(exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        return f"as it cannot write to {folder} ({error.strerror})"
    return None
