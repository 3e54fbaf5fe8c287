"""`python -m jobs.generate`: the same files for any number of workers, and after a kill."""

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import hcvae
from hcvae.bundle import Bundle, save_bundle
from hcvae.config import Config
from hcvae.data.dataset import prepare
from hcvae.errors import UserError
from hcvae.generation import complete_condition
from hcvae.generation import generate as draw
from hcvae.models import build
from hcvae.storage import StoragePath
from jobs import generate
from tests.fixtures.object_store import ObjectStore

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A bundle that has learnt nothing."""
    small = {"width": 0.05, "global_latent_dim": 3, "local_latent_dim": 4}
    config = Config.model_validate({"model": small, "data": {"simulator": {"rows": 400}}})
    data = prepare(config)
    torch.manual_seed(0)
    config = config.model_copy(
        update={"model": config.model.model_copy(update={"static_dim": data.preprocessing.static.dim})}
    )
    network = build(config.model).eval()
    folder = tmp_path_factory.mktemp("bundle") / "model"
    save_bundle(
        folder, Bundle(network, config, data.preprocessing, {"validation": {}, "test": {}}, []), "by subject", []
    )
    return folder


def order(model: Path | StoragePath, out: Path | StoragePath, *more: object) -> list[str]:
    given = ("--condition", "stimulus_level_db=20,60", "--samples", 70, "--rows-per-file", 30, "--out", out)
    return [str(word) for word in (model, *given, *more)]


def hashes(out: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in out.glob("part-*.parquet")}


@pytest.fixture(scope="module")
def generated(model, cluster, tmp_path_factory) -> Path:
    """The files that one worker wrote."""
    out = tmp_path_factory.mktemp("generated") / "out"
    with redirect_stdout(io.StringIO()) as printed:
        assert generate.run(order(model, out, "--workers", 1)) == 0
    assert "140 waveforms in" in printed.getvalue()
    return out


def test_the_rows_are_the_samples_of_each_condition(generated):
    table = pq.read_table(generated)
    assert table["stimulus_level_db"].to_pylist() == [20.0] * 70 + [60.0] * 70
    assert table["sample"].to_pylist() == [*range(70)] * 2


def test_no_part_repeats_the_draws_of_another(generated):
    signals = np.stack(pq.read_table(generated)["signal"].to_numpy())
    assert len(np.unique(signals, axis=0)) == 140


def test_two_workers_write_the_same_files(model, generated, tmp_path):
    assert len(hashes(generated)) == 6
    assert generate.run(order(model, tmp_path / "out", "--workers", 2)) == 0
    assert hashes(tmp_path / "out") == hashes(generated)


def test_an_interrupted_order_is_completed_with_the_same_files(model, generated, tmp_path):
    out = shutil.copytree(generated, tmp_path / "out")
    for name in ("part-000001.parquet", "part-000004.parquet"):
        (out / name).unlink()
    assert generate.run(order(model, out)) == 0
    assert hashes(out) == hashes(generated)


def test_an_order_with_another_seed_does_not_continue_it(model, generated):
    with pytest.raises(UserError, match="holds files made with another seed"):
        generate.run(order(model, generated, "--seed", 1))


def test_a_part_is_what_the_model_draws_from_the_part_s_seed(model, tmp_path):
    from jobs.bulk_generation import BulkRequest, _Writer

    bundle = hcvae.load(model)
    condition = complete_condition(bundle, {"stimulus_level_db": 60.0})
    _Writer(BulkRequest(str(model), (condition,), 8, 5, False, 4), StoragePath.of(tmp_path))(
        {"part": 1, "condition": 0, "first": 4, "count": 4}
    )
    seed = int(np.random.SeedSequence([5, 1]).generate_state(1, np.uint64)[0]) // 2
    expected = draw(bundle, [condition], 4, seed)
    assert pq.read_table(tmp_path / "part-000001.parquet")["signal"].to_pylist() == expected["signal"].to_pylist()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--condition", "stimulus_level_db"], "must be COLUMN=VALUE"),
        (["--condition", "stimulus_level=60"], "did you mean 'stimulus_level_db'"),
        (["--condition", "stimulus_level_db=loud"], "must be a number"),
        (["--samples", "0"], "greater than or equal to 1"),
    ],
)
def test_mistakes_are_named_before_anything_is_written(model, tmp_path, words, message):
    with pytest.raises(UserError, match=message):
        generate.run([str(model), "--out", str(tmp_path / "out"), *words])
    assert not (tmp_path / "out").exists()


def test_a_folder_of_other_things_is_refused_and_a_dry_run_writes_nothing(model, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="is not empty"):
        generate.run(order(model, tmp_path))
    assert generate.run(order(model, tmp_path / "out", "--dry-run")) == 0
    assert not (tmp_path / "out").exists()


@pytest.mark.services
def test_killed_and_started_again_it_ends_with_the_same_files(model, tmp_path):
    def start(out: Path) -> subprocess.Popen[str]:
        words = [str(model), "--samples", "40000", "--rows-per-file", "2000", "--out", str(out)]
        command = [sys.executable, "-m", "jobs.generate", *words]
        return subprocess.Popen(command, cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL, text=True)

    assert start(tmp_path / "whole").wait(timeout=200) == 0
    killed = start(tmp_path / "killed")
    deadline = time.monotonic() + 100
    while len(hashes(tmp_path / "killed")) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert len(hashes(tmp_path / "killed")) < 20
    assert start(tmp_path / "killed").wait(timeout=200) == 0
    assert hashes(tmp_path / "killed") == hashes(tmp_path / "whole")
    manifest = json.loads((tmp_path / "killed" / "_generation.json").read_text())
    assert (manifest["seed"], manifest["n_samples"]) == (0, 40_000)


@pytest.mark.services
def test_an_object_store_holds_the_same_files_after_an_interruption(model: Path, s3: ObjectStore, tmp_path: Path):
    def finish(bundle: Path | StoragePath, out: Path | StoragePath) -> str:
        command = [sys.executable, "-m", "jobs.generate", *order(bundle, out)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    stored, out = StoragePath.of(s3.address("model")), StoragePath.of(s3.address("many"))
    stored.upload(model)
    finish(model, tmp_path / "many")
    said = finish(stored, out)
    whole = hashes(tmp_path / "many")
    assert stored_hashes(out) == whole
    for name in ("part-000001.parquet", "part-000004.parquet"):
        (out / name).remove()
    said += finish(stored, out)
    assert stored_hashes(out) == whole
    assert "140 waveforms in s3://" in said
    assert s3.secret_key not in said


def stored_hashes(out: StoragePath) -> dict[str, str]:
    names = [name for name in out.listdir() if name.startswith("part-")]
    return {name: hashlib.sha256((out / name).open().read()).hexdigest() for name in names}
