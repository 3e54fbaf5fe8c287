"""The precision of a training: the faster one on this device, the same one to the end, the same one in all workers."""

import json
import logging
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch._dynamo  # see `benchmarks.data_parallel.answer`: no thread of the group may outlive it
from safetensors.torch import load_file

import hcvae
from hcvae.config import Config
from hcvae.data.dataset import Dataset, prepare
from hcvae.errors import UserError
from hcvae.models import build
from hcvae.training import fit, precision, train_bundle
from hcvae.training.precision import MARGIN, PrecisionChoice, choose, decide, measure
from hcvae.training.workers import Workers

ROOT = Path(__file__).resolve().parents[3]
SLOW_BF16 = {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"}
"""A processor with AVX-512 then multiplies bf16 as one with AVX2 does, many times slower than fp32."""
FULL = Config.model_validate({"model": {"static_dim": 7}})
CPU, GPU = {"fp32": 60.0, "bf16": 1.0}, {"fp32": 40.0, "tf32": 80.0, "bf16": 90.0}
ALONE = Workers(0, 1)


def config(**training) -> Config:
    settings = {"epochs": 4, "batch_size": 64, "early_stopping_patience": None, "checkpoint_every_epochs": 1}
    return Config.model_validate(
        {
            "model": {"width": 0.05, "global_latent_dim": 4, "local_latent_dim": 8},
            "data": {"simulator": {"rows": 600}},
            "training": settings | training,
        }
    )


@pytest.fixture(scope="module")
def data() -> Dataset:
    return prepare(config())


@pytest.mark.parametrize(
    ("gflops", "used"),
    [
        (CPU, "fp32"),
        ({"fp32": 60.0, "bf16": 60 * (MARGIN - 0.01)}, "fp32"),
        ({"fp32": 60.0, "bf16": 60 * (MARGIN + 0.01)}, "bf16"),
        (GPU, "tf32"),
        (GPU | {"bf16": 160.0}, "bf16"),
        ({"fp32": 40.0, "tf32": 41.0, "bf16": 42.0}, "fp32"),
    ],
)
def test_auto_is_what_is_faster_by_a_clear_margin(gflops, used):
    assert decide("auto", gflops) == PrecisionChoice(used=used, gflops=gflops)


def test_a_precision_that_is_given_is_used_with_a_warning_where_it_is_slower():
    assert decide("bf16", {"fp32": 60.0, "bf16": 55.0}).warning is None
    choice = decide("bf16", CPU)
    assert choice.used == "bf16"
    assert "'bf16' is 60 times slower than 'fp32' here" in choice.warning
    assert "'tf32' is not faster" in decide("tf32", CPU).warning
    assert "'tf32' is not faster" in decide("tf32", {"fp32": 40.0, "tf32": 41.0, "bf16": 90.0}).warning
    assert decide("tf32", GPU).warning is None
    assert decide("tf32", {}, ["tf32"]).warning is None, "a finished training is not measured again"


def test_a_training_goes_on_as_it_began_unless_that_is_clearly_slower_here():
    assert decide("auto", {"fp32": 60.0, "bf16": 200.0}, ["fp32"]).used == "fp32"
    assert decide("auto", {"fp32": 60.0, "bf16": 59.0}, ["bf16"]) == decide("bf16", {"fp32": 60.0, "bf16": 59.0})
    changed = decide("auto", CPU, ["bf16"])
    assert (changed.used, changed.before) == ("fp32", ("bf16",))
    assert "began in bf16, which is 60 times slower than fp32 here" in changed.warning
    assert decide("auto", CPU, ["bf16", "fp32"]) == PrecisionChoice(used="fp32", before=("bf16",), gflops=CPU)
    assert decide("bf16", CPU, ["bf16"]).used == "bf16"


@pytest.mark.parametrize("width", [0.05, 1.0])
def test_the_choice_follows_what_is_measured_here(width):
    model = build(FULL.model.model_copy(update={"width": width}))
    state, threads = torch.random.get_rng_state(), torch.get_num_threads()
    choice = choose("auto", model, 256, ALONE)
    assert all(rate > 0 for rate in choice.gflops.values())
    assert choice.used == decide("auto", choice.gflops).used
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_a_row_a_worker_is_measured_too():
    assert measure(build(FULL.model.model_copy(update={"width": 0.01})), 0).keys() >= {"fp32", "bf16"}


def answer_of(rank: int, *words: str, **variables: str) -> subprocess.Popen:
    """A process of this file, see the end."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | variables
    return subprocess.Popen([sys.executable, __file__, str(rank), *words], env=environment, stdout=subprocess.PIPE)


def test_where_bf16_is_slow_auto_is_fp32_and_bf16_warns(tmp_path, data):
    """A training from this processor continues in fp32 there."""
    fit(config(precision="bf16"), data, tmp_path, lambda metrics: metrics["epoch"] < 2)
    process = answer_of(0, "slow", str(tmp_path), **SLOW_BF16)
    found = json.loads(process.communicate()[0])
    assert found["auto"]["used"] == "fp32"
    assert found["auto"]["gflops"]["bf16"] * 2 < found["auto"]["gflops"]["fp32"]
    assert found["bf16"]["used"] == "bf16"
    assert "times slower than 'fp32' here" in found["bf16"]["warning"]
    assert (found["resumed"]["used"], found["resumed"]["before"]) == ("fp32", ["bf16"])
    state = json.loads((tmp_path / "checkpoint" / "epoch-0004" / "state.json").read_text())
    assert state["precisions"] == ["bf16", "fp32"]


def test_workers_agree_where_one_of_them_is_slow_in_bf16(tmp_path):
    workers = [answer_of(0, "workers", str(tmp_path)), answer_of(1, "workers", str(tmp_path), **SLOW_BF16)]
    first, second = (json.loads(worker.communicate()[0]) for worker in workers)
    assert first["agreed"] == second["agreed"]
    assert first["agreed"]["used"] == "fp32"
    assert first["agreed"]["gflops"]["bf16"] == second["own"]["bf16"]


def test_an_interrupted_training_ends_in_the_weights_of_its_precision(tmp_path, data, monkeypatch):
    monkeypatch.setattr(precision, "SLOWER", math.inf)  # whatever this machine is
    fit(config(precision="bf16"), data, tmp_path / "whole")
    fit(config(precision="bf16"), data, tmp_path / "resumed", lambda metrics: metrics["epoch"] < 2)
    result = fit(config(), data, tmp_path / "resumed")
    assert (result.precision.used, result.config.training.precision) == ("bf16", "bf16")
    whole, resumed = (
        load_file(tmp_path / name / "checkpoint/epoch-0004/model.safetensors") for name in ("whole", "resumed")
    )
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    with pytest.raises(UserError, match="another configuration"):
        fit(config(precision="fp32"), data, tmp_path / "resumed")


def test_a_checkpoint_from_before_auto_and_later_options_goes_on(tmp_path, data):
    fit(config(precision="fp32"), data, tmp_path, lambda metrics: metrics["epoch"] < 2)
    file = tmp_path / "checkpoint" / "epoch-0002" / "state.json"
    state = json.loads(file.read_text())
    del state["precisions"], state["identity"]["config"]["training"]["free_bits"]
    file.write_text(json.dumps(state))
    with pytest.raises(UserError, match="another configuration"):
        fit(config(free_bits=0.1), data, tmp_path)
    assert fit(config(), data, tmp_path).precision.used == "fp32"


def test_the_bundle_holds_what_was_used(tmp_path, data):
    choices = []
    result = train_bundle(config(epochs=1), data, tmp_path, chosen=choices.append)
    assert choices == [result.precision]
    assert hcvae.load(tmp_path / "bundle").config.training.precision == result.precision.used
    assert f"- Trained in {result.precision}\n" in (tmp_path / "bundle" / "README.md").read_text()
    assert f"{result.precision.gflops['fp32']:.3g} GFLOP/s" in str(result.precision)


def test_without_a_listener_the_log_has_the_choice_and_the_warning(tmp_path, data, caplog, monkeypatch):
    monkeypatch.setattr(precision, "SLOWER", 0.0)
    with caplog.at_level(logging.INFO, "hcvae.training"):
        fit(config(epochs=1, precision="bf16"), data, tmp_path)
    lines = [(record.levelname, record.message) for record in caplog.records]
    assert any(level == "INFO" and message.startswith("trains in bf16 (measured: fp32 ") for level, message in lines)
    assert any(level == "WARNING" and "times slower" in message for level, message in lines)


if __name__ == "__main__":
    rank, what, where = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    model = build(FULL.model)
    if what == "slow":
        found = {wanted: choose(wanted, model, 256, ALONE) for wanted in ("auto", "bf16")}
        found["resumed"] = fit(config(), prepare(config()), where).precision
        print(json.dumps({name: choice.model_dump() for name, choice in found.items()}))
    else:
        store = (where / "store").as_uri()
        torch.distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
        own: dict[str, float] = {}

        def remembered(model: torch.nn.Module, rows: int) -> dict[str, float]:
            own.update(measure(model, rows))
            return own

        precision.measure = remembered
        agreed = choose("auto", model, 256, Workers.current())
        print(json.dumps({"own": own, "agreed": agreed.model_dump()}))
        torch.distributed.destroy_process_group()
