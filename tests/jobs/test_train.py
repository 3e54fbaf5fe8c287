import io
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from rich.console import Console

import hcvae
from hcvae.bundle import Bundle
from hcvae.config import Config
from hcvae.data.table import write_table
from hcvae.errors import UserError
from hcvae.evaluation import own_rows
from hcvae.storage import StoragePath
from jobs import train
from tests.fixtures.object_store import ObjectStore
from tune.report.results import SearchResult

Run = Callable[..., subprocess.CompletedProcess[str]]
Start = Callable[..., "subprocess.Popen[str]"]
Write = Callable[[Any], str]


@pytest.fixture(autouse=True, scope="module")
def _own_threads() -> Iterator[None]:
    """A training sets the number of threads of its process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


# One worker


@dataclass(frozen=True)
class Trained:
    """A training of one epoch that has ended, from the configuration of a search and options over it."""

    command: list[str]
    out: Path
    printed: str

    @property
    def bundle(self) -> Bundle:
        return hcvae.load(self.out / "bundle")

    @property
    def objectives(self) -> str:
        """What is printed of the bundle's metrics."""
        metrics = self.bundle.metrics["validation"]
        return f"nmse {metrics['reconstruction_nmse']:.4f}, disentanglement {metrics['disentanglement']:.4f} (valid"


@pytest.fixture(scope="module")
def trained(tiny: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("trained")
    (folder / "config.json").write_text(json.dumps(tiny))
    out = folder / "below it" / "out"
    command = ["--config", str(folder / "config.json"), "--training.epochs=1", "--out", str(out)]
    with redirect_stdout(io.StringIO()) as printed:
        assert train.run(command) == 0
    return Trained(command, out, printed.getvalue())


def test_options_override_the_configuration_file(trained: Trained) -> None:
    config = trained.bundle.config
    assert config.training.epochs == 1
    assert (config.model.width, config.data.simulator.rows) == (0.02, 1500)


def test_the_objectives_and_the_next_commands_are_printed(trained: Trained) -> None:
    assert trained.objectives in trained.printed
    assert f"hcvae generate '{trained.out}/bundle' --condition stimulus_level_db=" in trained.printed
    assert f"tensorboard --logdir '{trained.out}/tensorboard'" in trained.printed


def test_a_training_writes_events_for_tensorboard(trained: Trained) -> None:
    assert list((trained.out / "tensorboard").rglob("events.*"))


def test_the_same_command_finds_its_training_finished(trained: Trained, capsys: pytest.CaptureFixture[str]) -> None:
    assert train.run(trained.command) == 0
    assert trained.objectives in capsys.readouterr().out


def test_another_configuration_does_not_overwrite_a_training(trained: Trained) -> None:
    weights = (trained.out / "bundle" / "model.safetensors").read_bytes()
    with pytest.raises(UserError, match=r"holds a training of another configuration.*; use an empty folder"):
        train.run([*trained.command, "--training.seed=1"])
    assert (trained.out / "bundle" / "model.safetensors").read_bytes() == weights


def test_input_paths_are_those_of_the_configuration_file_and_hold_from_any_folder(
    tiny: dict[str, Any], simulated: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training that continues, or starts from the bundle, in another folder finds the same files."""
    lab, here, there = (tmp_path / name for name in ("lab", "here", "there"))
    for folder in (lab, here, there):
        folder.mkdir()
    write_table(simulated, lab / "table.parquet")
    (lab / "config.json").write_text(json.dumps(tiny | {"data": {"tables": ["table.parquet"]}}))
    monkeypatch.chdir(here)
    command = ["--config", "../lab/config.json", "--training.epochs=1"]
    assert train.run([*command, "--out=out"]) == 0
    bundle = hcvae.load("out/bundle")
    assert bundle.config.data.tables == (str(here / "../lab/table.parquet"),)
    assert str(tmp_path) not in (here / "out" / "bundle" / "README.md").read_text()

    monkeypatch.chdir(there)
    assert len(own_rows(hcvae.load("../here/out/bundle"), "test").recorded) > 0
    table = "--data.tables=../lab/table.parquet"
    assert train.run([*command, table, "--out=../here/out"]) == 0  # the same data: it finds the training finished
    (lab / "config.json").write_text(json.dumps(tiny | {"training": {"start_from": "../here/out/bundle"}}))
    assert train.run([*command, table, "--out=tuned", "--dry-run"]) == 0

    (lab / "table.parquet").rename(lab / "moved.parquet")
    with pytest.raises(UserError, match=r"lab/table\.parquet'.*name tables with --data to use others"):
        own_rows(bundle, "test")


def test_a_log_gets_a_line_an_epoch(tiny: dict[str, Any], run_job: Run, write_config: Write, tmp_path: Path) -> None:
    ended = run_job("train", "--config", write_config(tiny), "--out", str(tmp_path / "out"))
    assert ended.returncode == 0, ended.stderr
    lines = [line for line in ended.stdout.splitlines() if line.startswith("epoch ")]
    assert [line.partition(",")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    assert "nmse" in lines[1]


def test_out_in_an_object_store(
    tiny: dict[str, Any], s3: ObjectStore, write_config: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    out = s3.address("trained")
    command = ["--config", write_config(tiny), "--training.epochs=1", "--out", out]
    for _ in range(2):  # the same command finds it finished
        assert train.run(command) == 0
        assert f"model                 {StoragePath.of(out) / 'bundle'}\n" in capsys.readouterr().out
    assert hcvae.load(str(StoragePath.of(out) / "bundle")).config.training.epochs == 1
    assert (StoragePath.of(out) / "figures").is_complete()
    with pytest.raises(UserError, match=r"holds another training, or a damaged one; use an empty folder"):
        train.run([*command, "--training.seed=1"])
    with pytest.raises(UserError, match=r"--out: cannot write to s3://elsewhere/trained"):
        train.run([*command[:-1], out.replace("studies", "elsewhere"), "--dry-run"])


def test_a_trial_of_a_study_is_trained_again(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also one that is not on the front; its parameters, seed and threads give the trial's own figures."""
    for trial in SearchResult.open(study).trials[:2]:
        out = tmp_path / str(trial.number)
        assert train.run(["--study", str(study), "--trial", str(trial.number), "--out", str(out)]) == 0
        bundle = hcvae.load(out / "bundle")
        assert bundle.config.model.global_latent_dim == trial.params["model.global_latent_dim"]
        assert bundle.config.training.learning_rate == trial.params["training.learning_rate"]
        assert bundle.config.model.width == 0.02
        assert bundle.metrics["validation"]["reconstruction_nmse"] == pytest.approx(trial.reconstruction_nmse, rel=1e-4)
    capsys.readouterr()
    command = [f"--study={study}", "--trial=0", "--training.epochs=7", "--out", str(tmp_path / "other"), "--dry-run"]
    assert train.run(command) == 0
    printed = capsys.readouterr().out
    config = Config.model_validate(json.loads(printed[printed.index("{") :]))
    assert (config.training.epochs, config.training.learning_rate) == (7, 1e-2)


def test_progress_as_json_lines(
    tmp_path: Path, tiny: dict[str, Any], write_config: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.run(["--config", write_config(tiny), "--out", str(tmp_path / "out"), "--log-json"]) == 0
    epochs = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [epoch["epoch"] for epoch in epochs] == [1, 2]
    metrics = hcvae.load(tmp_path / "out" / "bundle").metrics["validation"]
    assert metrics["reconstruction_nmse"] in [epoch["reconstruction_nmse"] for epoch in epochs]


def test_dry_run_prints_the_configuration_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--data.simulator.rows=600", "--model.width=0.25", "--dry-run", "--out", str(tmp_path / "out")]
    assert train.run(command) == 0
    printed = capsys.readouterr().out
    config = Config.model_validate(json.loads(printed[printed.index("{") :]))
    assert (config.model.width, config.data.simulator.rows, config.model.use_film) == (0.25, 600, True)
    assert printed.startswith("Split by subject (19 subjects")
    assert list(tmp_path.iterdir()) == []


def test_help_has_examples(run_job: Run) -> None:
    ended = run_job("train", "--help")
    assert ended.returncode == 0
    assert ended.stdout.split("examples:")[1].count("python -m jobs.train ") >= 3
    assert "--workers" in ended.stdout


# What must be refused


@pytest.fixture
def refuse(tmp_path: Path) -> Callable[..., str]:
    """Runs a training, sees that it is refused and leaves nothing behind, and gives the message."""

    def refuse(*arguments: str) -> str:
        with pytest.raises(UserError) as error:
            train.run(["--out", str(tmp_path / "a" / "out"), *arguments])
        assert not (tmp_path / "a").exists()
        return str(error.value)

    return refuse


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--trial=0"], "--trial 0: needs a study; give --study FOLDER as well"),
        (["--study={study}"], "--study: takes the configuration from a trial; give --trial NUMBER, and no --config"),
        (["--study={study}", "--trial=0", "--config=x.json"], "give --trial NUMBER, and no --config"),
        (["--study={study}", "--trial=3"], "trials are numbered 0 to 2, but got 3"),
        (["--study={study}", "--trial=-1"], "--trial: must be the number of a trial, but got '-1'"),
        (["--study={study}", "--trial=best"], "--trial: must be the number of a trial, but got 'best'"),
        (["--study={study}/best", "--trial=0"], "best: no study here; name a folder that holds a study.json"),
        (["--study=nowhere", "--trial=0"], "nowhere: no study here"),
        (["--study={study}", "--trial=0", "--model.local_latent_dim=2"], "(local_latent_dim=2, global_latent_dim="),
        (["--study"], "--study: expected one argument"),
        (["--workers=0"], "workers: input should be greater than or equal to 1, but got '0'"),
        (["--worker=2"], "--worker: unknown option; did you mean '--workers'?"),
        (["--search.trials=2"], "--search.trials: unknown option"),
    ],
)
def test_options_that_do_not_go_together(
    refuse: Callable[..., str], study: Path, arguments: Sequence[str], message: str
) -> None:
    assert message in refuse(*(argument.format(study=study) for argument in arguments))


def test_out_is_needed() -> None:
    with pytest.raises(UserError, match=r"^--out: is required"):
        train.run(["--data.simulator.rows=600"])


@pytest.mark.parametrize("dry_run", [(), ("--dry-run",)])
@pytest.mark.parametrize("below", ["", "sub/sub"])
def test_a_folder_that_cannot_be_written(tmp_path: Path, below: str, dry_run: Sequence[str]) -> None:
    file = tmp_path / "file"
    file.write_text("keep")
    with pytest.raises(UserError, match=r"--out: cannot write to .*file.*; name a folder that you may write to"):
        train.run(["--data.simulator.rows=600", "--out", str(file / below), *dry_run])
    assert file.read_text() == "keep"


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("dry_run", [(), ("--dry-run",)])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers=3"], "needs 3 workers of 1 CPU and 0 GPUs, more than the cluster has (1 node with 2"),
        (["--workers=2", "--cpus-per-worker=2"], "needs 2 workers of 2 CPUs"),
        (["--workers=2", "--gpus-per-worker=1"], "1 GPU, more than the cluster has"),
        (["--gpus-per-worker=64"], "--gpus-per-worker: this machine has"),
        (["--workers=2", "--training.batch_size=1"], "batches of 1 row cannot be divided among 2 workers"),
    ],
)
def test_more_than_there_is(
    refuse: Callable[..., str], dry_run: Sequence[str], arguments: Sequence[str], message: str
) -> None:
    assert message in refuse("--model.width=0.02", "--data.simulator.rows=600", *arguments, *dry_run)


def test_a_process_ends_with_2_and_one_message(run_job: Run, tmp_path: Path) -> None:
    ended = run_job("train", "--out", str(tmp_path / "out"), "--trial", "0")
    assert ended.returncode == 2
    assert ended.stderr == "error: --trial 0: needs a study; give --study FOLDER as well\n"


# Two workers, through Ray Train


@pytest.mark.services
def test_the_gradient_does_not_depend_on_the_number_of_workers(
    run_job: Run, simulated: pa.Table, tmp_path: Path
) -> None:
    """One epoch is one batch: its gradient norm is that of the first step. KL and masked peaks weigh in.

    Only each 25th waveform has labelled peaks, so that the workers have unequal numbers of them.
    """
    file = tmp_path / "table.parquet"
    labelled = pa.array([[row % 25 == 0] * 5 for row in range(simulated.num_rows)])
    position = simulated.column_names.index("peak_valid")
    pq.write_table(simulated.set_column(position, "peak_valid", labelled), file)
    arguments = [
        "--model.width=0.05",
        "--model.dropout=0",
        "--no-model.batch_norm",
        f"--data.tables={file}",
        "--training.batch_size=9999",
        "--training.epochs=1",
        "--training.phases.reconstruction=0",
        "--training.phases.warmup=0",
        "--training.loss_weights.global_kl=1",
        "--training.loss_weights.local_kl=1",
        "--training.loss_weights.peak=10",
        "--training.loss_weights.swap=0",  # its neighbours are rows of the same worker
        "--training.device=cpu",
        "--log-json",
    ]
    norms, losses = {}, {}
    for workers in (1, 2):
        out = tmp_path / str(workers)
        ended = run_job("train", *arguments, "--out", str(out), f"--workers={workers}")
        assert ended.returncode == 0, ended.stderr
        [epoch] = [json.loads(line) for line in ended.stdout.splitlines()]
        norms[workers], losses[workers] = epoch["train_gradient_norm"], epoch["train_loss"]
        assert hcvae.load(out / "bundle").metrics["validation"]["reconstruction_nmse"] == epoch["reconstruction_nmse"]
        assert {entry.name for entry in out.iterdir()} == {"bundle", "checkpoint", "figures", "tensorboard"}
    assert norms[2] == pytest.approx(norms[1], rel=1e-4)
    assert losses[2] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.services
@pytest.mark.parametrize("workers", [1, 2])
def test_the_same_command_continues_after_ctrl_c(start_job: Start, run_job: Run, tmp_path: Path, workers: int) -> None:
    out = tmp_path / "out"
    arguments = (
        f"--model.width=0.02 --data.simulator.rows=1500 --training.epochs=40 --training.checkpoint_every_epochs=1 "
        f"--training.early_stopping_patience=null --out={out} --workers={workers} --log-json"
    ).split()
    process = start_job("train", *arguments)
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line)["epoch"] == 3:
            break
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130, said
    assert said.endswith("interrupted\n")
    assert "Traceback" not in said

    refused = run_job("train", *arguments, "--training.seed=1")
    assert refused.returncode == 2
    assert "holds a training of another configuration" in refused.stderr
    assert "Traceback" not in refused.stderr

    ended = run_job("train", *arguments)
    assert ended.returncode == 0, ended.stderr
    epochs = [json.loads(line)["epoch"] for line in ended.stdout.splitlines()]
    assert epochs == list(range(epochs[0], 41))
    assert epochs[0] >= 3
    hcvae.load(out / "bundle")


@pytest.mark.parametrize("width", [80, 60])
def test_progress_is_whole_in_a_narrow_terminal(width: int) -> None:
    console = Console(file=io.StringIO(), width=width)
    config = Config.model_validate({"training": {"epochs": 9999}})
    metrics = {"epoch": 1234, "phase": 3, "reconstruction_nmse": 0.164, "disentanglement": -0.48}
    with train._progress(config, console, as_json=False) as on_epoch:
        on_epoch(metrics)
    assert isinstance(console.file, io.StringIO)
    said = console.file.getvalue()
    assert "…" not in said
    for words in ("1234/9999", "phase 3", "nmse 0.1640", "disentanglement -0.4800"):
        assert words in said
