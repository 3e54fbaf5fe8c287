"""A study in PostgreSQL whose checkpoints and models lie in an object store: killed, gone on with, pulled."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

import hcvae
from hcvae.errors import UserError
from hcvae.storage import MARKER, StoragePath
from jobs import dashboard, pull
from tests.fixtures.object_store import ObjectStore
from tests.fixtures.postgres import PostgresServer
from tune.config import SearchConfig
from tune.report.results import SearchResult
from tune.search import plan_search
from tune.study.artifacts import images
from tune.study.folder import StudyFolder
from tune.study.leases import lease_of
from tune.study.lock import locked_folder
from tune.study.trial_attributes import attributes_of

Start = Callable[..., "subprocess.Popen[str]"]


def test_sqlite_in_an_object_store_is_refused(s3: ObjectStore) -> None:
    config = SearchConfig.model_validate({"search": {"storage": s3.address("sqlite")}})
    with pytest.raises(UserError, match=r"search\.database: null means sqlite, which needs a disk"):
        plan_search(config)


@pytest.mark.services
def test_a_bucket_that_cannot_be_written_is_refused(s3: ObjectStore, tiny_search: dict[str, Any]) -> None:
    storage = s3.address("x").replace("studies", "elsewhere")
    config = SearchConfig.model_validate({"search": tiny_search["search"] | {"storage": storage}})
    with pytest.raises(UserError, match=r"search\.storage: cannot write to s3://elsewhere"), locked_folder(config):
        pass


@pytest.mark.services
def test_a_killed_search_goes_on_from_the_store(
    s3: ObjectStore, postgres: PostgresServer, start_job: Start, tiny_search: dict[str, Any], tmp_path: Path
) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(tiny_search))
    arguments = ("--config", str(file), "--search.storage", s3.address("nightly"), "--search.trials")
    folder = StudyFolder(StoragePath.of(s3.address("nightly")) / "remote")

    search = start_job("search", *arguments, "2")
    wait_for(lambda: checkpoints(folder), search)
    search.kill()
    search.communicate()
    assert folder.best.listdir() == []

    told = [finish(start_job("search", *arguments, "2", "--log-json"))]
    [first, second] = folder.load().trials
    assert [first.state, second.state] == [TrialState.COMPLETE] * 2
    assert [lease_of(trial).attempt for trial in (first, second)] == [2, 1]
    assert [epoch["epoch"] for epoch in attributes_of(first)["epochs_reported"]] == [1, 2, 3, 4]

    more = ("--search.workers", "2", "--search.max_concurrent", "1", "--allow-change")
    told.append(finish(start_job("search", *arguments, "3", *more)))
    study = folder.load()
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 3
    for trial in study.trials:
        assert sorted(images(folder, study, trial)) == ["latent_use.png", "reconstructions.png", "swap_grid.png"]
    assert not [name for name in folder.place.listdir() if name.startswith(".ray")]

    result = SearchResult.open(folder.place)
    assert {f"trial-{trial.number}" for trial in result.pareto} == set(folder.best.listdir())
    for member in result.pareto:
        assert hcvae.load(str(result.bundle(member.number))).config == result.load(member).config
    with pytest.raises(UserError, match="exists"):
        pull.run([str(folder), "--out", str(tmp_path)])
    assert pull.run([str(folder), "--out", str(tmp_path / "model")]) == 0
    assert MARKER not in os.listdir(tmp_path / "model")
    hcvae.load(tmp_path / "model").model.sample(n_samples=1)
    with dashboard._trainings(folder) as trainings:
        runs = {file.parent.name.rpartition("-attempt-")[0] for file in trainings.rglob("events.out.tfevents.*")}
        assert runs == {f"{folder.place.name}-trial-{number:04}" for number in range(3)}

    said = "".join(told) + folder.record.read_text() + folder.pareto.read_text()
    assert s3.secret_key not in said
    assert postgres.password not in said


@pytest.fixture
def tiny_search(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A search of short trials, one at a time, with a database whose URL stands in the environment."""
    monkeypatch.setenv("HCVAE_TEST_DATABASE", postgres.secret_url)
    return {
        "model": {"width": 0.02},
        "data": {"simulator": {"rows": 1500}},
        "training": {"epochs": 4, "batch_size": 64, "checkpoint_every_epochs": 1, "early_stopping_patience": None},
        "search": {
            "study": "remote",
            "database": "env:HCVAE_TEST_DATABASE",
            "max_concurrent": 1,
            "sampler": "random",
            "space": {"model.global_latent_dim": {"type": "int", "low": 4, "high": 16}},
        },
    }


def checkpoints(folder: StudyFolder) -> list[str]:
    """The whole checkpoints of the first attempt at trial 0."""
    kept = folder.attempt(0, 1) / "checkpoint"
    return [name for name in kept.listdir() if (kept / name).is_complete()]


def wait_for(there: Callable[[], object], process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 200
    while not there():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)


def finish(process: "subprocess.Popen[str]") -> str:
    """What a process said, which ends well."""
    said = "".join(process.communicate(timeout=280))
    assert process.returncode == 0, said
    return said
