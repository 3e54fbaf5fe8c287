import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, Trial, TrialState

from hcvae.errors import UserError
from tests.fixtures.postgres import PostgresServer
from tests.fixtures.studies import SmallSearch
from tune.config import SearchConfig
from tune.space.search_space import suggest
from tune.study.folder import StudyFolder
from tune.study.leases import Leases
from tune.study.lock import locked_folder
from tune.study.opening import git_revision, n_finished, open_study


def test_a_new_study_says_what_it_is(small_search: SmallSearch, tmp_path: Path) -> None:
    config = small_search()
    with locked_folder(config) as folder:
        study = open_study(folder, config, "f" * 64)
    record = json.loads((tmp_path / "small" / "study.json").read_text())
    assert SearchConfig.model_validate(record["config"]) == config
    assert record["data_fingerprint"] == "f" * 64
    assert record["versions"].keys() == {"python", "torch", "ray", "optuna", "hcvae"}
    assert record["versions"]["optuna"] == optuna.__version__
    assert study.metric_names == ["reconstruction_nmse", "disentanglement"]
    assert [direction.name for direction in study.directions] == ["MINIMIZE", "MAXIMIZE"]
    # Anyone can open it with Optuna alone, as its dashboard does.
    url = f"sqlite:///{tmp_path / 'small' / 'study.db'}"
    assert optuna.get_all_study_names(url) == ["small"]


@pytest.mark.parametrize("name", ["with blank", "100%20", "what?", "a#b", "{braces}"])
def test_any_folder_name_will_do(small_search: SmallSearch, tmp_path: Path, name: str) -> None:
    config = small_search(storage=str(tmp_path / name))
    with locked_folder(config) as folder:
        open_study(folder, config, "data").ask()
        assert len(folder.load().trials) == 1
    assert (tmp_path / name / "small" / "study.db").is_file()


def test_the_same_command_continues(small_search: SmallSearch) -> None:
    config = small_search(trials=4)
    with locked_folder(config) as folder:
        open_study(folder, config, "data").ask()
    longer = small_search(trials=9, max_concurrent=1, cpus_per_worker=2)
    with locked_folder(longer) as folder:
        assert len(open_study(folder, longer, "data").trials) == 1
        assert folder.read_record().config.search.trials == 9


def test_a_moved_study_continues(small_search: SmallSearch, tmp_path: Path) -> None:
    config = small_search()
    with locked_folder(config) as folder:
        open_study(folder, config, "data").ask()
    shutil.move(tmp_path / "small", tmp_path / "elsewhere" / "small")
    moved = small_search(storage=str(tmp_path / "elsewhere"))
    with locked_folder(moved) as folder:
        assert len(open_study(folder, moved, "data").trials) == 1


def test_a_study_that_lacks_rows_is_refused_until_it_is_copied(small_search: SmallSearch, tmp_path: Path) -> None:
    config = small_search()
    with locked_folder(config) as folder:
        study = open_study(folder, config, "data")
        for _ in range(3):
            study.tell(study.ask(), state=TrialState.FAIL)
        with closing(sqlite3.connect(tmp_path / "small" / "study.db")) as connection:
            connection.execute("DELETE FROM trials WHERE number = 1")
            connection.commit()
        with pytest.raises(UserError, match=r"rows of trials of study 'small' were deleted"):
            open_study(folder, config, "data")
        left, storage = folder.load().trials, folder.load()._storage
        optuna.delete_study(study_name="small", storage=storage)
        optuna.create_study(study_name="small", storage=storage, directions=["minimize", "maximize"]).add_trials(left)
        assert [trial.number for trial in open_study(folder, config, "data").trials] == [0, 1]


def test_a_renamed_folder_continues_its_study(small_search: SmallSearch, tmp_path: Path) -> None:
    config = small_search()
    with locked_folder(config) as folder:
        open_study(folder, config, "data").ask()
    (tmp_path / "small").rename(tmp_path / "renamed")
    for _ in range(2):
        renamed = small_search(study="renamed")
        with locked_folder(renamed) as folder:
            assert len(open_study(folder, renamed, "data").trials) == 1


@pytest.mark.services
def test_a_copied_folder_is_refused_while_the_first_one_is_there(
    small_search: SmallSearch, tmp_path: Path, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSFILE", str(postgres.password_file))
    config, copy = (small_search(study=name, database=postgres.url) for name in ("first", "copied"))
    with locked_folder(config) as folder:
        open_study(folder, config, "data").ask()
        (folder.trials / "0" / "file").write(b"")
    shutil.copytree(tmp_path / "first", tmp_path / "copied")
    with locked_folder(copy) as folder, pytest.raises(UserError, match=r"copied: is a copy of .*first, whose trials"):
        open_study(folder, copy, "data")
    shutil.rmtree(tmp_path / "first")
    with locked_folder(copy) as folder:
        assert len(open_study(folder, copy, "data").trials) == 1


def test_a_changed_configuration_is_refused_with_the_difference(small_search: SmallSearch) -> None:
    config = small_search()
    space = {"model.early_signal_ratio": {"type": "float", "low": 0.2, "high": 0.6}}
    changed = small_search(training={"batch_size": 128}, space=space)
    with locked_folder(config) as folder:
        open_study(folder, config, "data")
        with pytest.raises(UserError) as refused:
            open_study(folder, changed, "data")
    message = str(refused.value)
    assert "training.batch_size: 64 -> 128" in message
    assert "search.space.model.early_signal_ratio.low: 0.1 -> 0.2" in message
    assert "search.space.model.global_latent_dim.low: 16 -> (absent)" in message
    assert "epochs" not in message


def test_changed_data_are_refused(small_search: SmallSearch) -> None:
    config = small_search()
    with locked_folder(config) as folder:
        open_study(folder, config, "a" * 64)
        with pytest.raises(UserError, match=r"data .*aaaaaaaaaaaa -> bbbbbbbbbbbb"):
            open_study(folder, config, "b" * 64)


def test_changes_that_are_allowed_are_recorded(small_search: SmallSearch) -> None:
    config, changed = small_search(), small_search(training={"batch_size": 128}, trials=9)
    for other, data in ((config, "a" * 64), (changed, "a" * 64), (changed, "b" * 64), (changed, "b" * 64)):
        with locked_folder(other) as folder:
            open_study(folder, other, data, allow_change=True)
    record = folder.read_record()
    assert record.config == changed
    assert record.data_fingerprint == "b" * 64
    first, second = record.changes
    assert first.differences == {"training.batch_size": (64, 128)}
    assert second.differences == {"data (fingerprint)": ("a" * 12, "b" * 12)}
    assert record.created < first.time < second.time
    with locked_folder(changed) as folder:  # what was allowed once is the study's configuration now
        open_study(folder, changed, "b" * 64)


def test_other_choices_cannot_be_allowed(small_search: SmallSearch) -> None:
    """Optuna cannot learn from both."""
    choices = {"training.batch_size": {"type": "choice", "choices": [32, 64]}}
    config = small_search(space=choices)
    with locked_folder(config) as folder:
        suggest(open_study(folder, config, "data").ask(), config)
    other = small_search(space={"training.batch_size": {"type": "choice", "choices": [32, 64, 128]}})
    with (
        pytest.raises(UserError, match=r"training\.batch_size has another distribution there"),
        locked_folder(other) as folder,
    ):
        open_study(folder, other, "data", allow_change=True)


def test_a_second_process_is_refused(small_search: SmallSearch, tmp_path: Path) -> None:
    config = small_search()
    other = (
        "import sys; from tune.config import SearchConfig; from tune.study.lock import locked_folder\n"
        "with locked_folder(SearchConfig.model_validate_json(sys.argv[1])): pass"
    )
    command = [sys.executable, "-c", other, config.model_dump_json()]
    with locked_folder(config):
        refused = subprocess.run(command, capture_output=True, text=True)
    assert "UserError" in refused.stderr
    assert f"in use by another search (process {os.getpid()} on " in refused.stderr
    # The refusal leaves the lock alone, and the end of the first process frees it.
    assert subprocess.run(command, capture_output=True).returncode == 0


def test_storage_that_cannot_be_written_is_refused(small_search: SmallSearch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(UserError, match=r"search\.storage: cannot write to .*: Not a directory"),
        locked_folder(small_search(storage=str(tmp_path / "file"))),
    ):
        pass


def test_a_folder_with_something_else_in_it_is_left_alone(small_search: SmallSearch, tmp_path: Path) -> None:
    (tmp_path / "small").mkdir()
    (tmp_path / "small" / "thesis.tex").write_text("years of work")
    config = small_search()
    with pytest.raises(UserError, match=r"'thesis\.tex' but no study"), locked_folder(config) as folder:
        open_study(folder, config, "data")
    assert (tmp_path / "small" / "thesis.tex").read_text() == "years of work"


def test_a_folder_in_which_no_study_began_is_removed(small_search: SmallSearch, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked_folder(small_search()):
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_reading_where_there_is_no_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no study here"):
        StudyFolder(tmp_path).load()


def test_interrupted_trials_come_back_with_number_and_parameters(
    small_search: SmallSearch, tell_trained: Callable[..., FrozenTrial]
) -> None:
    config = small_search()
    with locked_folder(config) as folder:
        study = open_study(folder, config, "data")
        first, second, third = (study.ask() for _ in range(3))
        drawn = suggest(second, config)
        Leases(study).acquire(second, 0, adopted=False)
        tell_trained(study, first, (0.5, 0.1))
        tell_trained(study, third)
    with locked_folder(config) as folder:
        study = open_study(folder, config, "data")
        [frozen] = Leases(study, alone=True).reclaimable(study.get_trials())
        again = Trial(study, frozen._trial_id)
        assert again.number == 1
        assert suggest(again, config) == drawn
        assert n_finished(study) == 2
        tell_trained(study, again, (0.4, 0.2))
        assert n_finished(study) == 3
        assert Leases(study, alone=True).reclaimable(study.get_trials()) == []


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_continued_study_does_not_repeat_its_draws(small_search: SmallSearch, sampler: str) -> None:
    config = small_search(sampler=sampler)
    draws = []
    for _ in range(4):
        with locked_folder(config) as folder:
            study = open_study(folder, config, "data")
            trial = study.ask()
            draws.append(tuple(suggest(trial, config).values()))
            study.tell(trial, (0.5, 0.1))
    assert len(set(draws)) == 4


def test_the_same_seed_draws_the_same_trials(small_search: SmallSearch) -> None:
    draws = []
    for name in ("one", "two"):
        config = small_search(study=name, seed=3)
        with locked_folder(config) as folder:
            draws.append(suggest(open_study(folder, config, "data").ask(), config))
    assert draws[0] == draws[1]


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_the_revision_of_a_checkout_of_another_user_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tune").mkdir()
    (tmp_path / "tune" / "study.py").touch()
    git = ["git", "-C", str(tmp_path), "-c", "user.name=me", "-c", "user.email=me@here"]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "one"]):
        subprocess.run([*git, *command], check=True)
    revision = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    refused = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True)
    assert "dubious ownership" in refused.stderr
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("tune.study.opening.__file__", str(tmp_path / "tune" / "study.py"))
    assert git_revision() == revision
    (tmp_path / "tune" / "study.py").write_text("changed")
    assert git_revision() == f"{revision}-dirty"
