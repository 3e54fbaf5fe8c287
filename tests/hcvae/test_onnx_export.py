"""ONNX Runtime against PyTorch, on the path that bundles take: a table of conditions, encoded, decoded, in uV."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pyarrow as pa
import pytest
import torch

import hcvae
from hcvae import cli
from hcvae.bundle import Bundle
from hcvae.errors import UserError
from hcvae.models import build
from hcvae.onnx_export import check_path, export
from tests.fixtures.bundles import VERSION_1

ROOT = Path(__file__).resolve().parents[2]
OPTIONS = {
    "all options": {
        "intermediate_levels": 2, "attention": True, "local_segments": 4, "local_latent_dim": 8,
        "static_from_latents": True, "peak_window_ms": 31 / (20_000 / 6) * 1e3,
    },
    "few options": {"use_film": False, "predict_peaks": False, "batch_norm": False},
    "standard": {"model_type": "standard"},
}  # fmt: skip


def bundle_of(**options: object) -> Bundle:
    """An untrained model with a fitted prior, under the conditions of the bundle of version 1: nulls, groups by sex."""
    plain = hcvae.load(VERSION_1)
    torch.manual_seed(0)
    config = plain.config.model_copy(update={"model": plain.config.model.model_copy(update=options)})
    model = build(config.model).eval()
    model.fit_generation(torch.randn(50, 32), torch.randn(50, 5))
    return Bundle(model, config, plain.preprocessing, plain.metrics, plain.history)


def conditions(rows: int) -> tuple[pa.Table, np.ndarray]:
    """As a table, and as ONNX takes them."""
    random = np.random.default_rng(rows)
    level, loss, sex = random.uniform(10, 90, rows), random.uniform(0, 40, rows), random.integers(2, size=rows)
    null = random.random(rows) < 0.3
    columns = {
        "stimulus_level_db": level,
        "hearing_loss_db": pa.array(loss, mask=null),
        "sex": np.array(["F", "M"])[sex],
    }
    return pa.table(columns), np.stack([level, np.where(null, np.nan, loss), sex], axis=1).astype(np.float32)


def assert_same(found: np.ndarray, wanted: np.ndarray) -> None:
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max()


@pytest.mark.services
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_onnx_runtime_agrees_with_the_bundle(tmp_path, options):
    bundle = bundle_of(**options)
    differences = export(bundle, tmp_path / "model.onnx")
    assert max(differences.values()) < 1e-5
    assert sorted(tmp_path.iterdir()) == sorted(differences)
    encoder, prior, decoder = (onnxruntime.InferenceSession(str(path)) for path in differences)
    model, preprocessing = bundle.model, bundle.preprocessing
    for rows in (1, 3, 64):
        table, condition = conditions(rows)
        static, group = torch.from_numpy(preprocessing.static.encode(table)), preprocessing.signal.index(table)
        signal_uv = np.random.default_rng(rows).normal(0, 0.2, (rows, 32)).astype(np.float32)
        with torch.no_grad():
            posterior = model.encode(torch.from_numpy(preprocessing.signal.normalize(signal_uv, group)), static)
            noise = {block: torch.randn(rows, dim) for block, dim in model.latent_dims.items()}
            latents = {f"z_{b}": model.get_submodule(f"prior_{b}")(static, drawn) for b, drawn in noise.items()}
            decoded = model.decode(**latents, static_params=static)
        found = encoder.run(list(posterior), {"signal": signal_uv, "condition": condition})
        for ours, theirs in zip(posterior.values(), found, strict=True):
            assert_same(theirs, ours.numpy())
        given = {"condition": condition, **{f"noise_{block}": drawn.numpy() for block, drawn in noise.items()}}
        for ours, theirs in zip(latents.values(), prior.run(list(latents), given), strict=True):
            assert_same(theirs, ours.numpy())
        given = {"condition": condition, **{name: z.numpy() for name, z in latents.items()}}
        signal, decoded_static, *peaks = decoder.run(None, given)
        assert_same(signal, preprocessing.signal.denormalize(decoded["recon_signal"].numpy(), group))
        level, loss = preprocessing.static.columns[:2]
        shift, scale = np.array([level.mean, loss.mean, 0, 0, 0]), np.array([level.std, loss.std, 1, 1, 1])
        assert_same(decoded_static, decoded["recon_static_params"].numpy() * scale + shift)
        assert bool(peaks) == ("predicted_peaks" in decoded)
        if peaks:
            assert_same(peaks[0], decoded["predicted_peaks"].numpy())


@pytest.mark.services
def test_waves_that_are_not_valid_are_nan(tmp_path):
    bundle = bundle_of()
    with torch.no_grad():
        bundle.model.decoder.heads["predicted_peaks"][-1].bias[:3] = torch.tensor([-13.7, 4.0, 6.0])
    export(bundle, tmp_path / "model.onnx")
    decoder = onnxruntime.InferenceSession(str(tmp_path / "model-decoder.onnx"))
    _, condition = conditions(20)
    latents = {f"z_{block}": torch.randn(20, dim).numpy() for block, dim in bundle.model.latent_dims.items()}
    [peaks] = decoder.run(["peaks"], {"condition": condition, **latents})
    assert np.isnan(peaks).all(axis=0).tolist() == [True, False, False] * 2
    assert np.isfinite(peaks[:, [1, 2, 4, 5]]).all()


@pytest.fixture(scope="module")
def exported(tmp_path_factory) -> Path:
    """What the README's command writes; it says so, too."""
    folder = tmp_path_factory.mktemp("export")
    (folder / "results").mkdir()
    (folder / "results" / "model").symlink_to(VERSION_1)
    (line,) = [text for text in (ROOT / "README.md").read_text().splitlines() if text.startswith("hcvae export ")]
    command = shlex.split(line.split("#")[0])
    program = "import sys, hcvae.cli; sys.argv = sys.argv[1:]; hcvae.cli.main()"
    environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", program, *command], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("differs from PyTorch by at most") == 3
    return folder


@pytest.mark.services
def test_the_page_s_example_runs_without_pytorch(exported):
    text = (ROOT / "docs" / "export.md").read_text()
    example = text.split("```python\n")[1].split("```")[0]
    check = "import sys; print(signal_uv.shape, np.isfinite(signal_uv).all(), {'torch', 'hcvae'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", example + check], cwd=exported, capture_output=True, text=True)
    assert done.stdout == "(100, 32) True set()\n", done.stderr


@pytest.mark.services
def test_the_metadata_describe_the_use_of_the_files(exported):
    for part in ("encoder", "prior", "decoder"):
        session = onnxruntime.InferenceSession(str(exported / "results" / f"model-{part}.onnx"))
        about = session.get_modelmeta().custom_metadata_map
        assert about["part"] == part
        assert float(about["sampling_rate_hz"]) == 20000 / 6
        assert json.loads(about["latent_dims"]) == {"global": 2, "local": 3}
        level, loss, sex = json.loads(about["condition"])
        assert (level["name"], level["minimum"], level["maximum"]) == ("stimulus_level_db", 10, 90)
        assert (level["may_be_null"], loss["may_be_null"], sex["categories"]) == (False, True, ["F", "M"])
        assert all(shape.shape[0] == "batch" for shape in session.get_inputs())


@pytest.mark.services
def test_what_hcvae_refuses_is_nan(exported):
    decoder = onnxruntime.InferenceSession(str(exported / "results" / "model-decoder.onnx"))
    known, nan = [60, 20, 1], np.nan
    condition = np.array([known, [nan, 20, 1], [60, nan, 1], [60, 20, 2], [60, 20, nan]], np.float32)
    latents = {"z_global": np.zeros((5, 2), np.float32), "z_local": np.zeros((5, 3), np.float32)}
    for name, output in zip(
        ("signal", "static", "peaks"), decoder.run(None, {"condition": condition, **latents}), strict=True
    ):
        finite = np.isfinite(output[:, :1] if name == "peaks" else output)  # this head crosses waves III and V
        assert finite.all(axis=1).tolist() == [True, False, True, False, False]
        assert np.isnan(output).all(axis=1).tolist() == [False, True, False, True, True]


def test_errors_are_reported_before_the_work(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"--onnx model\.pb: must end in \.onnx, but got '\.pb'"):
        cli.run(["export", str(VERSION_1), "--onnx", "model.pb"])
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # as where it is not installed
    with pytest.raises(
        UserError, match=r"the package onnxruntime, which is not installed; run `pip install --editable '\.\[onnx\]'"
    ):
        check_path("model.onnx")


@pytest.mark.services
def test_a_large_difference_is_an_error_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr("hcvae.onnx_export.TOLERANCE", 1e-12)
    with pytest.raises(UserError, match="must agree with PyTorch within 1e-12"):
        export(hcvae.load(VERSION_1), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []
