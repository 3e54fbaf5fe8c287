import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from edfio import read_edf
from scipy.io import loadmat

from hcvae import cli
from hcvae.config import Config
from hcvae.data.dataset import prepare
from hcvae.data.simulator import simulate
from hcvae.data.table import signals_of
from hcvae.errors import UserError
from hcvae.training import train_bundle

ROOT = Path(__file__).resolve().parents[2]


def hcvae(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "hcvae", *arguments], cwd=ROOT, capture_output=True, text=True)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Path:
    config = Config.model_validate(
        {"model": {"width": 0.05}, "data": {"simulator": {"rows": 1500}}, "training": {"epochs": 1}}
    )
    folder = tmp_path_factory.mktemp("cli")
    train_bundle(config, prepare(config), folder)
    return folder / "bundle"


def test_simulate_writes_the_table_of_the_simulator(tmp_path, capsys):
    out = tmp_path / "table.parquet"
    assert cli.run(["simulate", "--rows", "120", "--seed", "7", "--out", str(out)]) == 0
    written, expected = pq.read_table(out), simulate(120, 7)
    assert written.schema.equals(expected.schema)
    assert written.schema.metadata == expected.schema.metadata
    complete = [name for name in written.column_names if not name.startswith("peak_")]  # NaN is not equal to NaN
    assert written.select(complete).equals(expected.select(complete))
    assert "120 waveforms" in capsys.readouterr().out


def test_generate_writes_uv_for_the_condition_and_reports_assumed_values(bundle, tmp_path, capsys):
    out = tmp_path / "generated.parquet"
    arguments = ["generate", str(bundle), "--condition", "stimulus_level_db=60", "--condition", "sex=F"]
    assert cli.run([*arguments, "--samples", "5", "--out", str(out)]) == 0
    table = pq.read_table(out)
    assert table["stimulus_level_db"].to_pylist() == [60] * 5
    assert table["sex"].to_pylist() == ["F"] * 5
    said = capsys.readouterr().out
    assert cli.run(["inspect", str(out), "--json", str(tmp_path / "a.json")]) == 0
    inspected = capsys.readouterr().out
    with pytest.raises(UserError, match=r"--subject-column: is for recordings, but .* has generated waveforms"):
        cli.run(["inspect", str(out), "--subject-column", "sample"])
    assert (
        f"{out}: generated with the bundle {Path(bundle).name}, not recorded; expected responses, without residual"
        in inspected
    )
    assert "subject" not in inspected
    assert "5 waveforms, 200 samples at 20000 Hz" in inspected
    assert "stimulus_level_db = 60\n" in said
    assert "(filled in: the most frequent in training with the values given)" in said


def test_generate_writes_the_format_of_the_suffix(bundle, tmp_path):
    for suffix in ("parquet", "csv", "mat", "edf"):
        assert cli.run(["generate", str(bundle), "--samples", "5", "--out", str(tmp_path / f"a.{suffix}")]) == 0
    signals = signals_of(pq.read_table(tmp_path / "a.parquet"))
    rows = (tmp_path / "a.csv").read_text().splitlines()
    first = rows[0].split(",").index('"t_ms=0"')
    assert np.array_equal(np.array([row.split(",")[first] for row in rows[1:]], np.float32), signals[:, 0])
    assert np.array_equal(loadmat(tmp_path / "a.mat", simplify_cells=True)["abr"]["signal"], signals)
    assert np.allclose(read_edf(tmp_path / "a.edf").signals[0].data.reshape(5, 200), signals, atol=1e-4)


def test_generate_adds_residual_noise_on_request(bundle, tmp_path):
    for option, says in (([], b"false"), (["--residual-noise"], b"true")):
        out = tmp_path / f"{says.decode()}.parquet"
        assert cli.run(["generate", str(bundle), *option, "--samples", "50", "--out", str(out)]) == 0
        assert pq.read_table(out).schema.metadata[b"residual_noise"] == says
    response, noisy = (signals_of(pq.read_table(tmp_path / f"{name}.parquet")) for name in ("false", "true"))
    assert (noisy - response).std() > 0.01


def test_help_is_quick_and_loads_no_torch():
    hcvae("--help")  # the first start compiles
    started = time.perf_counter()
    result = hcvae("--help")
    assert time.perf_counter() - started < 5
    assert result.returncode == 0
    assert "generate" in result.stdout
    loaded = subprocess.run(
        [sys.executable, "-c", "import hcvae.cli, sys; print('torch' in sys.modules)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert loaded.stdout.strip() == "False"


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_of_a_command_is_short_and_has_examples(command, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.run([command, "--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: hcvae {command} ")
    assert f"hcvae {command} " in shown.split("examples:")[1]
    assert len(shown.splitlines()) <= 100


@pytest.mark.parametrize("module", ["hcvae.command_line", "cluster.errors"])
def test_a_reader_that_closes_the_pipe_causes_no_message(module):
    program = f"import sys, {module} as m; sys.exit(m.main(lambda arguments: print('line')))"
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


def test_the_version_is_shown():
    shown = [hcvae("--version").stdout, hcvae("import", "--version").stdout]
    assert shown == [f"hcvae {version('hcvae')}\n"] * 2


def test_python_m_hcvae_is_the_command():
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-m", "hcvae", *arguments], cwd=ROOT, capture_output=True, text=True)

    assert run("--version").stdout == f"hcvae {version('hcvae')}\n"
    assert run("inspect", "--help").stdout.startswith("usage: hcvae inspect ")
    refused = run("genrate")
    assert refused.returncode == 2
    assert refused.stderr == "error: genrate: unknown command; did you mean 'generate'?\n"


def test_user_errors_exit_with_2_and_one_message(tmp_path):
    for arguments, message in [
        (["genrate"], "genrate: unknown command; did you mean 'generate'?"),
        (["simulate", "--row", "3", "--out", "x"], "--row: unknown option; did you mean '--rows'?"),
        (["simulate"], "error: --out: is required"),
        (["simulate", "--out", "x.xlsx"], "must end in one of .parquet, .csv, .mat, .edf, but got '.xlsx'"),
        (["generate", str(tmp_path), "--out", "x.csv"], "not a model bundle"),
    ]:
        result = hcvae(*arguments)
        assert result.returncode == 2, result.stderr
        assert result.stderr.startswith("error: ")
        assert message in result.stderr
        assert "Traceback" not in result.stderr


def test_an_unwritable_path_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match=r"--out: the folder .*missing does not exist; make it first"):
        cli.run(["simulate", "--rows", "10", "--out", str(tmp_path / "missing" / "table.parquet")])
