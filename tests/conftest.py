"""Fixtures for all tests: the real recordings, and small hand-made waveform tables."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pytest

from tests.fixtures.object_store import ObjectStore, object_store
from tests.fixtures.postgres import PostgresServer, postgres_server

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).resolve().parents[1]
LONGEST_FIRST = ("tests/end_to_end", "tests/cluster", "tests/tune", "tests/jobs")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the folders with the longest tests first, so that parallel processes end at about the same time."""

    def rank(item: pytest.Item) -> int:
        folders = [place for place, folder in enumerate(LONGEST_FIRST) if item.path.is_relative_to(ROOT / folder)]
        return folders[0] if folders else len(LONGEST_FIRST)

    items.sort(key=rank)


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of real ABR recordings; the README names their source."""
    folder = Path(os.environ.get("HCVAE_REAL_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "human_click_shipm.parquet").is_file():
        pytest.skip(f"no real recordings in {folder}; name their folder in the environment variable HCVAE_REAL_DATA")
    return folder


@pytest.fixture
def make_table() -> Callable[..., pa.Table]:
    """A function that makes a waveform table of 64 samples: subjects x recordings x two halves; None drops a column."""

    def make(subjects: int = 6, recordings: int = 4, *, rate_hz: float | None = 20000, **columns: Any) -> pa.Table:
        random = np.random.default_rng(0)
        n = subjects * recordings * 2
        subject, recording = np.divmod(np.arange(n) // 2, recordings)
        content = {
            "subject_id": [f"s{number}" for number in subject],
            "stimulus_level_db": 10.0 * recording,
            "recording_index": recording,
            "sex": [("F", "M")[number % 2] for number in subject],
            "signal": pa.FixedSizeListArray.from_arrays(random.normal(3, 2, n * 64).astype(np.float32), 64),
        } | columns
        metadata = None if rate_hz is None else {"sampling_rate_hz": str(rate_hz)}
        return pa.table({name: column for name, column in content.items() if column is not None}, metadata=metadata)

    return make


@pytest.fixture(scope="session")
def tell_trained() -> Callable[..., Any]:
    """Ends a trial of a study as a search does: handed out, trained, its values recorded; without values it failed."""
    from optuna.trial import TrialState

    from tune.study.leases import Leases

    def tell(study: Any, trial: Any, values: tuple[float, float] | None = None, state: Any = TrialState.FAIL) -> Any:
        leases = Leases(study)
        leases.acquire(trial, 0, adopted=False)
        if values is None:
            return study.tell(trial, state=state)
        leases.record_values(trial, values)
        return study.tell(trial, values)

    return tell


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A local Ray with 2 CPUs."""
    import ray  # here, so that the tests of hcvae run without it

    from tune.placement.ray_connection import ray_cluster

    ray.init("local", num_cpus=2, include_dashboard=False, object_store_memory=100 * 2**20, log_to_driver=False)
    try:
        with ray_cluster(0):
            yield
    finally:
        ray.shutdown()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server; its password is in no environment variable."""
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def s3() -> Iterator[ObjectStore]:
    """A server of the S3 API; its keys are in the environment of this process and its children."""
    with object_store() as store, pytest.MonkeyPatch.context() as patch:
        for name, value in store.variables.items():
            patch.setenv(name, value)
        yield store


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """Debian's Chromium, without a window; where it is missing the test fails."""
    from playwright.sync_api import sync_playwright  # here, as few tests need it

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        yield browser
        browser.close()
