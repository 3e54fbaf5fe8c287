from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from tune.config import SearchConfig
from tune.resources import ray_cluster


@pytest.fixture
def small_search(tmp_path: Path) -> Callable[..., SearchConfig]:
    """Makes a search of seconds: a narrow model on few simulated rows; arguments set keys of `search`."""

    def make(training: dict[str, Any] | None = None, **search: Any) -> SearchConfig:
        tree = {
            "model": {"width": 0.05},
            "data": {"simulator": {"rows": 600}},
            "training": {"epochs": 2, "batch_size": 64, **(training or {})},
            "search": {"study": "small", "storage": str(tmp_path), **search},
        }
        return SearchConfig.model_validate(tree)

    return make


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A local Ray with 2 CPUs."""
    ray.init("local", num_cpus=2, include_dashboard=False, object_store_memory=100 * 2**20, log_to_driver=False)
    try:
        with ray_cluster(0):
            yield
    finally:
        ray.shutdown()
