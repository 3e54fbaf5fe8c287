from collections.abc import Iterator

import pytest

from tests.fixtures.confirming import Search, confirming, given
from tests.fixtures.studies import SmallSearch, small_search_config
from tune.study.lock import locked_folder


@pytest.fixture
def search(small_search: SmallSearch) -> Iterator[Search]:
    config = confirming(small_search)
    with locked_folder(config) as folder:
        yield Search(folder, config)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Search]:
    """A search that has confirmed its two most promising trials; only read it."""
    storage = tmp_path_factory.mktemp("finished")
    config = small_search_config(storage, trials=4, confirm={"members": 2, "repeats": 2})
    with locked_folder(config) as folder:
        search = Search(folder, config)
        search.run(given)
        yield search
