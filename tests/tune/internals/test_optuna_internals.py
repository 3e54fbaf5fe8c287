"""Each helper against Optuna's public behaviour, on a real sqlite database."""

from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from tune.internals import optuna_internals


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    return optuna.create_study(study_name="one", storage=f"sqlite:///{tmp_path / 'study.db'}")


def test_a_deleted_study_is_not_in_its_database(study: optuna.Study) -> None:
    assert optuna_internals.is_in_database(study)
    optuna.delete_study(study_name="one", storage=optuna_internals.storage_of(study))
    assert not optuna_internals.is_in_database(study)


def test_suggestions_inside_are_not_recorded_and_may_differ_afterwards(study: optuna.Study) -> None:
    trial = study.ask()
    with optuna_internals.parameters_unwritten(study, trial):
        trial.suggest_int("x", 0, 9)
        assert "x" in trial.params
    assert trial.params == {}
    assert study.trials[0].params == {}
    optuna_internals.enqueue_values(trial, {"x": 7})
    assert trial.suggest_int("x", 0, 9) == 7
    assert study.trials[0].params == {"x": 7}


def test_the_storage_is_restored_after_an_exception(study: optuna.Study) -> None:
    trial = study.ask()
    with pytest.raises(KeyError), optuna_internals.parameters_unwritten(study, trial):
        raise KeyError
    trial.suggest_int("x", 0, 9)
    assert "x" in study.trials[0].params


def test_enqueued_values_are_those_of_the_public_call(study: optuna.Study) -> None:
    study.enqueue_trial({"x": 3})
    assert optuna_internals.enqueued_values(study.ask()) == {"x": 3}
    assert optuna_internals.enqueued_values(study.ask()) == {}


def test_attributes_are_kept_apart_from_those_of_users(study: optuna.Study) -> None:
    trial = study.ask()
    optuna_internals.set_system_attribute(study, "a", 1)
    optuna_internals.set_trial_system_attribute(study, trial, "b", 2)
    again = optuna.load_study(study_name="one", storage=optuna_internals.storage_of(study))
    assert optuna_internals.system_attributes(again)["a"] == 1
    assert again.trials[0].system_attrs["b"] == 2
    assert again.user_attrs == again.trials[0].user_attrs == {}
    assert optuna_internals.recorded(again, trial).state == TrialState.RUNNING
    assert optuna_internals.trial_key(trial) == optuna_internals.trial_key(again.trials[0])
    assert optuna_internals.study_key(study) == optuna_internals.study_key(again)


def test_a_renewed_cache_reads_what_others_have_changed(study: optuna.Study) -> None:
    other = optuna.load_study(study_name="one", storage=str(study._storage._backend.url))  # type: ignore[attr-defined]
    trial = study.ask()
    study.tell(trial, 1.0)
    optuna_internals.renew_cache(study)
    other.tell(other.ask(), 2.0)
    assert [trial.value for trial in study.trials] == [1.0, 2.0]
