"""Fixtures for the tests of searches and studies."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.fixtures.studies import OpenedStudy, SmallSearch, small_search_config
from tune.study.lock import locked_folder
from tune.study.opening import open_study


@pytest.fixture
def small_search(tmp_path: Path) -> SmallSearch:
    """Makes a search that takes seconds, with its storage in the test's folder."""
    return partial(small_search_config, tmp_path)


@pytest.fixture
def opened(small_search: SmallSearch) -> Iterator[OpenedStudy]:
    """A new study and its folder, which is locked."""
    config = small_search()
    with locked_folder(config) as folder:
        yield folder, open_study(folder, config, "data")
