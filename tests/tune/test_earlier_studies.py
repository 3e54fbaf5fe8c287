"""A study that the version before the sub-packages of tune wrote: it opens, pulls and continues."""

import json
import shutil
from pathlib import Path

import pytest

from hcvae.errors import UserError
from jobs import pull
from tune.config import SearchConfig
from tune.report.results import SearchResult
from tune.space.default_space import with_space
from tune.study.artifacts import history_of
from tune.study.folder import StudyFolder
from tune.study.lock import locked_folder
from tune.study.opening import n_finished, open_study
from tune.study.samplers import ask

STUDY = Path(__file__).parent / "studies" / "before-packages"
"""Four trials of `python -m jobs.search`, three of them dominated; the figures of the trials are left out."""
FRONT = json.loads((STUDY / "pareto.json").read_text())


@pytest.fixture
def folder(tmp_path: Path) -> StudyFolder:
    """A copy of the study, as another user gets it."""
    return StudyFolder(shutil.copytree(STUDY, tmp_path / "before"))


def test_it_opens_with_the_front_that_it_had(folder: StudyFolder) -> None:
    result = SearchResult.open(folder.path)
    assert len(result.trials) == 4
    [member] = result.pareto
    assert (member.number, member.params) == (1, FRONT["trials"][0]["params"])
    assert member.point == (FRONT["trials"][0]["reconstruction_nmse"], FRONT["trials"][0]["disentanglement"])
    assert member.identity == FRONT["trials"][0]["identity"]
    assert list(member.troubles) == FRONT["trials"][0]["troubles"]


def test_its_histories_are_read(folder: StudyFolder) -> None:
    study = folder.load()
    for trial in study.trials:
        assert [epoch["epoch"] for epoch in history_of(folder, study, trial)] == [1, 2]


def test_its_model_is_pulled(folder: StudyFolder, tmp_path: Path) -> None:
    assert pull.run([str(folder), "--out", str(tmp_path / "model")]) == 0
    metrics = json.loads((tmp_path / "model" / "metrics.json").read_text())
    assert metrics["validation"]["reconstruction_nmse"] == FRONT["trials"][0]["reconstruction_nmse"]


def test_a_search_may_continue_it(folder: StudyFolder) -> None:
    record = folder.read_record()
    assert record is not None
    tree = record.config.model_dump(mode="json")
    tree["search"] |= {"storage": str(folder.path.parent)}
    config = SearchConfig.model_validate(tree)
    with locked_folder(config) as locked:
        study = open_study(locked, config, record.data_fingerprint)
        assert n_finished(study) == 4


def test_a_command_that_names_no_space_continues_it_with_its_own(folder: StudyFolder) -> None:
    record = folder.read_record()
    tree = record.config.model_dump(mode="json")
    del tree["search"]["space"]
    tree["search"] |= {"storage": str(folder.path.parent)}
    named_none = SearchConfig.model_validate(tree)
    with locked_folder(named_none) as locked:
        with pytest.raises(UserError, match=r"search\.space\.training\.target"):  # the default space of today
            open_study(locked, named_none, record.data_fingerprint)
        config, _ = with_space(named_none, record.config.search.space, other_averages=True)
        study = open_study(locked, config, record.data_fingerprint)
        trial, params = ask(study, config)
        assert params.keys() == record.config.search.space.keys() == study.trials[0].params.keys()
        assert trial.number == 4
