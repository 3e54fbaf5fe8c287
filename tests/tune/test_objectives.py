"""Objectives by choice: names and full definitions, three at once, one's own, and studies that keep theirs."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
import pytest
from optuna._hypervolume.wfg import compute_hypervolume
from pydantic import ValidationError

from hcvae.errors import UserError
from hcvae.metrics import registered
from hcvae.metrics.registered import register_metric
from hcvae.training.evaluation import EvaluationPart
from tests.fixtures.running_search import RunningSearch
from tests.fixtures.studies import SmallSearch
from tune.config import SearchConfig, SearchSettings
from tune.constraints import Constraint
from tune.objectives import KNOWN, SPECIFIED, Objective, Objectives, directions_of, names_of
from tune.report.html import html_report
from tune.report.results import SearchResult
from tune.search import plan_search, run_search
from tune.study.folder import StudyFolder
from tune.study.pareto import Compromise, compromise, fronts, hypervolume, pareto_front

if TYPE_CHECKING:
    from playwright.sync_api import Browser

COST = Objective(name="cost", direction="minimize", reference=50, ideal=10)
THREE: Objectives = (*SPECIFIED, COST)


def random_points(seed: int, objectives: Objectives, n: int = 50) -> dict[int, tuple[float, ...]]:
    """Points within the reference point and beyond it, rounded, so that some are equal."""
    losses = np.random.default_rng(seed).uniform(-0.1, 1.2, (n, len(objectives))).round(1)
    scales = [(objective.ideal, objective.reference - objective.ideal) for objective in objectives]
    return {
        number: tuple(float(ideal + loss * scale) for loss, (ideal, scale) in zip(row, scales, strict=True))
        for number, row in enumerate(losses)
    }


@pytest.mark.parametrize("seed", range(5))
def test_the_front_and_the_hypervolume_of_three_objectives_are_those_of_optuna(seed: int) -> None:
    points = random_points(seed, THREE)
    study = optuna.create_study(directions=directions_of(THREE))
    for point in points.values():
        study.add_trial(optuna.trial.create_trial(values=point))
    assert sorted(pareto_front(points, THREE)) == sorted(trial.number for trial in study.best_trials)
    losses = np.array([[o.loss(value) for o, value in zip(THREE, point, strict=True)] for point in points.values()])
    within = losses[(losses < 1).all(axis=1)]
    assert hypervolume(points, THREE) == pytest.approx(compute_hypervolume(within, np.ones(3)))


def test_later_fronts_of_three_objectives_are_those_of_the_rest() -> None:
    points = random_points(7, THREE)
    for front in fronts(points, THREE):
        assert front == pareto_front(points, THREE)
        points = {number: point for number, point in points.items() if number not in front}
    assert points == {}


def test_of_three_objectives_the_compromise_is_nearest_to_the_ideal() -> None:
    # Losses (0.1, 0.1, 0.9), (0.3, 0.3, 0.3) and (0.9, 0.1, 0.1): the distances are 0.91, 0.52 and 0.91.
    points = {4: (0.1, 0.9, 46.0), 5: (0.3, 0.7, 22.0), 6: (0.9, 0.9, 14.0)}
    assert compromise(points, THREE) == Compromise(5, "compromise")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["reconstruction_nmse"], "at least 2"),
        (["reconstruction_nmse", "disentanglement", "reconstruction_nmse"], "named once, but got reconstruction_nmse"),
        (["reconstruction_nmse", "disentangelment"], "did you mean 'disentanglement'"),
        (["reconstruction_nmse", "global_kl"], "'global_kl' has no direction and scale of its own"),
        (["r2", {"name": "a", "direction": "minimize", "reference": 0, "ideal": 1}], "ideal must be better"),
        (["r2", {"name": "a b", "direction": "minimize", "reference": 1, "ideal": 0}], "pattern"),
        (["r2", {"name": "a", "direction": "down", "reference": 1, "ideal": 0}], "'minimize' or 'maximize'"),
    ],
)
def test_objectives_that_cannot_be_are_refused(given: list[Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SearchSettings.model_validate({"objectives": given})


def test_a_name_stands_for_a_known_objective_and_is_recorded_as_such() -> None:
    settings = SearchSettings.model_validate({"objectives": ["denoised_nmse", COST.model_dump()]})
    assert settings.compared_by == (KNOWN["denoised_nmse"], COST)
    assert settings.model_dump(mode="json")["objectives"] == ["denoised_nmse", COST.model_dump()]
    assert SearchSettings.model_validate_json(settings.model_dump_json()) == settings


def test_a_search_compares_by_the_error_without_noise_where_it_can_be_measured(small_search: SmallSearch) -> None:
    assert "Objectives: denoised_nmse (lower is better), disentanglement" in plan_search(small_search(objectives=None))
    alone = small_search(objectives=None).model_dump(mode="json")
    alone["data"]["average_columns"] = ["record_id"]
    plan = plan_search(SearchConfig.model_validate(alone))
    assert "Objectives: reconstruction_nmse (lower is better), disentanglement" in plan
    assert "denoised_nmse, the error without the noise of the recordings, cannot be measured" in plan


@pytest.mark.parametrize(
    ("objectives", "message"),
    [
        (["reconstruction_nmse", "impossible_peaks"], "impossible_peaks cannot be measured on the validation part"),
        (
            ["r2", {"name": "best_epoch", "direction": "minimize", "reference": 9, "ideal": 0}],
            "best_epoch cannot be measured",
        ),
    ],
)
def test_objectives_that_are_not_measured_are_refused_before_any_trial(
    small_search: SmallSearch, objectives: list[Any], message: str
) -> None:
    config = small_search(objectives=objectives)
    config = config.model_copy(update={"model": config.model.model_copy(update={"predict_peaks": False})})
    with pytest.raises(UserError, match=message):
        plan_search(config)


@pytest.fixture
def own_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """No registered metrics, also after the test."""
    monkeypatch.setattr(registered, "_METRICS", {})


def largest_error_uv(model: Any, rows: EvaluationPart) -> float:
    """An objective of one's own: the largest error of a decoded waveform in uV."""
    tensors = rows.tensors
    posterior = model.encode(tensors.signals, tensors.static)
    decoded = model.decode(posterior["mu_global"], posterior["mu_local"], tensors.static)["recon_signal"]
    return float(np.abs(rows.in_uv(decoded.numpy()) - rows.in_uv(tensors.signals.numpy())).max())


def test_a_search_by_three_objectives_one_of_them_ones_own(
    small_search: SmallSearch, cluster: None, own_metrics: None
) -> None:
    own = {"name": "largest_error_uv", "direction": "minimize", "reference": 10, "ideal": 0}
    settings: dict[str, Any] = {"trials": 3, "objectives": ["denoised_nmse", "parameters", own]}
    register_metric("largest_error_uv", largest_error_uv)
    config = small_search(training={"epochs": 3}, **settings)
    result = run_search(config)
    assert names_of(result.objectives) == ("denoised_nmse", "parameters", "largest_error_uv")
    chosen = result.compromise()
    assert chosen.number in {trial.number for trial in result.pareto}
    bundle = result.load(chosen)
    values = chosen.objectives
    assert values["parameters"] == sum(parameter.numel() for parameter in bundle.model.parameters())
    assert bundle.metrics["validation"]["largest_error_uv"] == values["largest_error_uv"] > 0
    assert bundle.metrics["validation"]["denoised_nmse"] == values["denoised_nmse"]
    assert result.best("parameters").objectives["parameters"] == min(
        trial.objectives["parameters"] or np.inf for trial in result.trials
    )
    folder = StudyFolder(result.folder)
    pareto = json.loads(folder.pareto.read_text())
    assert pareto["objectives"] == {
        "denoised_nmse": "minimize",
        "parameters": "minimize",
        "largest_error_uv": "minimize",
    }
    assert pareto["reference_point"] == [1, 2e7, 10]
    assert folder.load().metric_names == ["denoised_nmse", "parameters", "largest_error_uv"]
    page = html_report(folder)
    for words in (
        "minimize denoised_nmse",
        "largest_error_uv (lower is better)",
        "parameters (lower is better)",
        '<th scope="row">largest_error_uv</th>',
    ):
        assert words in page
    assert result.objectives == run_search(small_search(training={"epochs": 3}, trials=3, objectives=None)).objectives


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"name": "parameters"}, "minimum or maximum must be given"),
        ({"name": "parameters", "minimum": 3, "maximum": 2}, "minimum <= maximum must hold"),
        ({"name": "parameters", "below": 3}, "below"),
    ],
)
def test_constraints_that_cannot_be_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SearchSettings.model_validate({"constraints": [given]})


@pytest.mark.parametrize(
    ("bounds", "violated"),
    [({"minimum": 2}, 1.0), ({"minimum": 1}, 0.0), ({"maximum": 0.5}, 0.5), ({"minimum": 0, "maximum": 4}, -1.0)],
)
def test_a_violation_is_the_distance_beyond_a_bound(bounds: dict[str, float], violated: float) -> None:
    assert Constraint.model_validate({"name": "a", **bounds}).violation(1.0) == violated


def test_an_infeasible_trial_is_complete_and_not_on_the_front(small_search: SmallSearch, cluster: None) -> None:
    """The second trial has a larger local latent, and so more parameters, than the bound between the two."""
    dims = {"model.local_latent_dim": {"type": "int", "low": 32, "high": 64}}
    settings: dict[str, Any] = {"space": dims, "first_trials": [{name: value} for name in dims for value in (32, 64)]}
    free = run_search(small_search(study="free", trials=2, objectives=["r2", "parameters"], **settings))
    small, large = (trial.objectives["parameters"] or 0.0 for trial in free.trials)
    assert small < large
    bound = (small + large) / 2
    bounds = [{"name": "parameters", "maximum": bound}, {"name": "global_active_units", "minimum": 0}]
    config = small_search(trials=2, constraints=bounds, **settings)
    assert f"Constraints: parameters <= {bound:g}, global_active_units >= 0" in plan_search(config)
    result = run_search(config)
    assert [trial.state for trial in result.trials] == ["complete"] * 2
    feasible, infeasible = result.trials
    assert [trial.number for trial in result.pareto] == [feasible.number]
    assert infeasible.point is None
    assert infeasible.infeasible == f"infeasible: beyond search.constraints: parameters by {large - bound:,g}"
    folder = StudyFolder(result.folder)
    assert folder.best.listdir() == [f"trial-{feasible.number}"]
    assert not (folder.attempt(infeasible.number, 1) / "bundle").is_complete()
    with pytest.raises(UserError, match=r"has no model: infeasible: beyond search\.constraints: parameters"):
        result.bundle(infeasible.number)
    recorded = folder.load().trials
    assert recorded[0].constraints["parameters"] == small - bound < 0
    assert recorded[1].constraints["parameters"] == large - bound
    assert [trial.number for trial in folder.load().best_trials] == [feasible.number]
    page = html_report(folder)
    assert "parameters by" in page
    assert '"name":"infeasible"' in page
    with pytest.raises(UserError, match=r"search\.constraints"):
        run_search(small_search(trials=3, **settings))


def test_a_constraint_on_what_is_not_measured_is_refused(small_search: SmallSearch) -> None:
    config = small_search(constraints=[{"name": "parametres", "maximum": 1}])
    with pytest.raises(UserError, match=r"search\.constraints: parametres cannot be measured .*; did you mean"):
        plan_search(config)


PROGRAM = """
import sys

from hcvae.metrics.registered import register_metric
from jobs import search


def largest_output(model, rows):
    posterior = model.encode(rows.tensors.signals, rows.tensors.static)
    decoded = model.decode(posterior["mu_global"], posterior["mu_local"], rows.tensors.static)
    return float(decoded["recon_signal"].abs().max())


register_metric("largest_output", largest_output)
sys.exit(search.run(sys.argv[1:]))
"""


@pytest.mark.services
def test_a_search_by_three_objectives_with_a_constraint_continues_after_a_kill(
    small_search: SmallSearch, tmp_path: Path, browser: "Browser"
) -> None:
    own = {"name": "largest_output", "direction": "minimize", "reference": 100, "ideal": 0}
    training = {"epochs": 4, "checkpoint_every_epochs": 1, "early_stopping_patience": None}
    config = small_search(
        training,
        trials=3,
        max_concurrent=1,
        objectives=["denoised_nmse", "disentanglement", own],
        constraints=[{"name": "global_active_units", "minimum": 0}],
    )
    file = tmp_path / "search.json"
    file.write_text(config.model_dump_json())
    search = RunningSearch(file, ("-c", PROGRAM))
    search.wait_for_epochs(6)
    search.kill(with_ray=True)
    again = RunningSearch(file, ("-c", PROGRAM))
    first_epochs = again.first_epochs()
    assert again.process.wait() == 0
    assert 0 not in first_epochs  # it had ended
    result = SearchResult.open(tmp_path / "small")
    assert names_of(result.objectives) == ("denoised_nmse", "disentanglement", "largest_output")
    assert [trial.state for trial in result.trials] == ["complete"] * 3
    for trial in result.trials:
        assert trial.point is not None
    for trial in result.pareto:
        validation = result.load(trial).metrics["validation"]
        assert tuple(validation[name] for name in names_of(result.objectives)) == trial.point
    recorded = StudyFolder(result.folder).load().trials
    assert all(trial.constraints.keys() == {"global_active_units"} for trial in recorded)
    report = tmp_path / "report.html"
    report.write_text(html_report(StudyFolder(result.folder)))
    page = browser.new_page()
    page.goto(f"file://{report}")
    shown = page.inner_text("#pareto")
    for label in ("denoised_nmse (lower is better)", "disentanglement (higher", "largest_output (lower is better)"):
        assert label in shown


def test_a_study_keeps_its_objectives(small_search: SmallSearch, cluster: None) -> None:
    run_search(small_search(trials=1, objectives=["r2", "disentanglement"]))
    for allow_change in (False, True):
        with pytest.raises(UserError, match=r"compares its trials by \['r2', 'disentanglement'\], and values of other"):
            run_search(small_search(trials=2, objectives=["correlation", "disentanglement"]), allow_change=allow_change)
    result = run_search(small_search(trials=2, objectives=None))
    assert names_of(result.objectives) == ("r2", "disentanglement")
    assert [trial.state for trial in result.trials] == ["complete"] * 2


def test_a_metric_of_ones_own_that_raises_is_named(small_search: SmallSearch, own_metrics: None) -> None:
    register_metric("broken", lambda model, rows: 1 / 0)
    with pytest.raises(UserError, match="metric 'broken' of your own: ZeroDivisionError: division by zero"):
        plan_search(small_search())


def test_a_metric_of_ones_own_does_not_replace_another(small_search: SmallSearch, own_metrics: None) -> None:
    register_metric("r2", largest_error_uv)
    with pytest.raises(UserError, match="register_metric: r2 is measured already; choose another name"):
        plan_search(small_search())
    with pytest.raises(UserError, match="letters, digits and '_' only, but got 'a b'"):
        register_metric("a b", largest_error_uv)
