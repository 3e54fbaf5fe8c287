import dataclasses
import hashlib
import json
import math
import os
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import hcvae
from hcvae.bundle import FORMAT_VERSION, Bundle, load, nonfinite_to_none, save_bundle
from hcvae.config import Config
from hcvae.data.dataset import prepare
from hcvae.data.static import ValueRange
from hcvae.errors import UserError
from hcvae.finding import Finding
from hcvae.generation import generate
from hcvae.models import build
from hcvae.training import train_bundle

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
    assert config.pop("hcvae_version") == hcvae.__version__
    assert config.pop("weights_sha256") == hashlib.sha256((bundle / "model.safetensors").read_bytes()).hexdigest()
    assert config["model"]["static_dim"] == 7
    assert config["training"].pop("precision") in ("fp32", "tf32", "bf16")  # not "auto", but what was used
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


def test_the_history_is_saved_with_the_bundle(trained, tmp_path):
    bundle = load(trained)
    state = json.loads(next(trained.parent.glob("checkpoint/epoch-*/state.json")).read_text())
    assert bundle.history == state["history"]
    assert [epoch["epoch"] for epoch in bundle.history] == [1, 2]
    broken = nonfinite_to_none([{"epoch": 1, "validation_loss": math.nan, "train_loss": math.inf}])
    save_bundle(tmp_path / "bundle", dataclasses.replace(bundle, history=broken), "Split by subject.", ())
    assert load(tmp_path / "bundle").history == [{"epoch": 1, "validation_loss": None, "train_loss": None}]


def test_the_model_card_lists_problems_of_the_training(trained, tmp_path):
    bundle = load(trained)
    save_bundle(tmp_path / "healthy", bundle, "Split by subject.", ())
    assert "## Diagnosis of the training\n\nnone\n" in (tmp_path / "healthy" / "README.md").read_text()
    findings = (Finding("collapse", "no unit of 4", "lower the weight"),)
    save_bundle(tmp_path / "troubled", bundle, "Split by subject.", findings)
    card = (tmp_path / "troubled" / "README.md").read_text()
    assert "## Diagnosis of the training\n\n- collapse: no unit of 4. Remedy: lower the weight.\n" in card


def test_an_invalid_history_is_refused(bundle):
    (bundle / "history.json").write_text('[{"epoch": "one"}]')
    with pytest.raises(UserError, match=r"history\.json: not a model bundle"):
        load(bundle)


def test_a_model_of_the_other_type_is_refused(bundle):
    with pytest.raises(UserError, match="contains a HierarchicalCVAE, not a StandardCVAE"):
        hcvae.StandardCVAE.from_pretrained(bundle)


def test_the_model_card_has_use_data_split_and_ranges(bundle):
    card = (bundle / "README.md").read_text()
    for words in ("Not for diagnosis", "simulator (1500 waveforms)", "Split by subject", "| sex | F, M |", "test"):
        assert words in card


def test_the_model_card_has_licence_intended_use_and_intervals_of_the_test_part(bundle):
    card = (bundle / "README.md").read_text()
    for words in (
        "- Licence of the data: none needed for simulated waveforms",
        "## Intended use",
        "not recordings of a",
    ):
        assert words in card
    metrics = json.loads((bundle / "metrics.json").read_text())
    lower, test, upper = (metrics[part]["r2"] for part in ("test_lower", "test", "test_upper"))
    assert lower < test < upper
    assert f"{test:.4g} ({lower:.4g} to {upper:.4g})" in card
    assert "95 % bootstrap intervals" in card
    assert "disentanglement" not in metrics["test_lower"]


def test_a_model_card_mentions_missing_intervals_licence_and_ranges_by_group(trained, tmp_path):
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


def test_the_model_card_has_ranges_by_group(trained, tmp_path):
    plain = load(trained)
    ranges = plain.preprocessing.seen[""]
    quiet = ranges | {"stimulus_level_db": ValueRange(minimum=0, maximum=60), "sex": ValueRange(has_nulls=True)}
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


def test_unknown_keys_are_refused(bundle):
    edit(bundle / "config.json", lambda config: config["model"].update(widht=1))
    with pytest.raises(UserError, match="widht"):
        load(bundle)


def test_an_extra_or_missing_tensor_is_refused(bundle):
    tensors = load_file(bundle / "model.safetensors")
    save_file(tensors | {"extra": torch.zeros(1)}, bundle / "model.safetensors")
    with pytest.raises(UserError, match=r"tensor extra: config\.json asks for None"):
        load(bundle)
    name = sorted(tensors)[0]
    save_file({key: value for key, value in tensors.items() if key != name}, bundle / "model.safetensors")
    with pytest.raises(UserError, match=f"tensor {name}: .* but got None"):
        load(bundle)


def test_conditions_and_weights_must_agree(bundle):
    edit(bundle / "normalization.json", lambda content: content["static"]["columns"].pop())
    with pytest.raises(UserError, match=r"typical must have a value of each static column .* for column 'sex'"):
        load(bundle)
    edit(bundle / "config.json", lambda content: content["data"].update(static=["age_years"]))
    for part in ("typical", "seen"):
        edit(bundle / "normalization.json", lambda content, part=part: [g.pop("sex") for g in content[part].values()])
    edit(bundle / "normalization.json", lambda content: content.update(combinations={}))
    with pytest.raises(UserError, match=r"model.static_dim: config.json has 7, but normalization.json has 5"):
        load(bundle)


def give_right_digest(bundle: Path) -> None:
    """Whoever means harm gives the right one."""
    digest = hashlib.sha256((bundle / "model.safetensors").read_bytes()).hexdigest()
    edit(bundle / "config.json", lambda content: content.update(weights_sha256=digest))


def test_a_changed_weight_is_detected(bundle):
    tensors = load_file(bundle / "model.safetensors")
    tensors["decoder.layers.0.0.weight"][0, 0] += 1e-3
    save_file(tensors, bundle / "model.safetensors")
    with pytest.raises(UserError, match=r"model\.safetensors: is not the file that config\.json was written with"):
        load(bundle)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_must_be_finite(bundle, value):
    tensors = load_file(bundle / "model.safetensors")
    tensors["decoder.layers.0.0.weight"][0, 0] = value
    save_file(tensors, bundle / "model.safetensors")
    give_right_digest(bundle)
    with pytest.raises(UserError, match=r"tensor decoder\.layers\.0\.0\.weight: must have finite numbers only"):
        load(bundle)


def test_weights_of_another_type_are_refused(bundle):
    save_file({k: v.double() for k, v in load_file(bundle / "model.safetensors").items()}, bundle / "model.safetensors")
    give_right_digest(bundle)
    with pytest.raises(UserError, match=r"asks for \('F32', .*, but got \('F64', "):
        load(bundle)


def test_a_pickle_is_refused_as_weights(bundle, tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "exploded"),)

    for save in (lambda path: path.write_bytes(pickle.dumps(Bomb())), lambda path: torch.save({"a": Bomb()}, path)):
        save(bundle / "model.safetensors")
        with pytest.raises(UserError, match=r"model\.safetensors: "):
            load(bundle)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"global_latent_dim": 10**12, "local_latent_dim": 10**12}, r"global_latent_dim: .* 16384, but got 10{12}"),
        ({"signal_length": 10**12}, r"model\.signal_length: "),
        ({"width": 10**6}, r"model\.width: "),
        ({"global_latent_dim": 2**14, "local_latent_dim": 2**14}, r"must have at most 201,326,592 weights, but got 5"),
        ({"static_dim": None}, r"model\.static_dim: config\.json has None"),
        ({"local_latent_dim": 6}, r"model\.safetensors: tensor .*config\.json asks for \('F32', \["),
        ({"width": "0.05"}, r"model\.width: must be a number, but got '0\.05'"),
        ({"use_film": 1}, r"model\.use_film: must be true or false, but got 1"),
    ],
)
def test_an_impossible_model_is_refused_before_memory_is_allocated(bundle, changes, message):
    edit(bundle / "config.json", lambda content: content["model"].update(changes))
    with pytest.raises(UserError, match=message):
        load(bundle)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["static"]["columns"][0].pop("mean"), r"static\.columns\.0\.mean: is required"),
        (lambda c: c["static"]["columns"][0].update(std=0), "must have minimum <= maximum, std > 0"),
        (lambda c: c["static"]["columns"][0].update(mean=1e31), r"mean: input should be less than"),
        (lambda c: c["static"]["columns"][1].update(name="stimulus_level_db"), "names must differ"),
        (lambda c: c["signal"]["groups"].update(M={"mean_uv": 0, "std_uv": 1}), "else there must be one group named"),
        (lambda c: c["signal"]["groups"][""].update(std_uv=0), "std_uv: input should be greater than"),
        (lambda c: c["signal"]["groups"][""].update(std_uv="1"), "std_uv: must be a number"),
        (lambda c: c["typical"][""].update(sex="X"), "but got 'X' for column 'sex'"),
        (lambda c: c["typical"].clear(), "but got 'nothing'"),
        (lambda c: c["combinations"][""][0]["values"].update(sex="X"), "combinations must have a value of each static"),
        (lambda c: c["combinations"][""].clear(), "combinations must not be empty"),
        (lambda c: c["combinations"].update(F=c["combinations"].pop("")), "combinations must be empty, or have each"),
        (lambda c: c.update(signal_length=201), r"model.signal_length: config.json has 200, but .* has 201"),
        (lambda c: c.update(labelled_waves=["VI"]), r"labelled_waves\.0: input should be 'I', 'III' or 'V'"),
    ],
)
def test_a_normalization_that_does_not_fit_the_model_is_refused(bundle, change, message):
    edit(bundle / "normalization.json", change)
    with pytest.raises(UserError, match=message):
        load(bundle)


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith(".json")])
@pytest.mark.parametrize(
    "content",
    [
        *(b"[" * 10**5, b'{"a":' * 10**5, b'{"a": NaN}', b'{"a": 1e400}', b"\xff", b'{"a": ' + b"1" * 10**5 + b"}"),
        b"[" + b"{}," * (16 * 2**20 // 3) + b"{}]",
    ],
    ids=["lists", "objects", "nan", "1e400", "encoding", "digits", "16 MiB"],
)
def test_hostile_json_is_refused_by_name(bundle, name, content):
    (bundle / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        load(bundle)
    assert name in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_a_file_with_many_errors_lists_some(bundle):
    edit(bundle / "config.json", lambda content: content.update({f"key{number}": number for number in range(10**4)}))
    with pytest.raises(UserError, match=r"key0: unknown key(.|\n)*and 9990 more errors$"):
        load(bundle)
    edit(bundle / "config.json", lambda content: content.update({f"key{number}": number for number in range(10**5)}))
    with pytest.raises(UserError, match="must hold at most 50000 values"):
        load(bundle)


@pytest.mark.parametrize(("name", "size"), [("config.json", 2**34), ("model.safetensors", 2**34)])
def test_a_file_of_gigabytes_is_not_read(bundle, name, size):
    with (bundle / name).open("r+b") as file:
        file.truncate(size)  # takes no room on the disk
    with pytest.raises(UserError, match=f"{name}: must have at most .* bytes, but got {size}"):
        load(bundle)


def test_a_header_of_gigabytes_is_not_read(bundle):
    content = (bundle / "model.safetensors").read_bytes()
    (bundle / "model.safetensors").write_bytes((2**40).to_bytes(8, "little") + content[8:])
    with pytest.raises(UserError, match=r"model\.safetensors: the header must have at most 1048576 bytes"):
        load(bundle)


def test_tensors_that_overlap_or_leave_the_file_are_refused(bundle):
    content = (bundle / "model.safetensors").read_bytes()
    size = int.from_bytes(content[:8], "little")
    first, second = [name for name in json.loads(content[8 : 8 + size]) if name != "__metadata__"][:2]
    for offsets in (None, [0, 2**62], [2**62, 2**63]):
        header = json.loads(content[8 : 8 + size])
        header[second]["data_offsets"] = offsets or header[first]["data_offsets"]
        changed = json.dumps(header).encode()
        (bundle / "model.safetensors").write_bytes(len(changed).to_bytes(8, "little") + changed + content[8 + size :])
        with pytest.raises(UserError, match=r"model\.safetensors: "):
            load(bundle)


@pytest.mark.parametrize("name", FILES)
def test_a_link_out_of_the_folder_is_refused(trained, bundle, name):
    (bundle / name).unlink()
    (bundle / name).symlink_to(trained / name)
    with pytest.raises(UserError, match="must be in the bundle's folder, but is a link to"):
        load(bundle)
    (bundle / name).unlink()
    (bundle / name).symlink_to(Path("..") / bundle.name / name)  # to itself
    with pytest.raises(UserError, match="not a model bundle"):
        load(bundle)


def test_links_to_the_folder_and_inside_it_are_followed(bundle, tmp_path):
    (bundle / "config.json").rename(bundle / "other.json")
    (bundle / "config.json").symlink_to("other.json")
    (tmp_path / "link").symlink_to(bundle)
    assert load(tmp_path / "link").config == load(bundle).config


def test_a_pipe_is_not_waited_for(bundle):
    (bundle / "model.safetensors").unlink()
    os.mkfifo(bundle / "model.safetensors")
    with pytest.raises(UserError, match=r"model\.safetensors: not a model bundle: there is no such file"):
        load(bundle)


def test_a_model_with_infinite_waveforms_is_reported(bundle):
    model = load(bundle).model
    with torch.no_grad():
        model.get_submodule("decoder.layers.3.0").weight.fill_(3e38)
    with pytest.raises(UserError, match="model: generated waveforms must be finite"):
        model.sample()
