"""What other programs do to a study: Optuna's API, the HTTP routes of its dashboard, and people who move folders.

In each case no model is lost or handed out as another trial's, and the next search goes on, or refuses by name.
"""

import json
import math
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial
from optuna_dashboard import wsgi

import hcvae
from hcvae.errors import UserError
from hcvae.local_server import serving
from jobs import pull, report, search, train
from tune.report.results import SearchResult
from tune.study.folder import StudyFolder
from tune.study.leases import LEASE, Leases, lease_of
from tune.study.trial_attributes import attributes_of

pytestmark = [pytest.mark.services, pytest.mark.usefixtures("cluster")]
BETTER = (1e-4, 0.9999)


@pytest.fixture
def copied(study: Path, tmp_path: Path) -> StudyFolder:
    """A finished search of three trials, in a folder of its own."""
    shutil.copytree(study, tmp_path / "results" / "tiny")
    return StudyFolder(tmp_path / "results" / "tiny")


@pytest.fixture
def shifted(copied: StudyFolder, more: Callable[..., int]) -> StudyFolder:
    """Six trials, of which trial 1, without a model, has been removed: later ones have other numbers now."""
    assert more(copied, 6) == 0
    assert 1 not in SearchResult.open(copied.path).models
    assert max(SearchResult.open(copied.path).models) > 1
    remove_trial(copied, 1)
    return copied


@pytest.fixture
def more(tiny: dict[str, Any], write_config: Callable[[Any], str]) -> Callable[..., int]:
    """Searches on in a folder, until `trials` have finished."""

    def run(folder: StudyFolder, trials: int, **settings: Any) -> int:
        changed = {"study": folder.place.name, "storage": str(folder.path.parent), "trials": trials, **settings}
        return search.run(["--config", write_config(tiny | {"search": tiny["search"] | changed})])

    return run


@pytest.fixture
def dashboard() -> Callable[..., int]:
    """Sends a request to the dashboard's own HTTP routes."""

    def send(folder: StudyFolder, method: str, route: str, content: dict[str, Any]) -> int:
        with serving(wsgi(folder.load()._storage), 0) as address:
            body, headers = json.dumps(content).encode(), {"Content-Type": "application/json"}
            with urlopen(Request(f"{address}{route}", body, headers, method=method), timeout=30) as answer:
                return int(answer.status)

    return send


def models(folder: StudyFolder) -> dict[str, bytes]:
    """The weights under best/, by the identifier of their trial."""
    return {
        json.loads((bundle / "trial.json").read_text())["trial"]: (bundle / "model.safetensors").read_bytes()
        for bundle in folder.best.path.iterdir()
    }


def assert_models_are_those_of_their_trials(folder: StudyFolder) -> None:
    result, trials = SearchResult.open(folder.path), folder.load().trials
    assert result.models
    for number, place in result.models.items():
        bundle = hcvae.load(place)
        assert bundle.metrics["validation"]["reconstruction_nmse"] == trials[number].values[0]
        assert bundle.config.model.global_latent_dim == trials[number].params["model.global_latent_dim"]


def assert_only_dominated_models_are_gone(folder: StudyFolder, before: dict[str, bytes]) -> None:
    result, after = SearchResult.open(folder.path), models(folder)
    points = {trial.identity: trial.point for trial in result.trials}
    kept = [point for identity, point in points.items() if identity in after and point]
    for identity in before.keys() - after.keys():
        gone = points[identity]
        assert gone
        assert any(point[0] <= gone[0] and point[1] >= gone[1] and point != gone for point in kept)


def remove_trial(folder: StudyFolder, number: int) -> None:
    """By Optuna's own advice: copy the others into a new study of the name."""
    study = folder.load()
    kept, storage, name = study.trials[:number] + study.trials[number + 1 :], study._storage, study.study_name
    optuna.delete_study(study_name=name, storage=storage)
    optuna.create_study(study_name=name, storage=storage, directions=["minimize", "maximize"]).add_trials(kept)


def test_a_known_result_that_is_added_deletes_no_model(copied: StudyFolder, more: Callable[..., int]) -> None:
    before = models(copied)
    copied.load().add_trial(create_trial(values=BETTER))
    copied.load().add_trial(create_trial(state=TrialState.FAIL))
    assert more(copied, 4) == 0
    assert_only_dominated_models_are_gone(copied, before)
    assert_models_are_those_of_their_trials(copied)
    result = SearchResult.open(copied.path)
    assert 3 not in {member.number for member in result.pareto}
    assert result.trial(3).outside_budget
    states = [trial.state for trial in copied.load().trials]
    assert states.count(TrialState.COMPLETE) == 5  # four trained, one added
    with pytest.raises(UserError, match=r"trial 3 .* has no model: another program added"):
        result.bundle(3)


def test_a_trial_of_another_study_has_no_place_here(copied: StudyFolder, more: Callable[..., int]) -> None:
    foreign = copied.load().trials[0]
    foreign.system_attrs[LEASE] = foreign.system_attrs[LEASE] | {"study": "another", "values": BETTER}
    foreign.values = list(BETTER)
    copied.load().add_trial(foreign)
    before = models(copied)
    assert more(copied, 3) == 0
    assert models(copied) == before
    assert SearchResult.open(copied.path).trial(3).outside_budget == "copied from another study"


def test_after_renumbering_each_trial_keeps_its_own_model(
    shifted: StudyFolder, more: Callable[..., int], tmp_path: Path
) -> None:
    before, found = models(shifted), SearchResult.open(shifted.path).models
    assert len(found) == len(before)
    assert any(place.name != f"trial-{number}" for number, place in found.items())
    assert_models_are_those_of_their_trials(shifted)
    for number in found:
        out = tmp_path / f"model-{number}"
        assert pull.run([str(shifted.path), "--trial", str(number), "--out", str(out)]) == 0
        bundle, trial = hcvae.load(out), shifted.load().trials[number]
        assert bundle.metrics["validation"]["disentanglement"] == trial.values[1]
    assert more(shifted, 7) == 0
    assert_models_are_those_of_their_trials(shifted)
    result = SearchResult.open(shifted.path)
    assert {member.number for member in result.pareto} == result.models.keys()
    survivors = {trial.identity for trial in result.pareto}
    assert survivors == models(shifted).keys()


def test_the_model_of_a_removed_trial_stays(copied: StudyFolder, more: Callable[..., int]) -> None:
    before = models(copied)
    remove_trial(copied, min(SearchResult.open(copied.path).models))
    assert more(copied, 3) == 0
    assert before.items() <= models(copied).items()
    assert_models_are_those_of_their_trials(copied)


def test_copies_without_attributes_leave_all_models_alone(copied: StudyFolder, more: Callable[..., int]) -> None:
    before, study = models(copied), copied.load()
    bare = [create_trial(params=t.params, distributions=t.distributions, values=t.values) for t in study.trials]
    optuna.delete_study(study_name="tiny", storage=study._storage)
    optuna.create_study(study_name="tiny", storage=study._storage, directions=["minimize", "maximize"]).add_trials(bare)
    assert more(copied, 1) == 0
    assert before.items() <= models(copied).items()
    assert_models_are_those_of_their_trials(copied)


@pytest.mark.parametrize("values", [(math.inf, 0.5), (0.1, -math.inf), BETTER])
def test_values_told_by_hand_are_shown_and_have_no_place_on_the_front(
    copied: StudyFolder, more: Callable[..., int], tmp_path: Path, values: tuple[float, float]
) -> None:
    before, study = models(copied), copied.load()
    study.tell(study.ask(), values)
    assert report.run([str(copied.path), "--out", str(tmp_path / "report.html")]) == 0
    assert "another program" in (tmp_path / "report.html").read_text()
    assert pull.run([str(copied.path), "--out", str(tmp_path / "model")]) == 0
    assert more(copied, 3) == 0
    assert models(copied) == before


def test_a_model_deleted_by_hand_is_missed_by_name(
    copied: StudyFolder, more: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = SearchResult.open(copied.path).compromise().number
    copied.exported(chosen).remove()
    assert more(copied, 3) == 0
    assert f"trial {chosen}, has none" in capsys.readouterr().out
    with pytest.raises(UserError, match=rf"trial {chosen} \(complete\).* has no model: its folder under best/ was rem"):
        pull.run([str(copied.path), "--out", str(tmp_path / "model")])


def test_a_model_in_the_place_of_another_is_refused(copied: StudyFolder, tmp_path: Path) -> None:
    [first, *_] = members = [member.number for member in SearchResult.open(copied.path).pareto]
    other = copied.exported(first)
    identity = json.loads((other / "trial.json").read_text())
    (other / "trial.json").write(json.dumps(identity | {"trial": "0" * 32}).encode())
    with pytest.raises(UserError, match=rf"trial {first} .* holds the model of another trial"):
        pull.run([str(copied.path), "--trial", str(first), "--out", str(tmp_path / "model")])
    (other / "trial.json").write(json.dumps(identity | {"params": {"model.global_latent_dim": 5}}).encode())
    with pytest.raises(UserError, match="or of other values or parameters"):
        SearchResult.open(copied.path).bundle(first)
    (other / "trial.json").write(json.dumps(identity).encode())
    other.path.rename(copied.best.path / "renamed")
    assert pull.run([str(copied.path), "--trial", str(members[0]), "--out", str(tmp_path / "model")]) == 0


def test_a_study_renamed_in_the_dashboard_goes_on(
    copied: StudyFolder, more: Callable[..., int], dashboard: Callable[..., int], tmp_path: Path
) -> None:
    before, study_id = models(copied), copied.load()._study_id
    assert dashboard(copied, "POST", f"/api/studies/{study_id}/rename", {"study_name": "night"}) == 201
    assert pull.run([str(copied.path), "--out", str(tmp_path / "model")]) == 0
    assert more(copied, 4) == 0
    assert copied.load().study_name == "night"
    assert [trial.state for trial in copied.load().trials] == [TrialState.COMPLETE] * 4
    assert_only_dominated_models_are_gone(copied, before)
    assert more(copied, 4) == 0


def test_a_renamed_folder_goes_on(copied: StudyFolder, more: Callable[..., int]) -> None:
    renamed = StudyFolder(copied.path.rename(copied.path.with_name("night")))
    assert more(renamed, 4) == 0
    assert len(renamed.load().trials) == 4
    assert_models_are_those_of_their_trials(renamed)


def test_a_deleted_study_is_refused_and_its_models_stay(
    copied: StudyFolder, more: Callable[..., int], dashboard: Callable[..., int], tmp_path: Path
) -> None:
    before = models(copied)
    assert dashboard(copied, "DELETE", f"/api/studies/{copied.load()._study_id}", {}) == 204
    for action in (lambda: more(copied, 4), lambda: pull.run([str(copied.path), "--out", str(tmp_path / "model")])):
        with pytest.raises(UserError, match=r"another program has deleted.*models are still under"):
            action()
    assert models(copied) == before


def test_a_study_of_other_directions_is_refused(copied: StudyFolder, more: Callable[..., int]) -> None:
    study, before = copied.load(), models(copied)
    optuna.delete_study(study_name="tiny", storage=study._storage)
    optuna.create_study(study_name="tiny", storage=study._storage, directions=["maximize", "minimize"])
    with pytest.raises(UserError, match="the directions of study 'tiny' must be"):
        more(copied, 4)
    assert models(copied) == before


def test_attributes_of_a_trial_that_others_have_set_are_written_anew(
    copied: StudyFolder, more: Callable[..., int], dashboard: Callable[..., int], tmp_path: Path
) -> None:
    study, before = copied.load(), models(copied)
    interrupted, leases = study.ask(), Leases(study)
    leases.acquire(interrupted, 0, adopted=False)
    leases.release(interrupted)
    route = f"/api/trials/{interrupted._trial_id}/user-attrs"
    assert dashboard(copied, "POST", route, {"user_attrs": {"deaths": "many", "failure": 5, "rungs": [1]}}) == 204
    study.enqueue_trial({}, user_attrs={"failure": "boom", "stopped": 7, "outside_budget": True})
    assert pull.run([str(copied.path), "--out", str(tmp_path / "before")]) == 0
    assert more(copied, 5) == 0
    trials = copied.load().trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 5
    assert [trial.user_attrs.get(name) for trial in trials[3:] for name in ("failure", "stopped")] == [None] * 4
    assert_only_dominated_models_are_gone(copied, before)
    assert pull.run([str(copied.path), "--out", str(tmp_path / "after")]) == 0


def test_a_copy_of_a_running_trial_is_a_trial_of_its_own(copied: StudyFolder, more: Callable[..., int]) -> None:
    study = copied.load()
    leases = Leases(study)
    leases.acquire(study.ask(), 0, adopted=False)
    study.add_trial(study.trials[-1])
    assert more(copied, 5) == 0
    trials = copied.load().trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 5
    assert len({lease_of(trial).trial for trial in trials}) == 5
    assert_models_are_those_of_their_trials(copied)


def test_enqueued_values_that_cannot_be_fail_and_the_search_goes_on(
    copied: StudyFolder, more: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    copied.load().enqueue_trial({"model.global_latent_dim": "high"})
    copied.load().enqueue_trial({"model.global_latent_dim": 4.5})
    assert more(copied, 6) == 0
    trials = copied.load().trials
    assert [trial.state for trial in trials[3:]] == [TrialState.FAIL, TrialState.FAIL, TrialState.COMPLETE]
    assert "must be in [4, 16], but got 4.5" in attributes_of(trials[4])["failure"]
    assert "must be in [4, 16], but got 'high'" in capsys.readouterr().out


def test_a_waiting_trial_cannot_be_trained_alone(copied: StudyFolder, tmp_path: Path) -> None:
    copied.load().enqueue_trial({"model.global_latent_dim": 8})
    with pytest.raises(UserError, match=r"trial 3 \(waiting\).*: has no value for model.global_latent_dim, training"):
        train.run(["--study", str(copied.path), "--trial", "3", "--out", str(tmp_path / "model")])


LONG = {"epochs": 400, "early_stopping_patience": None, "checkpoint_every_epochs": 1}


@pytest.mark.parametrize(("how", "workers"), [("dashboard", 1), ("api", 2)])
def test_a_trial_ended_by_hand_stops_and_the_search_goes_on(
    tiny: dict[str, Any],
    write_config: Callable[[Any], str],
    dashboard: Callable[..., int],
    tmp_path: Path,
    how: str,
    workers: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tune.study.leases.HEARTBEAT_S", 1.0)
    settings = {"study": "ended", "storage": str(tmp_path), "trials": 1, "workers": workers, "cpus_per_worker": 1}
    config = tiny | {"training": tiny["training"] | LONG, "search": tiny["search"] | settings}
    folder, ended = StudyFolder(tmp_path / "ended"), threading.Event()

    def end_by_hand() -> None:
        while not list(folder.path.glob("trials/0/attempt-1/checkpoint/epoch-*")):
            if ended.wait(0.1):
                return
        study = folder.load()
        if how == "api":
            study.tell(0, BETTER)
        else:
            dashboard(folder, "POST", f"/api/trials/{study.trials[0]._trial_id}/tell", {"state": "Fail"})

    thread = threading.Thread(target=end_by_hand)
    thread.start()
    try:
        code = search.run(["--config", write_config(config), "--log-json"])
    finally:
        ended.set()
        thread.join()
    assert code == 1  # no trial of the search has a model
    printed = capsys.readouterr()
    assert "no trial has completed" in printed.err
    events = [json.loads(line) for line in printed.out.splitlines()]
    epochs = [event["metrics"]["epoch"] for event in events if event["event"] == "epoch"]
    assert 1 <= max(epochs) < LONG["epochs"]
    [trial] = folder.load().trials
    assert trial.state == (TrialState.COMPLETE if how == "api" else TrialState.FAIL)


def test_a_study_deleted_while_it_is_searched_ends_the_search_with_one_message(
    tiny: dict[str, Any],
    write_config: Callable[[Any], str],
    dashboard: Callable[..., int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tune.study.leases.HEARTBEAT_S", 1.0)
    settings = {"study": "deleted", "storage": str(tmp_path), "trials": 2}
    config = tiny | {"training": tiny["training"] | LONG, "search": tiny["search"] | settings}
    folder, over = StudyFolder(tmp_path / "deleted"), threading.Event()

    def delete() -> None:
        while not list(folder.path.glob("trials/0/attempt-1/checkpoint/epoch-*")):
            if over.wait(0.1):
                return
        dashboard(folder, "DELETE", f"/api/studies/{folder.load()._study_id}", {})

    thread = threading.Thread(target=delete)
    thread.start()
    try:
        with pytest.raises(UserError, match="has deleted or renamed the study while it was searched"):
            search.run(["--config", write_config(config)])
    finally:
        over.set()
        thread.join()


def test_what_another_program_asks_for_is_left_alone(copied: StudyFolder, more: Callable[..., int]) -> None:
    asked = copied.load().ask()
    assert more(copied, 4) == 0
    trials: list[FrozenTrial] = copied.load().trials
    assert trials[asked.number].state == TrialState.RUNNING
    assert len(trials) == 5
