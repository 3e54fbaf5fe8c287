"""Bundles of older and newer format versions. `bundles/version-1` and what it generated are of the code of its day;
version 2 has the same network, and two more keys."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import hcvae
from hcvae import cli
from hcvae.bundle import save_bundle
from hcvae.bundle.versions import FORMAT_VERSION, UPGRADES
from hcvae.digests import sha256_of_file
from hcvae.errors import UserError
from hcvae.generation import families, generate
from tests.fixtures.bundles import VERSION_1

WEIGHTS = "model.safetensors"


@pytest.fixture
def bundle(tmp_path) -> Path:
    return Path(shutil.copytree(VERSION_1, tmp_path / "bundle"))


@pytest.fixture(params=[1, 2])
def older(request, bundle) -> Path:
    """A bundle of each version before possible latencies."""
    assert json.loads((VERSION_1 / "config.json").read_text())["format_version"] == 1
    if request.param == 2:
        with_keys(bundle, format_version=2, hcvae_version="0.1.0", weights_sha256=sha256_of_file(bundle / WEIGHTS))
    return bundle


def with_keys(bundle: Path, **changes: object) -> Path:
    path = bundle / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return bundle


@pytest.mark.parametrize("noise", [False, True])
def test_an_older_bundle_generates_the_same_waveforms(older, noise):
    then = json.loads(VERSION_1.with_name("version-1-generated.json").read_text())
    now = generate(hcvae.load(older), then["conditions"], then["n_samples"], then["seed"], residual_noise=noise)
    signal = then["signal_with_residual_noise" if noise else "signal"]
    np.testing.assert_allclose(now["signal"].to_pylist(), signal, atol=1e-5)
    np.testing.assert_allclose(now["peak_latency_ms"].to_pylist(), then["peak_latency_ms"], atol=1e-4)


def test_impossible_latencies_of_an_older_bundle_are_kept_but_not_valid(older, tmp_path):
    """Its peak head predicts anything: here wave I before the stimulus and wave V before wave III, in each row."""
    bundle = hcvae.load(older)
    last = bundle.model.decoder.heads["predicted_peaks"][-1]
    with torch.no_grad():
        last.weight[:3] = 0
        last.bias[:3] = torch.tensor([-13.7, 6.0, 5.9])
    table = generate(bundle, [{"sex": "F"}, {"sex": "M"}], 5)
    assert np.array(table["peak_latency_ms"].to_pylist())[:, [0, 2, 4]] == pytest.approx(
        np.tile([-13.7, 6.0, 5.9], (10, 1))
    )
    assert table["peak_valid"].to_pylist() == [[False] * 5] * 10
    assert all(np.isnan(family.latency_ms).all() for family in families(table))
    save_bundle(tmp_path / "again", bundle, "Split by subject.", ())
    again = generate(hcvae.load(tmp_path / "again"), [{"sex": "F"}, {"sex": "M"}], 5)
    np.testing.assert_array_equal(again["peak_latency_ms"].to_pylist(), table["peak_latency_ms"].to_pylist())
    assert again["peak_valid"].equals(table["peak_valid"])


def test_it_is_saved_in_the_current_version(tmp_path):
    before = hcvae.load(VERSION_1)
    save_bundle(tmp_path / "bundle", before, "Split by subject.", ())
    written = json.loads((tmp_path / "bundle" / "config.json").read_text())
    assert written["format_version"] == FORMAT_VERSION > 1
    assert written["hcvae_version"] == hcvae.__version__
    after = hcvae.load(tmp_path / "bundle")
    assert (after.config, after.preprocessing) == (before.config, before.preprocessing)


def test_every_older_version_has_an_upgrade():
    assert list(UPGRADES) == list(range(1, FORMAT_VERSION))


def test_a_newer_version_is_refused_with_the_required_hcvae(bundle, tmp_path, capsys):
    with_keys(bundle, format_version=FORMAT_VERSION + 1, hcvae_version="7.8.9")
    message = f"format_version {FORMAT_VERSION + 1} needs hcvae >= 7.8.9, but this is {hcvae.__version__}; "
    with pytest.raises(UserError) as caught:
        cli.run(["generate", str(bundle), "--out", str(tmp_path / "out.csv")])
    assert str(caught.value) == f"{bundle / 'config.json'}: {message}install a newer hcvae"


@pytest.mark.parametrize("said", [None, "\x1b[2J", "9" * 1000])
def test_a_newer_version_that_names_no_hcvae_is_refused_too(bundle, said):
    with pytest.raises(UserError, match="needs a newer hcvae, but this is"):
        hcvae.load(with_keys(bundle, format_version=99, hcvae_version=said))


@pytest.mark.parametrize("version", [None, 0, -1, True, 1.0, "1", [], 10**400])
def test_an_invalid_version_is_refused(bundle, version):
    with pytest.raises(UserError, match="format_version"):
        hcvae.load(with_keys(bundle, format_version=version))
