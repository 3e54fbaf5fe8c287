"""Pseudonyms: stable under one key, unrelated under another, and published HMAC vectors."""

import base64
import hashlib
import hmac
import stat

import pytest

from hcvae.errors import UserError
from hcvae.importers import pseudonyms


def test_it_is_the_hmac_of_the_identity():
    """RFC 4231, test case 2: key "Jefe", data "what do ya want for nothing?"."""
    published = bytes.fromhex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
    data = "what do ya want for nothing?"
    assert hmac.new(b"Jefe", data.encode(), hashlib.sha256).digest() == published
    assert pseudonyms.pseudonym(data, b"Jefe") == "s" + base64.b32encode(published).decode()[:12].lower()


def test_spelling_does_not_change_pseudonyms_and_keys_do():
    key, other = pseudonyms.new_key(), pseudonyms.new_key()
    assert pseudonyms.pseudonym(" ANN Example", key) == pseudonyms.pseudonym("Ann example ", key)
    assert pseudonyms.pseudonym("Ann", key) != pseudonyms.pseudonym("Ann", other)
    assert pseudonyms.pseudonym("Ann", key) != pseudonyms.pseudonym("Anna", key)


def test_only_the_owner_can_read_a_key_file(tmp_path):
    path, key = tmp_path / "new" / "key", pseudonyms.new_key()
    pseudonyms.write_key(key, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert pseudonyms.read_key(path) == key
    path.chmod(0o644)
    with pytest.raises(UserError, match="chmod 600"):
        pseudonyms.read_key(path)


@pytest.mark.parametrize("content", ["", "secret", "00" * 31])
def test_an_invalid_key_is_refused_without_showing_it(tmp_path, content):
    path = tmp_path / "key"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(UserError, match="64 hexadecimal digits") as error:
        pseudonyms.read_key(path)
    assert "secret" not in str(error.value)
