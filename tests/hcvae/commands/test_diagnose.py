import dataclasses
import json
from pathlib import Path

import pytest

from hcvae import cli
from hcvae.bundle import Bundle, load, save_bundle
from hcvae.config import Config
from hcvae.data.dataset import prepare
from hcvae.training import train_bundle
from hcvae.training.diagnosis import TROUBLES

CONFIG = Config.model_validate(
    {
        "model": {"width": 0.05, "global_latent_dim": 4, "local_latent_dim": 8},
        "data": {"simulator": {"rows": 1500}},
        "training": {"epochs": 1},
    }
)
WAVES = ("I", "III", "V")


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Bundle:
    folder = tmp_path_factory.mktemp("diagnose")
    train_bundle(CONFIG, prepare(CONFIG), folder)
    return load(folder / "bundle")


def bundle_of(folder: Path, trained: Bundle, **metrics: float) -> str:
    """A bundle of 20 epochs that stopped after one, which had these metrics."""
    figures = {"global_active_units": 4, "local_active_units": 8, **metrics}
    peaks = {f"generated_peak_distance_ms_{wave}": 0.05 for wave in WAVES}
    good = {"reconstruction_nmse": 0.2}
    measured = trained.metrics | {"validation": trained.metrics["validation"] | peaks | good}
    longer = trained.config.training.model_copy(update={"epochs": 20, "early_stopping_patience": 1})
    bundle = dataclasses.replace(
        trained,
        config=trained.config.model_copy(update={"training": longer}),
        history=[trained.history[0] | figures | good],
        metrics=measured,
    )
    save_bundle(folder, bundle, "Split by subject.", ())
    return str(folder)


@pytest.fixture
def troubled(trained, tmp_path) -> str:
    return bundle_of(tmp_path / "troubled", trained, disentanglement=0.12)


@pytest.fixture
def healthy(trained, tmp_path) -> str:
    return bundle_of(tmp_path / "healthy", trained, disentanglement=0.9)


def test_problems_are_shown_with_evidence_and_remedy_and_exit_code_1(troubled, capsys):
    assert cli.run(["diagnose", troubled]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("healthy: no poor reconstruction: reconstruction_nmse 0.2000 ")
    assert said[1].startswith("poor disentanglement: disentanglement 0.12 in epoch 1 ")
    assert said[2].startswith("  remedy: ")
    assert "--training.loss_weights.global_kl (now 0.003)" in said[2]
    assert [line.split(": ")[:2] for line in said[3:]] == [
        ["healthy", "no training instability"],
        ["healthy", "no collapse"],
        ["healthy", "no misplaced peaks"],
    ]
    assert "KL balance" in said[4]


def test_a_healthy_training_exits_with_0_and_lists_the_checks(healthy, capsys):
    assert cli.run(["diagnose", healthy]) == 0
    said = capsys.readouterr().out
    assert said.count("healthy: no ") == 5
    assert "disentanglement 0.90" in said


def test_a_check_that_was_impossible_is_not_called_healthy(trained, tmp_path, capsys):
    assert cli.run(["diagnose", bundle_of(tmp_path / "unfinished", trained, phase=2)]) == 0
    assert capsys.readouterr().out.count("not checked: ") == 2


def test_json_has_findings_and_figures(troubled, healthy, capsys):
    assert cli.run(["diagnose", troubled, "--json"]) == 1
    content = json.loads(capsys.readouterr().out)
    (finding,) = content["findings"]
    assert finding.keys() == {"trouble", "evidence", "remedy"}
    assert finding["trouble"] == "poor disentanglement"
    assert content["figures"]["poor disentanglement"] == finding["evidence"]
    assert content["figures"].keys() == set(TROUBLES)
    assert cli.run(["diagnose", healthy, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["findings"] == []


def test_help_has_the_exit_codes_and_examples(capsys):
    with pytest.raises(SystemExit):
        cli.run(["diagnose", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "0 without problems, 1 with problems, 2 on bad input" in said
    assert "hcvae diagnose results/model" in said.split("examples:")[1]
