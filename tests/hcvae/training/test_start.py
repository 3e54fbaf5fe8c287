import dataclasses
from pathlib import Path

import pytest
import torch

import hcvae
from hcvae.bundle import save_bundle
from hcvae.config import Config
from hcvae.data.dataset import Dataset, prepare
from hcvae.errors import UserError
from hcvae.training import fit, preflight, train_bundle

SMALL = {
    "model": {"width": 0.05, "global_latent_dim": 4, "local_latent_dim": 8},
    "data": {"simulator": {"rows": 1500}},
    "training": {"epochs": 2, "batch_size": 64, "early_stopping_patience": None},
}
STILL = {"epochs": 1, "learning_rate": 1e-12, "weight_decay": 0.0}
"""A training in which no weight moves."""


def config(section: str = "training", **values) -> Config:
    return Config.model_validate(SMALL | {section: SMALL.get(section, {}) | values})


@pytest.fixture(scope="module")
def data() -> Dataset:
    return prepare(config())


@pytest.fixture(scope="module")
def bundle(data, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("first")
    train_bundle(config(), data, folder)
    return folder / "bundle"


def test_a_training_starts_from_the_weights_of_a_bundle(data, bundle, tmp_path):
    started = fit(config(**STILL, start_from=str(bundle)), data, tmp_path / "fine").model
    anew = fit(config(**STILL), data, tmp_path / "anew").model
    weights = dict(hcvae.load(bundle).model.named_parameters())
    assert all(torch.allclose(weight, weights[name], atol=1e-6) for name, weight in started.named_parameters())
    assert not all(torch.allclose(weight, weights[name], atol=1e-3) for name, weight in anew.named_parameters())


def test_it_goes_on_from_its_own_checkpoint_and_not_from_the_bundle_again(data, bundle, tmp_path):
    chosen = config(epochs=4, start_from=str(bundle), checkpoint_every_epochs=1)
    whole = fit(chosen, data, tmp_path / "whole").model
    fit(chosen, data, tmp_path / "parts", lambda metrics: metrics["epoch"] < 2)
    parts = fit(chosen, data, tmp_path / "parts").model
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), parts.parameters(), strict=True))


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        ("model", {"width": 0.06}, r"has model.width 0.05, but this training has 0.06"),
        ("model", {"global_latent_dim": 5}, r"has model.global_latent_dim 4, but this training has 5"),
        ("data", {"static": ["stimulus_level_db"]}, r"has model.static_dim \d, but this training has 1"),
    ],
)
def test_a_bundle_of_another_network_is_refused_before_any_training(section, values, message, bundle):
    other = config(section, **values)
    other = other.model_copy(update={"training": config(start_from=str(bundle)).training})
    with pytest.raises(UserError, match="training.start_from: .*" + message):
        preflight(other, prepare(other))


def test_the_peak_head_of_an_older_bundle_starts_anew(data, bundle, tmp_path):
    """Its outputs were latencies in ms; now they are logits."""
    older = hcvae.load(bundle)
    model = older.config.model.model_copy(update={"peak_window_ms": None})
    older = dataclasses.replace(older, config=older.config.model_copy(update={"model": model}))
    with torch.no_grad():
        older.model.decoder.heads["predicted_peaks"][-1].bias += 1
    save_bundle(tmp_path / "older", older, "Split by subject.", ())
    started, anew = (
        dict(fit(config(**STILL, start_from=start), data, tmp_path / name).model.named_parameters())
        for name, start in (("fine", str(tmp_path / "older")), ("anew", None))
    )
    for name, weight in older.model.named_parameters():
        source = anew[name] if "predicted_peaks" in name else weight
        torch.testing.assert_close(started[name], source, atol=1e-6, rtol=0)


def test_a_network_of_other_dropout_has_the_same_weights(bundle):
    other = config("model", width=0.05, dropout=0.0)
    other = other.model_copy(update={"training": config(start_from=str(bundle)).training})
    preflight(other, prepare(other))


def test_a_missing_bundle_is_refused_before_any_training(data, tmp_path):
    with pytest.raises(UserError, match="nowhere"):
        preflight(config(start_from=str(tmp_path / "nowhere")), data)


def test_its_place_is_the_same_from_every_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert config(start_from="models/one").training.start_from == str(tmp_path / "models" / "one")
    assert config(start_from="s3://models/one").training.start_from == "s3://models/one"
