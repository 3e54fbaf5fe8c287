import dataclasses
import json
from pathlib import Path

import pytest
from optuna.trial import TrialState
from rich.console import Console

from hcvae.bundle import Bundle, save_bundle
from hcvae.config import Config
from hcvae.data.dataset import prepare
from hcvae.errors import UserError
from hcvae.models import build
from tests.fixtures.studies import OpenedStudy
from tune.objectives import SPECIFIED, names_of
from tune.report.results import SearchResult, front_warning
from tune.study.folder import StudyFolder
from tune.study.leases import LEASE, Leases
from tune.study.pareto import hypervolume
from tune.study.pareto_archive import ParetoArchive
from tune.study.trial_identity import TrialIdentity, read_identity


def finish(opened: OpenedStudy, front: ParetoArchive | None, values: tuple[float, float] | None) -> int:
    """End a trial as a worker and the searcher would."""
    folder, study = opened
    trial, leases = study.ask(), Leases(study)
    claim = leases.acquire(trial, 0, adopted=False)
    drawn = trial.suggest_int("model.global_latent_dim", 16, 64)
    identity = TrialIdentity(
        study=claim.study, trial=claim.trial, number=trial.number, params={"model.global_latent_dim": drawn}
    )
    identity.write(folder.attempt(trial.number, 1))
    for part in ("checkpoint", "bundle", "tensorboard"):
        (folder.attempt(trial.number, 1).path / part).mkdir(parents=True)
    (folder.attempt(trial.number, 1).path / "bundle" / "model.safetensors").write_text(str(values))
    if values is None:
        trial.set_user_attr("failure", "TrainingDiverged: loss is nan")
        frozen = study.tell(trial, state=TrialState.FAIL)
    else:
        trial.set_user_attr("best_epoch", 2)
        troubles = ["poor disentanglement"] if values[1] < 0.3 else []
        trial.set_user_attr("diagnosis", [{"trouble": name, "evidence": "", "remedy": ""} for name in troubles])
        identity.model_copy(update={"values": values}).write(folder.attempt(trial.number, 1) / "bundle")
        leases.record_values(trial, values)
        frozen = study.tell(trial, values)
    if front is not None:
        front.add(front.summarize(frozen))
    return trial.number


def parts_of(folder: StudyFolder, number: int) -> set[str]:
    return {part.name for part in folder.attempt(number, 1).path.iterdir()} - {"trial.json"}


def exported(folder: StudyFolder) -> set[str]:
    return {bundle.name for bundle in folder.best.path.iterdir()}


def test_the_models_of_the_front_are_exported_after_each_trial(opened: OpenedStudy) -> None:
    folder, study = opened
    front = ParetoArchive.open(folder, study, SPECIFIED)
    finish(opened, front, (0.5, 0.1))
    assert exported(folder) == {"trial-0"}
    finish(opened, front, (0.6, 0.3))
    assert exported(folder) == {"trial-0", "trial-1"}
    assert parts_of(folder, 1) == {"checkpoint", "tensorboard"}


def test_a_model_that_is_dominated_later_is_deleted(opened: OpenedStudy) -> None:
    folder, study = opened
    front = ParetoArchive.open(folder, study, SPECIFIED)
    for values in ((0.5, 0.1), (0.6, 0.3), (0.4, 0.2)):
        finish(opened, front, values)
    assert exported(folder) == {"trial-1", "trial-2"}
    assert (folder.exported(2) / "model.safetensors").read_text() == "(0.4, 0.2)"
    assert parts_of(folder, 0) == {"tensorboard"}


@pytest.mark.parametrize("values", [(0.7, 0.2), None])
def test_a_dominated_or_failed_trial_keeps_no_model(opened: OpenedStudy, values: tuple[float, float] | None) -> None:
    folder, study = opened
    front = ParetoArchive.open(folder, study, SPECIFIED)
    finish(opened, front, (0.6, 0.3))
    number = finish(opened, front, values)
    assert exported(folder) == {"trial-0"}
    assert parts_of(folder, number) == {"tensorboard"}


def test_the_front_is_written_as_a_file(opened: OpenedStudy) -> None:
    folder, study = opened
    front = ParetoArchive.open(folder, study, SPECIFIED)
    for values in ((0.5, 0.1), (0.6, 0.3), (0.4, 0.2), (0.7, 0.2), None):
        finish(opened, front, values)
    content = json.loads(folder.pareto.read_text())
    assert content["objectives"] == {"reconstruction_nmse": "minimize", "disentanglement": "maximize"}
    assert [trial["number"] for trial in content["trials"]] == [2, 1]
    assert [trial["troubles"] for trial in content["trials"]] == [["poor disentanglement"], []]
    assert content["trials"][0]["params"].keys() == {"model.global_latent_dim"}
    assert content["hypervolume"] == pytest.approx(0.6 * 0.2 + 0.4 * 0.1)
    assert (content["knee"], content["compromise"]) == (None, 2)


def test_what_an_interruption_left_undone_is_done_at_the_next_start(opened: OpenedStudy) -> None:
    folder, study = opened
    for values in ((0.5, 0.1), (0.4, 0.2), None):
        finish(opened, None, values)  # told to the study, and then the process died
    ParetoArchive.open(folder, study, SPECIFIED)
    assert exported(folder) == {"trial-1"}
    assert parts_of(folder, 0) == parts_of(folder, 2) == {"tensorboard"}
    assert [trial["number"] for trial in json.loads(folder.pareto.read_text())["trials"]] == [1]


def test_models_of_an_earlier_version_are_recognised_by_their_objectives(opened: OpenedStudy) -> None:
    """They have no identity, and the study recorded the objectives in the metrics of the best epoch only."""
    folder, study = opened
    for number, values in enumerate([(0.5, 0.1), (0.4, 0.2), (0.6, 0.3)]):
        trial = study.ask()
        study._storage.set_trial_system_attr(trial._trial_id, LEASE, {"attempt": 1})
        trial.set_user_attr("metrics", dict(zip(names_of(SPECIFIED), values, strict=True)))
        bundle = folder.attempt(number, 1) / "bundle" if number else folder.exported(0)
        metrics = {"validation": dict(zip(names_of(SPECIFIED), values, strict=True)), "test": {}}
        (bundle / "metrics.json").write(json.dumps(metrics).encode())
        study.tell(trial, values)
    ParetoArchive.open(folder, study, SPECIFIED)
    assert exported(folder) == {"trial-1", "trial-2"}
    result = SearchResult.open(folder.path)
    assert [trial.number for trial in result.pareto] == [1, 2]
    assert {number: place.name for number, place in result.models.items()} == {1: "trial-1", 2: "trial-2"}
    folder.exported(1).path.rename(folder.best.path / "aside")
    folder.exported(2).path.rename(folder.exported(1).path)
    assert SearchResult.open(folder.path).bundle(2).name == "trial-1"


def test_only_a_model_that_is_there_lets_another_be_deleted(opened: OpenedStudy) -> None:
    folder, study = opened
    front = ParetoArchive.open(folder, study, SPECIFIED)
    finish(opened, front, (0.4, 0.4))
    folder.exported(0).remove()  # by hand
    finish(opened, front, (0.5, 0.3))
    finish(opened, front, (0.6, 0.2))
    assert exported(folder) == {"trial-1"}
    assert json.loads(folder.pareto.read_text())["models"] == {"1": "best/trial-1"}
    assert [trial.number for trial in SearchResult.open(folder.path).pareto] == [0]


def test_a_running_trial_is_not_touched(opened: OpenedStudy) -> None:
    folder, study = opened
    number = study.ask().number
    (folder.attempt(number, 1).path / "checkpoint").mkdir(parents=True)
    front = ParetoArchive.open(folder, study, SPECIFIED)
    finish(opened, front, (0.5, 0.1))
    assert parts_of(folder, number) == {"checkpoint"}


@pytest.fixture
def result(opened: OpenedStudy) -> SearchResult:
    front = ParetoArchive.open(*opened, SPECIFIED)
    for values in ((0.1, 0.1), None, (0.2, 0.6), (0.3, 0.5), (0.5, 0.7)):
        finish(opened, front, values)
    opened[1].ask()
    return SearchResult.open(opened[0].path)


def test_the_model_of_a_trial_is_loaded(result: SearchResult) -> None:
    """By number, or by the trial itself."""
    kept = result.bundle(2)
    config = Config.model_validate({"model": {"width": 0.02, "static_dim": 7}})
    data = prepare(Config.model_validate({"data": {"simulator": {"rows": 600}}}))
    metrics = {"validation": {"disentanglement": 0.6}, "test": {}}
    bundle = Bundle(build(config.model), config, data.preprocessing, metrics, [])
    identity = read_identity(kept)
    save_bundle(kept.path, bundle, "", [])
    assert identity is not None
    identity.write(kept)
    for trial in (2, result.trial(2), result.compromise()):
        assert result.load(trial).metrics == bundle.metrics
    with pytest.raises(UserError, match="has no model"):
        result.load(3)


def test_the_front_and_the_knee_are_the_choices_of_a_result(result: SearchResult) -> None:
    assert [trial.number for trial in result.pareto] == [0, 2, 4]
    assert result.compromise().number == 2
    assert result.choice == (2, "knee")
    assert (result.bundle(2) / "model.safetensors").is_file()


def test_the_best_in_one_objective_is_an_alternative(result: SearchResult) -> None:
    alternatives = {name: trial.number for name, trial in result.alternatives().items()}
    assert alternatives == {"reconstruction_nmse": 0, "disentanglement": 4}
    assert result.best("reconstruction_nmse").number == 0
    assert result.best("disentanglement").number == 4


def test_a_result_has_the_states_of_all_trials(result: SearchResult) -> None:
    states = [trial.state for trial in result.trials]
    assert states == ["complete", "fail", "complete", "complete", "complete", "running"]
    assert result.trial(1).failure == "TrainingDiverged: loss is nan"


def test_what_is_not_there_is_refused(result: SearchResult) -> None:
    with pytest.raises(UserError, match=r"trial 3 \(complete\).* bundles are kept for the Pareto front \(0, 2, 4\)"):
        result.bundle(3)
    with pytest.raises(UserError, match="numbered 0 to 5, but got 17"):
        result.trial(17)
    with pytest.raises(UserError, match="but got 'r2'"):
        result.best("r2")


def test_rows_deleted_from_the_database_leave_gaps(result: SearchResult) -> None:
    left = dataclasses.replace(result, trials=result.trials[:1] + result.trials[2:])
    assert left.trial(2) == result.trial(2)
    assert [trial.number for trial in left.pareto] == [0, 2, 4]
    assert left.compromise().number == 2
    assert left.bundle(2) == result.bundle(2)
    with pytest.raises(UserError, match="numbered 0 to 5, with gaps, but got 1"):
        left.trial(1)


def test_an_empty_study_has_no_compromise(opened: OpenedStudy) -> None:
    result = SearchResult.open(opened[0].path)
    assert result.pareto == ()
    with pytest.raises(UserError, match="no trial has completed"):
        result.compromise()
    with pytest.raises(UserError, match="no trial has completed"):
        result.best("disentanglement")


def test_data_frame_has_a_row_a_trial(result: SearchResult) -> None:
    frame = result.to_pandas()
    assert list(frame.index) == [0, 1, 2, 3, 4, 5]
    assert frame.loc[2, "disentanglement"] == 0.6
    assert frame["reconstruction_nmse"].isna().tolist() == [False, True, False, False, False, True]
    assert frame["model.global_latent_dim"].dropna().between(16, 64).all()


def test_table_shows_both_objectives_and_the_knee(result: SearchResult) -> None:
    console = Console(width=100, record=True)
    console.print(result.table())
    text = console.export_text()
    assert "2 *" in text
    assert "0.2000" in text
    assert "0.6000" in text
    assert "reconstruction_" in text
    assert f"{result.hypervolume:.4f}" in text


def test_a_folder_without_a_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no study here"):
        SearchResult.open(tmp_path)


def test_a_result_and_a_trial_are_one_line(result: SearchResult) -> None:
    line = repr(result)
    assert line.startswith(f"SearchResult(folder={str(result.folder)[:80]}")
    assert "4 complete, 1 fail, 1 running" in line
    assert "front=0, 2, 4" in line
    trial = repr(result.trial(2))
    assert trial.startswith("TrialSummary(number=2, state=complete, reconstruction_nmse=0.2, disentanglement=0.6, ")
    assert "model.global_latent_dim=" in trial
    assert "failure=TrainingDiverged: loss is nan" in repr(result.trial(1))
    assert max(map(len, map(repr, (result, *result.trials)))) < 400
    assert "<table>" in result._repr_html_()


@pytest.mark.parametrize(
    ("front", "said"),
    [
        ([], None),
        ([(0.9, 0.1)], None),
        ([(1.2, 0.5), (0.9, 0.1)], None),
        ([(1.0001, 0.0)], "reference: reconstruction_nmse 1.0001 (1), disentanglement 0.0000 (0)"),
        ([(1.2, 0.5)], "reference: reconstruction_nmse 1.2000 (1), disentanglement 0.5000 (0)"),
        ([(0.5, -0.1)], "reference: reconstruction_nmse 0.5000 (1), disentanglement -0.1000 (0)"),
        ([(0.5, -0.1), (1.1, 0.2)], "reference: reconstruction_nmse 0.5000 (1), disentanglement 0.2000 (0)"),
    ],
)
def test_a_front_without_hypervolume_has_a_warning(front, said):
    warning = front_warning(front, SPECIFIED)
    assert (hypervolume(dict(enumerate(front)), SPECIFIED) == 0) == (said is not None or not front)
    if said is None:
        assert warning == ()
    else:
        assert said in warning[0]
        assert warning[1].startswith("  what to do: ")
