import logging
import resource
from collections.abc import Iterator

import pytest

from hcvae import retrying
from hcvae.errors import StorageError
from hcvae.retrying import retry


@pytest.fixture
def no_patience(monkeypatch) -> None:
    monkeypatch.setattr(retrying, "RETRY_FOR_S", 0.2)
    monkeypatch.setattr(retrying, "RETRY_EVERY_S", 0.05)


@pytest.fixture
def full_disk() -> Iterator[None]:
    """The system refuses files of more than 1 kB, and root too: as near to a full disk as a test without root comes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_temporary_failure_is_retried_with_one_warning(no_patience, tmp_path, caplog):
    folder = tmp_path / "later"

    def write() -> str:
        try:
            (folder / "file").write_text("here")
        finally:
            folder.mkdir(exist_ok=True)
        return (folder / "file").read_text()

    assert retry(write, "cannot write it") == "here"
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "cannot write it: [Errno 2]" in record.getMessage()


@pytest.mark.usefixtures("no_patience", "full_disk")
def test_retries_end_with_the_first_cause(tmp_path):
    def write() -> None:
        try:
            (tmp_path / "file").write_bytes(bytes(2000))
        except OSError as error:
            raise OSError("somewhere") from error

    with pytest.raises(
        StorageError, match=r"^cannot write it: \[Errno 27\] File too large; retried for .*the same command continues$"
    ):
        retry(write, "cannot write it")


def test_other_errors_are_not_retried():
    with pytest.raises(ZeroDivisionError):
        retry(lambda: 1 / 0, "nothing")
