import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import create_trial

import hcvae
from hcvae.data.simulator import simulate
from hcvae.data.table import write_table
from hcvae.errors import UserError
from hcvae.storage import StoragePath
from jobs import search
from tune.config import SearchConfig
from tune.objectives import SPECIFIED
from tune.report.results import SearchResult
from tune.space.search_space import searchable_fields
from tune.study.pareto_archive import summarize

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., subprocess.CompletedProcess[str]]
Write = Callable[[Any], str]
Refuse = Callable[..., str]
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def refuse(tmp_path: Path) -> Refuse:
    """Runs a search, sees that it is refused and leaves nothing in its storage, and gives the message."""

    def refuse(*arguments: str) -> str:
        small = ["--model.width=0.02", "--data.simulator.rows=600"]
        with pytest.raises(UserError) as error:
            search.run(["--search.storage", str(tmp_path / "a" / "b"), *small, *arguments])
        assert not (tmp_path / "a").exists()
        return str(error.value)

    return refuse


# What must be refused


def test_one_objective_is_too_few(refuse: Refuse) -> None:
    told = refuse('--search.objectives=["r2"]')
    assert told.startswith("--search.objectives: must have 2 or more entries, but got")


def test_a_metric_that_this_program_has_not_registered(refuse: Refuse) -> None:
    own = '{"name": "mine", "direction": "minimize", "reference": 1, "ideal": 0}'
    told = refuse(f'--search.objectives=["r2", {own}]')
    assert told.startswith("search.objectives: mine cannot be measured on the validation part")
    assert told.endswith("must be registered by the program that searches, see docs/objectives.md")


@pytest.mark.parametrize("name", ["../x", "a/b", "/x", ".", "..", ".hidden", "-x", "", "a b", "x\n", "x" * 65])
def test_an_unsafe_study_name(refuse: Refuse, write_config: Write, name: str) -> None:
    told = refuse("--config", write_config({"search": {"study": name}}))
    assert told.startswith("search.study: string should match pattern")
    assert told.endswith(f"but got {name!r}")
    if name == name.strip():  # options are read without the space around them
        assert refuse(f"--search.study={name}") == f"--{told}"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"trails": 3}, "search.trails: unknown key; did you mean 'trials'?"),
        ({"trials": 0}, "search.trials: input should be greater than or equal to 1, but got 0"),
        ({"sampler": "grid"}, "input should be 'auto', 'tpe', 'gp', 'nsga2' or 'random', but got 'grid'"),
        ({"workers": 0}, "search.workers: input should be greater than or equal to 1"),
        ({"gpus_per_worker": -1}, "search.gpus_per_worker: input should be greater than or equal to 0"),
    ],
)
def test_bad_settings(refuse: Refuse, write_config: Write, settings: dict[str, Any], message: str) -> None:
    assert message in refuse("--config", write_config({"search": settings}))


@pytest.mark.parametrize(
    ("path", "parameter", "message"),
    [
        (
            "model.early_signal_ration",
            {"type": "float", "low": 0.1, "high": 0.2},
            "search.space.model.early_signal_ration: the configuration has no such field; "
            "did you mean 'model.early_signal_ratio'?",
        ),
        ("data.split.seed", {"type": "int", "low": 0, "high": 9}, "search.space.data.split.seed: cannot be searched"),
        (
            "model.dropout",
            {"type": "float", "low": 0.5, "high": 1.5},
            "model.dropout: input should be less than 1, but got 1.5",
        ),
        ("model.dropout", {"type": "float", "low": 0.5, "high": 0.1}, "low <= high must hold, but got"),
        ("model.dropout", {"type": "float", "low": 0, "high": 0.1, "log": True}, "low > 0 must hold on a log"),
        (
            "model.dropout",
            {"type": "normal", "mean": 0},
            ".model.dropout.type: must be one of float, int, choice, conditional, but",
        ),
        (
            "training.precision",
            {"type": "choice", "choices": ["fp16"]},
            "training.precision: input should be 'auto', 'fp32', 'tf32' or",
        ),
        ("training.epochs", {"type": "choice", "choices": []}, ".training.epochs.choices: must not be empty"),
        (
            "model.global_latent_dim",
            {"type": "int", "low": 16, "high": 64},
            "search.space: its bounds do not go together: local_latent_dim >= global_latent_dim must hold",
        ),
    ],
)
def test_a_bad_space(refuse: Refuse, write_config: Write, path: str, parameter: dict[str, Any], message: str) -> None:
    assert message in refuse("--config", write_config({"search": {"space": {path: parameter}}}))


def test_trials_of_several_precisions_are_not_compared_silently() -> None:
    def result(*precisions: str | None) -> SearchResult:
        attributes = ({"precision": name} if name else {} for name in precisions)
        trials = (create_trial(values=[0.5, 0.5], user_attrs=each) for each in attributes)
        return SearchResult(
            StoragePath.of("study"), tuple(summarize(trial, None, SPECIFIED) for trial in trials), SPECIFIED
        )

    assert search._comparability(result("bf16", "bf16", None)) is None
    told = search._comparability(result("bf16", "fp32", None, "bf16"))
    assert told is not None
    assert "different precisions (2 in bf16, 1 in fp32)" in told


@pytest.mark.parametrize("below", ["", "sub", "sub/sub"])
def test_a_storage_that_cannot_be_written(tmp_path: Path, below: str) -> None:
    """Even root cannot make a folder below a regular file."""
    file = tmp_path / "file"
    file.write_text("keep")
    with pytest.raises(UserError, match=r"search\.storage: cannot write to .*/quickstart: Not a directory; name a"):
        search.run(["--search.storage", str(file / below)])
    assert file.read_text() == "keep"


@pytest.mark.parametrize("dry_run", [(), ("--dry-run",)])
def test_a_folder_that_holds_something_else(tmp_path: Path, dry_run: Sequence[str]) -> None:
    kept = tmp_path / "mine" / "thesis.txt"
    kept.parent.mkdir()
    kept.write_text("keep")
    arguments = ["--search.storage", str(tmp_path), "--search.study=mine", "--data.simulator.rows=600", *dry_run]
    with pytest.raises(UserError, match=r"mine: holds 'thesis\.txt' but no study; choose another search\.study"):
        search.run(arguments)
    assert kept.read_text() == "keep"


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("dry_run", [(), ("--dry-run",)])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--search.workers=3"], "a trial needs 3 workers of 1 CPU and 0 GPUs, more than the cluster has"),
        (["--search.cpus_per_worker=3"], "a trial needs 1 worker of 3 CPUs"),
        (["--search.gpus_per_worker=1"], "1 GPU, more than the cluster has (1 node with 2 CPUs and 0 GPUs)"),
        (["--search.workers=2", "--search.gpus_per_worker=0.5"], "workers cannot share a GPU, but got 0.5"),
    ],
)
def test_more_than_the_cluster_has(
    refuse: Refuse, dry_run: Sequence[str], arguments: Sequence[str], message: str
) -> None:
    told = refuse(*arguments, *dry_run)
    assert message in told
    assert "GPU" in told


@pytest.mark.parametrize("dry_run", [(), ("--dry-run",)])
@pytest.mark.parametrize(
    ("arguments", "difference"),
    [
        (["--training.epochs=3"], "training.epochs: 2 -> 3"),
        (["--search.seed=1"], "search.seed: 0 -> 1"),
        (["--data.simulator.seed=1"], "data (fingerprint): "),
    ],
)
def test_a_study_begun_with_another_configuration(
    study: Path,
    tiny: dict[str, Any],
    write_config: Write,
    dry_run: Sequence[str],
    arguments: Sequence[str],
    difference: str,
) -> None:
    before = (study / "study.json").read_bytes()
    with pytest.raises(UserError, match="created with another configuration or other data") as error:
        search.run(["--config", write_config(tiny), *arguments, *dry_run])
    assert difference in str(error.value)
    assert (study / "study.json").read_bytes() == before


# What must be seen


def test_help_is_short_with_examples_and_help_all_has_every_option(run_job: Run) -> None:
    ended, everything = (run_job("search", option) for option in ("--help", "--help-all"))
    assert (ended.returncode, everything.returncode) == (0, 0)
    assert ended.stderr == everything.stderr == ""
    assert ended.stdout.startswith("usage: python -m jobs.search [options]\n")
    assert len(ended.stdout.splitlines()) <= 100
    examples = [line for line in ended.stdout.split("examples:")[1].splitlines() if "python -m jobs.search" in line]
    assert len(examples) >= 3
    paths = [path for path, _ in searchable_fields(SearchConfig)]
    assert len(paths) > 70
    for path in paths:
        assert f"--{path}" in everything.stdout
    for option in ("--config", "--dry-run", "--log-json", "--wait-for-resources", "--search.trials", "--data.tables"):
        assert option in ended.stdout


@pytest.mark.usefixtures("cluster")
def test_examples_of_the_help_are_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is tried as a dry run; the real recordings may not be here."""
    monkeypatch.chdir(ROOT)
    lines = (search.SearchCommand.__doc__ or "").split("examples:")[1].split("\n")
    examples = [line.split()[3:] for line in lines if "jobs.search" in line]
    assert len(examples) >= 3
    for arguments in examples:
        if "configs/recordings.json" not in arguments:
            command = [*arguments, "--dry-run", "--data.simulator.rows=1500", f"--search.storage={tmp_path / 'none'}"]
            assert search.run(command) == 0
    assert list(tmp_path.iterdir()) == []


def test_dry_run_prints_the_configuration_and_the_plan_and_writes_nothing(
    cluster: None, tmp_path: Path, write_config: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config({"model": {"width": 0.5, "dropout": 0.1}, "search": {"trials": 5}})
    storage = tmp_path / "not[/red]there"  # no markup
    arguments = ["--config", config, "--model.width=0.25", "--data.simulator.rows=600", "--dry-run"]
    assert search.run([*arguments, "--search.storage", str(storage)]) == 0
    resolved, end = json.JSONDecoder().raw_decode(printed := capsys.readouterr().out)
    parsed = SearchConfig.model_validate(resolved)
    assert (parsed.model.width, parsed.model.dropout, parsed.model.use_film) == (0.25, 0.1, True)
    assert (parsed.data.simulator.rows, parsed.search.trials) == (600, 5)
    plan = printed[end:]
    assert f"Study 'quickstart' in {storage}/quickstart: 0 of 5 trials finished" in plan
    assert "1 worker of 1 CPU and 0 GPUs each, up to 60 epochs; 2 at once, on 1 node with 2 CPUs" in plan
    assert "Split by subject (19 subjects" in plan
    assert "model.early_signal_ratio" in plan
    assert list(tmp_path.iterdir()) == [Path(config)]


def test_dry_run_of_a_study_that_is_there_changes_nothing(
    study: Path, tiny: dict[str, Any], write_config: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    def files() -> dict[Path, bytes]:
        return {file: file.read_bytes() for file in study.rglob("*") if file.is_file() and file.name != ".lock"}

    before = files()
    assert search.run(["--config", write_config(tiny), "--search.trials=9", "--dry-run"]) == 0
    assert "3 of 9 trials finished" in capsys.readouterr().out
    assert files() == before


@pytest.mark.parametrize("columns", ["80", "60"])
def test_a_finished_search_shows_the_front_and_what_to_do_next(
    study: Path,
    tiny: dict[str, Any],
    write_config: Write,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    columns: str,
) -> None:
    """Also: the same command again finds its study finished."""
    monkeypatch.setenv("COLUMNS", columns)
    assert search.run(["--config", write_config(tiny)]) == 0
    printed = capsys.readouterr().out
    assert "…" not in printed
    result = SearchResult.open(study)
    assert [trial.state for trial in result.trials] == ["complete"] * 3
    for trial in result.pareto:
        assert f"{trial.reconstruction_nmse:.4f}" in printed
        assert f"{trial.disentanglement:.4f}" in printed
        assert hcvae.load(study / "best" / f"trial-{trial.number}").config.model.width == 0.02
    for command in (
        f"python -m jobs.dashboard {study}",
        f"python -m jobs.report {study} --out {study.parent}/{study.name}.html",
        f"python -m jobs.pull {study} --out {study.parent}/model",
        f"hcvae generate {study.parent}/model --condition stimulus_level_db=",
        f"python -m jobs.search --config {write_config(tiny)} --search.trials 6",
    ):
        assert command in printed


def test_what_to_do_next_can_be_pasted_whatever_the_folder_is_called(
    study: Path, tiny: dict[str, Any], tmp_path: Path
) -> None:
    folder = shutil.copytree(study, tmp_path / "it's $HOME; here" / "tiny")
    result = SearchResult.open(folder)
    config = SearchConfig.model_validate(tiny)
    lines = search._next_steps(config, result, []).splitlines()
    commands = [line[22:] for line in lines if line.startswith(("keep it", "take the", "generate"))]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    pasted = "set -e\n" + "\n".join(commands)
    ran = subprocess.run(["bash", "-c", pasted], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert {path.name for path in tmp_path.iterdir()} == {folder.parent.name}
    assert {path.name for path in folder.parent.iterdir()} == {"tiny", "tiny.html", "model", "generated.parquet"}
    [dashboard] = [line[22:] for line in lines if line.startswith("look at")]
    assert shlex.split(dashboard) == ["python", "-m", "jobs.dashboard", str(folder)]


def test_a_search_of_all_combinations_is_not_told_to_go_on(study: Path, tiny: dict[str, Any]) -> None:
    config = SearchConfig.model_validate(tiny | {"search": tiny["search"] | {"trials": 39}})
    assert "search further" not in search._next_steps(config, SearchResult.open(study), [])


# Waiting, in a process of its own; tests/tune/test_interruption.py has the interruptions


@pytest.mark.services
def test_waiting_for_resources_is_told_and_can_be_stopped(tmp_path: Path, start_job: Start) -> None:
    arguments = ["--data.simulator.rows=600", f"--search.storage={tmp_path / 'results'}"]
    process = start_job("search", *arguments, "--search.gpus_per_worker=64", "--wait-for-resources")
    assert process.stdout is not None
    said = process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=180)
    assert said.startswith("waiting for resources: ")
    assert "64 GPUs, more than the cluster has" in said
    assert process.returncode == 130
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    "given", [["--search.trials", "3"], ["--search.trials=3"], ["--search.trials", "2", "--search.trials=3"], []]
)
def test_searching_further_gives_the_number_of_trials_once(study: Path, tiny: dict[str, Any], given: list[str]) -> None:
    config = SearchConfig.model_validate(tiny)
    steps = search._next_steps(config, SearchResult.open(study), ["--config", "a.json", *given, "--model.width=0.1"])
    [line] = [line for line in steps.splitlines() if line.startswith("search further")]
    assert line[22:] == "python -m jobs.search --config a.json --model.width=0.1 --search.trials 6"


def test_a_study_of_other_tables_has_their_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], small_table: Callable[[Path], str]
) -> None:
    table = small_table(tmp_path / "mice.parquet")
    config = str(ROOT / "configs" / "quickstart.json")
    arguments = ["--config", config, "--data.tables", table, "--search.storage", str(tmp_path / "results")]
    assert search.run([*arguments, "--dry-run"]) == 0
    assert f"Study 'mice' in {tmp_path}/results/mice: 0 of 8 trials" in capsys.readouterr().out


@pytest.fixture
def small_table() -> Callable[[Path], str]:
    def write(path: Path) -> str:
        write_table(simulate(600, 0), path)
        return str(path)

    return write
