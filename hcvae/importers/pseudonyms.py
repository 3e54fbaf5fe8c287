"""Pseudonyms of subjects: the same with the same key, and irreversible without it.

HMAC-SHA-256 (RFC 2104) of the identity under a random key of 256 bits, cut to 60 bits: two of a million subjects share
one with a probability of 4e-7.
"""

import base64
import hashlib
import hmac
import os
import secrets
import unicodedata
from pathlib import Path

from hcvae.atomic import atomic_write
from hcvae.errors import UserError
from hcvae.outputs import check_writable

KEY_BYTES = 32
LENGTH = 12  # characters of 5 bits
OF_USER = Path("hcvae", "pseudonyms.key")


def default_key_file() -> Path:
    """Return the user's key file: `hcvae/pseudonyms.key` in the configuration folder (XDG base directories).

    Raises:
        UserError: the user has no home folder.
    """
    try:
        return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / OF_USER
    except RuntimeError as error:
        raise UserError(f"no home folder for the key of the pseudonyms ({error}); name a file with --key") from error


def key_in(path: Path, *, keep: bool) -> tuple[bytes, bool]:
    """Return the key in a file, or a new key if there is no such file, and whether it is new.

    With `keep`, check first that a new key can be written there.

    Raises:
        UserError: see `read_key`, or a new key cannot be written there.
    """
    try:
        if path.exists():
            return read_key(path), False
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; name a key file that you may read with --key") from error
    try:
        if keep:
            check_writable(path)
    except UserError as error:
        raise UserError(f"{error}; the key of the pseudonyms is kept there: name another file with --key") from error
    return new_key(), True


def new_key() -> bytes:
    """Return a random key."""
    return secrets.token_bytes(KEY_BYTES)


def fingerprint(key: bytes) -> str:
    """Return a short hash that distinguishes keys without revealing them."""
    return hashlib.sha256(b"hcvae pseudonyms" + key).hexdigest()[:12]


def read_key(path: Path) -> bytes:
    """Read the key in a file.

    Raises:
        UserError: it cannot be read, other users may read it, or it holds no key.
    """
    try:
        is_open = bool(path.stat().st_mode & 0o077)
        key = bytes.fromhex(path.read_text("ascii").strip())
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; name the key file of your pseudonyms") from error
    except ValueError as error:
        raise UserError(f"{path}: must hold {2 * KEY_BYTES} hexadecimal digits, but holds something else") from error
    if is_open:
        raise UserError(f"{path}: a key file must be readable by you alone, but others may read it; chmod 600 it")
    if len(key) != KEY_BYTES:
        raise UserError(f"{path}: must hold {2 * KEY_BYTES} hexadecimal digits, but got {2 * len(key)}")
    return key


def write_key(key: bytes, path: Path) -> None:
    """Write a new key to a file that only its owner can read.

    Raises:
        UserError: the file cannot be written.
    """
    with atomic_write(path) as temporary:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(0o600)
        temporary.write_text(key.hex() + "\n", "ascii")


def pseudonym(identity: str, key: bytes) -> str:
    """Return the pseudonym of an identity, ignoring case, character width and surrounding spaces."""
    normal = unicodedata.normalize("NFKC", identity).strip().casefold()
    digest = hmac.new(key, normal.encode(), hashlib.sha256).digest()
    return "s" + base64.b32encode(digest).decode("ascii")[:LENGTH].lower()
