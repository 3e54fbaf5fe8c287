"""One round of the benchmark on each database, shorter than its own."""

from pathlib import Path

import pytest

from benchmarks.kills import make_table, one_round
from tests.fixtures.postgres import PostgresServer


@pytest.mark.services
def test_a_search_killed_with_its_ray_loses_nothing(
    tmp_path: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSFILE", str(postgres.password_file))
    row = one_round("postgresql", 1, postgres.url, tmp_path, trials=4)
    assert row["failed"] == []
    assert row["killed"] == "driver and Ray"


def test_the_table_counts_rounds_by_database_and_by_what_was_killed() -> None:
    row = {"database": "sqlite", "killed": "driver", "running": 2, "with_checkpoint": 1, "seconds_again": 30.4}
    rows = [row | {"failed": []}, row | {"failed": ["bundles"], "seconds_again": 41.0}]
    assert make_table(rows).splitlines()[2:] == ["| sqlite | driver | 2 | 1 | 4 | 2 | 30 to 41 |"]
