from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tune.config import SearchConfig


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
