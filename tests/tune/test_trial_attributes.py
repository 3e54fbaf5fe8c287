"""Attributes of a trial: whole for the program, short on the dashboard's page."""

import json

import optuna
import pytest

from tests.fixtures.studies import OpenedStudy
from tune.early_stopping.actor import reported_at_rungs
from tune.objectives import SPECIFIED
from tune.study.artifacts import HISTORY, history_of, upload_texts
from tune.study.trial_attributes import MAX_SHOWN, attributes_of, set_attributes
from tune.study.trial_summary import summarize

FAILURE = "RuntimeError: " + "the loss of the last epoch is not a number " * 9
HISTORY_OF_9 = [
    {"epoch": epoch, "reconstruction_nmse": 1 / epoch, "disentanglement": None if epoch == 1 else 0.1 * epoch}
    for epoch in range(1, 10)
]


def test_long_values_are_whole_for_the_program_and_short_for_the_page(opened: OpenedStudy) -> None:
    _, study = opened
    trial = study.ask()
    set_attributes(study, trial, {"failure": FAILURE, "epochs": 3, "epochs_reported": HISTORY_OF_9, "stopped": None})
    [found] = study.trials
    assert attributes_of(found)["failure"] == FAILURE
    assert attributes_of(found)["epochs_reported"] == HISTORY_OF_9
    assert set(found.user_attrs) == {"failure", "epochs"}
    assert all(len(json.dumps(value)) <= MAX_SHOWN + 2 for value in found.user_attrs.values())
    assert found.user_attrs["failure"].startswith("RuntimeError: the loss")
    set_attributes(study, trial, {"failure": None, "epochs_reported": None})
    assert attributes_of(study.trials[0]) == {"failure": None, "epochs": 3}


def test_a_summary_has_the_whole_reason(opened: OpenedStudy) -> None:
    _, study = opened
    trial = study.ask()
    set_attributes(study, trial, {"failure": FAILURE, "diagnosis": [{"trouble": "collapse", "evidence": "x" * 99}]})
    study.tell(trial, state=optuna.trial.TrialState.FAIL)
    summary = summarize(study.trials[0], None, SPECIFIED)
    assert (summary.failure, summary.troubles) == (FAILURE, ("collapse",))


def test_people_find_long_values_and_the_history_among_the_artifacts(opened: OpenedStudy) -> None:
    folder, study = opened
    trial = study.ask()
    assert history_of(folder, study, study.trials[0]) == []
    upload_texts(folder, trial, {"failure": FAILURE, "epochs": 3, "warned": ["x" * 99]}, HISTORY_OF_9)
    [found] = study.trials
    names = {meta.filename: meta for meta in optuna.artifacts.get_all_artifact_meta(trial)}
    assert sorted(names) == ["failure.txt", HISTORY, "warned.json"]
    assert (folder.artifacts / names["failure.txt"].artifact_id).read_text() == FAILURE
    assert history_of(folder, study, found) == HISTORY_OF_9


def test_studies_begun_by_earlier_versions_are_read(opened: OpenedStudy) -> None:
    folder, study = opened
    trials = [study.ask(), study.ask(), study.ask()]
    trials[0].set_user_attr("history", HISTORY_OF_9)
    trials[1].set_user_attr("rungs", HISTORY_OF_9[1:3])
    set_attributes(study, trials[2], {"epochs_reported": HISTORY_OF_9})
    reported = reported_at_rungs(study, (3, 9), SPECIFIED)
    whole = {3: (1 / 3, pytest.approx(0.3)), 9: (1 / 9, pytest.approx(0.9))}
    assert reported == {0: whole, 1: {3: whole[3]}, 2: whole}
    assert history_of(folder, study, study.trials[0]) == HISTORY_OF_9
