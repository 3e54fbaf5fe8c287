import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from pydantic import ValidationError
from sqlalchemy.exc import OperationalError

from hcvae.errors import UserError
from jobs import search
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.studies import SmallSearch
from tune.report.results import SearchResult
from tune.study.database import Database, retry
from tune.study.lock import locked_folder
from tune.study.opening import open_study

SECRET = "s3cr3t/with@signs"


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://me:{SECRET}@localhost/studies",
        f"postgresql://me:@localhost/{SECRET}",
        f"postgresql+psycopg2://me:{SECRET}@localhost/studies",
        f"postgresql:///studies?host=/run&password={SECRET}",
        f"postgresql://localhost/studies?sslpassword={SECRET}",
        f"mysql://me:{SECRET}@localhost/studies",
        f"localhost/{SECRET}",
    ],
)
def test_what_shows_a_password_or_is_no_database_is_refused_and_not_repeated(
    url: str, small_search: SmallSearch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"search": {"database": url}}))
    for arguments in (["--search.database", url], ["--config", str(config)]):
        with pytest.raises(UserError, match=r"search\.database: .*PGPASSFILE.*env:NAME") as refused:
            search.run([*arguments, "--dry-run"])
        assert SECRET not in str(refused.value)
    with pytest.raises(ValidationError) as invalid:
        small_search(database=url)
    assert SECRET not in str(invalid.value)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("place", ["env:HCVAE_TEST_URL", "file:{tmp}/url"])
def test_a_url_with_a_password_is_read_from_where_it_is_kept(
    place: str, small_search: SmallSearch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "postgresql://me:s3cr3t%2Fsigns@localhost:1234/studies"
    monkeypatch.setenv("HCVAE_TEST_URL", url)
    (tmp_path / "url").write_text(url + "\n")
    database = Database.of(small_search(database=place.format(tmp=tmp_path)).search, tmp_path)
    assert database.url == "postgresql+psycopg://me@localhost:1234/studies"
    assert database.password == "s3cr3t/signs"
    assert "s3cr3t" not in repr(database)
    assert database.shared


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        (SECRET, "holds no URL"),
        (f"mysql://me:{SECRET}@localhost/x", "must hold postgresql://"),
        (f"postgresql:///x?password={SECRET}", "must hold postgresql://"),
    ],
)
def test_a_place_that_holds_no_url_is_refused_without_what_it_holds(
    content: str | None, message: str, small_search: SmallSearch, tmp_path: Path
) -> None:
    if content:
        (tmp_path / "url").write_text(content)
    settings = small_search(database=f"file:{tmp_path / 'url'}").search
    with pytest.raises(UserError, match=rf"search\.database: 'file:.*/url' {message}") as refused:
        Database.of(settings, tmp_path)
    assert SECRET not in str(refused.value)


def test_a_server_that_does_not_answer_is_refused_before_anything_is_made(
    small_search: SmallSearch, tmp_path: Path
) -> None:
    config = small_search(database="postgresql://me@127.0.0.1:1/studies", storage=str(tmp_path / "new"))
    with pytest.raises(UserError, match=r"search\.database: cannot connect: .*refused"), locked_folder(config):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_database_that_comes_back_is_asked_again() -> None:
    answers = iter([OperationalError("", {}, Exception()), None])

    def ask() -> str:
        if error := next(answers):
            raise error
        return "here"

    assert retry(ask) == "here"


@pytest.mark.services
def test_a_study_in_postgresql_is_read_by_all_tools(
    small_search: SmallSearch,
    tmp_path: Path,
    postgres: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
    tell_trained: Callable[..., object],
) -> None:
    monkeypatch.setenv("PGPASSFILE", str(postgres.password_file))
    config = small_search(study="read", database=postgres.url)
    with locked_folder(config) as folder:
        study = open_study(folder, config, "data")
        tell_trained(study, study.ask(), (0.5, 0.1))
    assert [trial.point for trial in SearchResult.open(folder.path).trials] == [(0.5, 0.1)]
    assert not (folder.path / "study.db").exists()

    elsewhere = small_search(study="read", database=postgres.url, storage=str(tmp_path / "elsewhere"))
    with (
        pytest.raises(UserError, match="created in another folder"),
        locked_folder(elsewhere) as other,
    ):
        open_study(other, elsewhere, "data")
    assert not (tmp_path / "elsewhere").exists()

    (folder.path / "trials" / "0").mkdir(parents=True)
    lost = small_search(study="read")
    with (
        pytest.raises(UserError, match=r"study\.db: missing, .*name the search\.database of the study"),
        locked_folder(lost) as same,
    ):
        open_study(same, lost, "data")


@pytest.mark.services
def test_readers_make_no_tables_in_postgresql(
    small_search: SmallSearch, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSFILE", str(postgres.password_file))
    with psycopg.connect(postgres.url, autocommit=True) as server:
        server.execute("CREATE DATABASE emptied")
    url = postgres.url.replace("/postgres", "/emptied")
    config = small_search(database=url)
    with locked_folder(config) as folder:
        open_study(folder, config, "data")
    with psycopg.connect(url, autocommit=True) as server:
        server.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        with pytest.raises(UserError, match=r"^search\.database: holds no study of Optuna"):
            SearchResult.open(folder.path)
        assert server.execute("SELECT * FROM pg_tables WHERE schemaname = 'public'").fetchall() == []


@pytest.mark.services
@pytest.mark.parametrize("shared", [False, True])
def test_the_lock_admits_one_at_a_time(
    shared: bool, small_search: SmallSearch, tmp_path: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSFILE", str(postgres.password_file))
    settings = small_search(database=postgres.url if shared else None).search
    inside: list[int] = []
    most: list[int] = []

    def enter() -> None:
        with Database.of(settings, tmp_path).locked() as now:
            inside.append(1)
            most.append(len(inside))
            assert abs(now - time.time()) < 5
            time.sleep(0.05)
            inside.pop()

    threads = [threading.Thread(target=enter) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 6


@pytest.mark.services
def test_the_lock_outlives_a_restart_of_the_server(
    small_search: SmallSearch, tmp_path: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSFILE", str(postgres.password_file))
    config = small_search(study="restarted", database=postgres.url)
    with locked_folder(config) as folder:
        study = open_study(folder, config, "data")
        trial = study.ask()
        postgres.control("restart", "--mode=immediate")

        def look() -> int:
            with Database.of(config.search, folder.path).locked():
                return len(study.get_trials())

        assert retry(look) == 1
        assert retry(lambda: study.tell(trial, (0.5, 0.1))).number == 0
