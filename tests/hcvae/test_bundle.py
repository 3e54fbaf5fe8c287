import dataclasses
import json
import math
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import hcvae
from hcvae.bundle import FORMAT_VERSION, Bundle, finite, load, save_bundle
from hcvae.config import Config
from hcvae.data.dataset import prepare
from hcvae.data.static import Seen
from hcvae.errors import UserError
from hcvae.generation import generate
from hcvae.models import build
from hcvae.training import train_bundle
from hcvae.training.diagnosis import Finding

CONFIG = Config.model_validate(
    {
        "model": {"width": 0.05, "global_latent_dim": 4, "local_latent_dim": 5},
        "data": {"simulator": {"rows": 1500}},
        "training": {"epochs": 2},
    }
)

FILES = ("model.safetensors", "config.json", "normalization.json", "metrics.json", "history.json")


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("training")
    train_bundle(CONFIG, prepare(CONFIG), folder)
    return folder / "bundle"


@pytest.fixture
def bundle(trained, tmp_path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "bundle"))


def edit(path: Path, change) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_a_bundle_is_six_files_without_pickle(bundle):
    assert {path.name for path in bundle.iterdir()} == {*FILES, "README.md"}
    config = json.loads((bundle / "config.json").read_text())
    assert config.pop("format_version") == FORMAT_VERSION
    assert config["model"]["static_dim"] == 7
    assert Config.model_validate(config).training == CONFIG.training


def test_both_ways_of_loading_give_the_same_model_in_eval_mode(bundle):
    loaded = hcvae.load(bundle)
    model = hcvae.HierarchicalCVAE.from_pretrained(bundle)
    assert isinstance(loaded, Bundle)
    assert not model.training
    assert not any(tensor.is_meta for tensor in model.state_dict().values())
    for name, tensor in load_file(bundle / "model.safetensors").items():
        assert torch.equal(tensor, model.state_dict()[name])
        assert torch.equal(tensor, loaded.model.state_dict()[name])


@pytest.mark.parametrize(
    "options",
    [
        {"intermediate_levels": 1},
        {"attention": True},
        {"local_segments": 5},
        {"intermediate_levels": 2, "attention": True, "local_segments": 5},
    ],
)
def test_every_option_of_the_model_survives_saving_and_loading(trained, tmp_path, options):
    plain = load(trained)
    config = plain.config.model_copy(update={"model": plain.config.model.model_copy(update=options)})
    model = build(config.model).eval()
    model.fit_generation(torch.randn(50, 200), torch.randn(50, 7))
    bundle = Bundle(model, config, plain.preprocessing, plain.metrics, plain.history)
    save_bundle(tmp_path / "bundle", bundle, "Split by subject.", ())
    loaded = load(tmp_path / "bundle")
    assert loaded.config == config
    assert not any(tensor.is_meta for tensor in (*loaded.model.parameters(), *loaded.model.buffers()))
    for seed in (0, 1):
        here, there = (
            m.sample(n_samples=3, generator=torch.Generator().manual_seed(seed), residual_noise=True)
            for m in (model, loaded.model)
        )
        assert all(torch.equal(here[name], there[name]) for name in here)
    assert generate(loaded, [{"stimulus_level_db": 60.0}], 4).num_rows == 4
    card = (tmp_path / "bundle" / "README.md").read_text()
    latents = {1: "4 global, 16 intermediate, 5 local", 2: "4 global, 32 intermediate, 5 local"}
    assert f"latents: {latents.get(options.get('intermediate_levels'), '4 global, 5 local')}" in card


def test_the_history_travels_with_the_bundle(trained, tmp_path):
    bundle = load(trained)
    state = json.loads(next(trained.parent.glob("checkpoint/epoch-*/state.json")).read_text())
    assert bundle.history == state["history"]
    assert [epoch["epoch"] for epoch in bundle.history] == [1, 2]
    broken = finite([{"epoch": 1, "validation_loss": math.nan, "train_loss": math.inf}])
    save_bundle(tmp_path / "bundle", dataclasses.replace(bundle, history=broken), "Split by subject.", ())
    assert load(tmp_path / "bundle").history == [{"epoch": 1, "validation_loss": None, "train_loss": None}]


def test_the_model_card_tells_the_troubles_of_the_training(trained, tmp_path):
    bundle = load(trained)
    save_bundle(tmp_path / "healthy", bundle, "Split by subject.", ())
    assert "## Diagnosis of the training\n\nnone\n" in (tmp_path / "healthy" / "README.md").read_text()
    findings = (Finding("collapse", "no unit of 4", "lower the weight"),)
    save_bundle(tmp_path / "troubled", bundle, "Split by subject.", findings)
    card = (tmp_path / "troubled" / "README.md").read_text()
    assert "## Diagnosis of the training\n\n- collapse: no unit of 4. Remedy: lower the weight.\n" in card


def test_a_history_that_is_none_is_refused(bundle):
    (bundle / "history.json").write_text('[{"epoch": "one"}]')
    with pytest.raises(UserError, match=r"history\.json: not a model bundle"):
        load(bundle)


def test_a_model_of_the_other_kind_is_refused(bundle):
    with pytest.raises(UserError, match="holds a HierarchicalCVAE, not a StandardCVAE"):
        hcvae.StandardCVAE.from_pretrained(bundle)


def test_the_model_card_tells_use_data_split_and_ranges(bundle):
    card = (bundle / "README.md").read_text()
    for words in ("Not for diagnosis", "simulator (1500 waveforms)", "Split by subject", "| sex | F, M |", "test"):
        assert words in card


def test_the_model_card_tells_licence_intended_use_and_intervals_of_the_test_part(bundle):
    card = (bundle / "README.md").read_text()
    for words in ("- Licence of the data: none needed for simulated waveforms", "## Intended use", "no recordings of"):
        assert words in card
    metrics = json.loads((bundle / "metrics.json").read_text())
    lower, test, upper = (metrics[part]["r2"] for part in ("test_lower", "test", "test_upper"))
    assert lower < test < upper
    assert f"{test:.4g} ({lower:.4g} to {upper:.4g})" in card
    assert "95 % bootstrap intervals" in card
    assert "disentanglement" not in metrics["test_lower"]


def test_a_model_card_without_intervals_licence_and_ranges_by_group_says_so(trained, tmp_path):
    plain = load(trained)
    older = dataclasses.replace(
        plain,
        config=plain.config.model_copy(update={"data": plain.config.data.model_copy(update={"licence": None})}),
        preprocessing=plain.preprocessing.model_copy(update={"seen": {}}),
        metrics={part: plain.metrics[part] for part in ("validation", "test")},
    )
    save_bundle(tmp_path / "bundle", older, "Split by subject.", ())
    card = (tmp_path / "bundle" / "README.md").read_text()
    for words in ("- Licence of the data: not stated", "Too few test subjects", "| stimulus_level_db | 10 to 90 |"):
        assert words in card


def test_the_model_card_tells_ranges_by_group(trained, tmp_path):
    plain = load(trained)
    ranges = plain.preprocessing.seen[""]
    quiet = ranges | {"stimulus_level_db": Seen(minimum=0, maximum=60), "sex": Seen(has_nulls=True)}
    scaling = plain.preprocessing.signal.model_copy(update={"group_by": "species"})
    grouped = plain.preprocessing.model_copy(update={"seen": {"human": quiet, "mouse": ranges}, "signal": scaling})
    save_bundle(tmp_path / "bundle", dataclasses.replace(plain, preprocessing=grouped), "Split by subject.", ())
    card = (tmp_path / "bundle" / "README.md").read_text()
    for line in (
        "| condition | trained on, species=human | trained on, species=mouse |",
        "| stimulus_level_db | 0 to 60 | 10 to 90 |",
        "| sex | null | F, M |",
    ):
        assert line in card


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(bundle, name):
    (bundle / name).unlink()
    with pytest.raises(UserError, match=name.replace(".", r"\.")):
        load(bundle)


@pytest.mark.parametrize("name", FILES)
def test_a_truncated_file_is_named(bundle, name):
    content = (bundle / name).read_bytes()
    (bundle / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=name.replace(".", r"\.")):
        load(bundle)


def test_another_format_version_is_refused_by_name(bundle):
    edit(bundle / "config.json", lambda config: config.update(format_version=99))
    with pytest.raises(UserError, match="format_version must be 1, but got 99"):
        load(bundle)


def test_unknown_keys_are_refused(bundle):
    edit(bundle / "config.json", lambda config: config["model"].update(widht=1))
    with pytest.raises(UserError, match="widht"):
        load(bundle)


def test_shapes_are_checked_before_memory_is_taken(bundle):
    # 4 times as wide would be gigabytes at latent dimensions of a billion: only their shapes are compared.
    edit(bundle / "config.json", lambda c: c["model"].update(global_latent_dim=10**9, local_latent_dim=10**9))
    with pytest.raises(UserError, match=r"model.safetensors: tensor .*: config.json asks for shape .*1000000000"):
        load(bundle)


def test_a_tensor_too_many_or_too_few_is_refused(bundle):
    tensors = load_file(bundle / "model.safetensors")
    save_file(tensors | {"extra": torch.zeros(1)}, bundle / "model.safetensors")
    with pytest.raises(UserError, match=r"tensor extra: config\.json asks for shape None"):
        load(bundle)
    name = sorted(tensors)[0]
    save_file({key: value for key, value in tensors.items() if key != name}, bundle / "model.safetensors")
    with pytest.raises(UserError, match=f"tensor {name}: .* but got None"):
        load(bundle)


def test_conditions_and_weights_must_agree(bundle):
    edit(bundle / "normalization.json", lambda content: content["static"]["columns"].pop())
    with pytest.raises(UserError, match=r"config.json says static_dim 7, normalization.json encodes 5"):
        load(bundle)
