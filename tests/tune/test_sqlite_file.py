"""A study.db that is damaged or missing: one message that names it, exit code 2, and nothing is touched."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import ModuleType

import pytest

from hcvae.errors import UserError
from jobs import dashboard, pull, report, search, train
from jobs.arguments import main
from tune.config import SearchConfig
from tune.report.results import SearchResult
from tune.study.lock import locked_folder
from tune.study.opening import open_study

Damage = Callable[[Path], None]
TRIALS = 30


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study, with trials but without models."""
    config = config_of(tmp_path_factory.mktemp("whole"))
    with locked_folder(config) as folder:
        study = open_study(folder, config, "data")
        for _ in range(TRIALS):
            trial = study.ask()
            trial.set_user_attr("history", [{"epoch": epoch, "seconds": 0.1} for epoch in range(50)])
            study.tell(trial, (0.5, 0.1))
    return folder.path


@pytest.fixture
def study(whole: Path, tmp_path: Path) -> Path:
    """A copy of `whole`."""
    return shutil.copytree(whole, tmp_path / "storage" / "small")


def config_of(storage: Path) -> SearchConfig:
    return SearchConfig.model_validate({"search": {"study": "small", "storage": str(storage)}})


def files_of(study: Path) -> dict[str, bytes | None]:
    return {file.name: file.read_bytes() if file.is_file() else None for file in study.iterdir()}


def garbage(file: Path) -> None:
    file.write_bytes(os.urandom(20_000))


def truncated(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def a_page_overwritten(file: Path) -> None:
    content = bytearray(file.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4096] = b"\xa5" * 4096
    file.write_bytes(content)


def zero_bytes(file: Path) -> None:
    file.write_bytes(b"")


def a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def missing(file: Path) -> None:
    file.unlink()


def only_its_journal(file: Path) -> None:
    file.rename(f"{file}-journal")


def of_another_program(file: Path) -> None:
    file.unlink()
    changed(file, "CREATE TABLE cookies (name)")


def of_an_older_optuna(file: Path) -> None:
    changed(file, "UPDATE alembic_version SET version_num = 'v3.0.0.d'")


def of_a_newer_optuna(file: Path) -> None:
    changed(file, "UPDATE alembic_version SET version_num = 'v99.0.0.a'")


def changed(file: Path, statement: str) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(statement)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (garbage, "damaged: file is not a database; restore it from a backup"),
        (truncated, "damaged: .*; restore it from a backup"),
        (a_page_overwritten, "damaged: .*; restore it from a backup"),
        (zero_bytes, "damaged: it is empty; restore it from a backup"),
        (a_folder, "must be a file"),
        (missing, "missing, .*; restore it from a backup.*best"),
        (only_its_journal, "missing, .*; restore it from a backup"),
        (of_another_program, "holds no study of Optuna; restore it"),
        (of_an_older_optuna, "made by another version of Optuna; .*`optuna storage upgrade --storage sqlite:///"),
        (of_a_newer_optuna, "made by another version of Optuna; .*`pip install -U optuna`"),
    ],
)
def test_a_study_db_that_is_no_database_of_the_study_is_refused_and_left_as_it_is(
    study: Path, damage: Damage, message: str
) -> None:
    damage(study / "study.db")
    before = files_of(study)
    with pytest.raises(UserError, match=f"{study}/study.db: {message}"):
        SearchResult.open(study)
    assert files_of(study) == before
    config = config_of(study.parent)
    with pytest.raises(UserError, match=f"{study}/study.db: {message}"), locked_folder(config) as folder:
        open_study(folder, config, "data")
    assert files_of(study) | {".lock": b""} == before | {".lock": b""}


@pytest.mark.parametrize("damage", [garbage, missing])
@pytest.mark.parametrize(
    ("program", "arguments"),
    [
        (report, ["{study}", "--out={tmp}/report.html"]),
        (pull, ["{study}", "--out={tmp}/model"]),
        (dashboard, ["{study}"]),
        (train, ["--study={study}", "--trial=0", "--out={tmp}/again"]),
        (search, ["--search.study=small", "--search.storage={study}/.."]),
    ],
)
def test_every_program_gives_one_message(
    study: Path,
    tmp_path: Path,
    damage: Damage,
    program: ModuleType,
    arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage(study / "study.db")
    given = [argument.format(study=study, tmp=tmp_path) for argument in arguments]
    monkeypatch.setattr(sys, "argv", ["program", *given])
    assert main(program.run) == 2
    *begun, line = capsys.readouterr().err.splitlines()
    assert len(begun) <= 1  # what the program began with
    assert not [other for other in begun if "rror" in other]
    assert line.startswith("error: ")
    assert "study.db: " in line
    assert [file.name for file in tmp_path.iterdir()] == ["storage"]


def test_what_a_killed_process_left_half_written_is_rolled_back(study: Path) -> None:
    half_written = (
        "import os, signal, sqlite3, sys; connection = sqlite3.connect(sys.argv[1])\n"
        "connection.execute('PRAGMA cache_size = 1')\n"
        "connection.execute('UPDATE trial_user_attributes SET value_json = value_json || value_json')\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", half_written, str(study / "study.db")])
    assert killed.returncode == -signal.SIGKILL
    assert (study / "study.db-journal").stat().st_size > 0
    assert len(SearchResult.open(study).trials) == TRIALS
    assert not (study / "study.db-journal").exists()


def test_a_study_db_that_goes_during_a_search_is_not_made_anew(study: Path) -> None:
    config = config_of(study.parent)
    with locked_folder(config) as folder:
        opened = open_study(folder, config, "data")
        (study / "study.db").unlink()
        opened._storage._backend.engine.dispose()  # type: ignore[attr-defined] # as after any fault of it
        with pytest.raises(Exception, match="unable to open database file"):
            opened._storage._backend.engine.connect()  # type: ignore[attr-defined]
    assert not (study / "study.db").exists()
