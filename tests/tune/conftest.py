"""Fixtures for the tests of searches and studies."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.studies import OpenedStudy, SmallSearch, small_search_config
from tune.config import SearchConfig
from tune.study.lock import locked_folder
from tune.study.opening import open_study


@pytest.fixture
def small_search(tmp_path: Path) -> SmallSearch:
    """Makes a search that takes seconds; its storage is the test's folder where no other is given."""

    def make(training: dict[str, Any] | None = None, **search: Any) -> SearchConfig:
        return small_search_config(search.pop("storage", tmp_path), training, **search)

    return make


@pytest.fixture
def opened(small_search: SmallSearch) -> Iterator[OpenedStudy]:
    """A new study and its folder, which is locked."""
    config = small_search()
    with locked_folder(config) as folder:
        yield folder, open_study(folder, config, "data")
