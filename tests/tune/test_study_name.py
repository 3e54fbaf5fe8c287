"""The default name of a study: that of its data."""

from pathlib import Path
from typing import Any

import pytest

from hcvae.config import DataConfig
from tune.config import SearchConfig, narrowed, study_name

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("tables", "name"),
    [
        (["/data/mice.parquet"], "mice"),
        (["mice.parquet", "rats.parquet", "cats.parquet"], "mice-and-2-more"),
        (["s3://bucket/of mice/May 5 (new).parquet?region=eu"], "May-5-new-"),
        (["/data/.hidden.parquet"], "hidden"),
        (["/data/\u00e4\u00f6.parquet"], "recordings"),
        (["/data/" + "x" * 200 + ".parquet"] * 1000, "x" * 48 + "-and-999-more"),
    ],
)
def test_a_study_of_own_tables_is_named_after_them(tables: list[str], name: str) -> None:
    assert study_name(tables) == name
    assert SearchConfig.model_validate({"data": {"tables": tables}}).search.study == name


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ({}, "quickstart"),
        ({"data": {"simulator": {"rows": 600}}}, "quickstart"),
        ({"data": DataConfig(tables=("/a/mice.parquet",))}, "mice"),
        ({"data": {"tables": ["/a/mice.parquet"]}, "search": {"trials": 3}}, "mice"),
        ({"data": {"tables": ["/a/mice.parquet"]}, "search": {"study": "mine"}}, "mine"),
    ],
)
def test_the_name_without_tables_or_with_a_given_name(content: dict[str, Any], name: str) -> None:
    config = SearchConfig.model_validate(content)
    assert config.search.study == name
    assert narrowed(config, SearchConfig) == config


def test_the_quickstart_with_other_tables_is_not_called_quickstart() -> None:
    text = (ROOT / "configs" / "quickstart.json").read_text()
    assert SearchConfig.model_validate_json(text).search.study == "quickstart"
