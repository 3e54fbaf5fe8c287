import json

import pyarrow as pa
import pytest

from hcvae import cli
from hcvae.data.simulator import simulate
from hcvae.data.table import write_table
from hcvae.errors import UserError
from hcvae.evaluation import MEASURES
from hcvae.evaluation.comparison import _shown, folder_names


@pytest.fixture
def tables(tmp_path):
    """A function that writes a table of 400 simulated rows, and returns its path."""

    def write(change=lambda table: table):
        write_table(change(simulate(400, 3)), tmp_path / "new.parquet")
        return str(tmp_path / "new.parquet")

    return write


@pytest.fixture
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")


def evaluate(*arguments) -> int:
    return cli.run(["evaluate", *map(str, arguments)])


def test_a_bundle_is_compared_with_baselines(trained, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert evaluate(trained, "--out", tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "…" not in said
    for words in ("3+4", "condition", "oracle", "recorded", "J_gt, known factors", "test part"):
        assert words in said
    written = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    stored = json.loads((trained / "metrics.json").read_text())["test"]
    found = written["bundles"]["bundle"]
    assert found["measures"]["reconstruction_nmse"] == pytest.approx(stored["reconstruction_nmse"], rel=1e-3)
    assert set(MEASURES) <= {*found["measures"], *found["left_out"]}
    assert list(written["baselines"]) == ["PCA 3+4", "condition mean", "oracle", "recorded"]
    for column in (found, *written["baselines"].values()):
        shown = {_shown(value) for name, value in column["measures"].items() if name in MEASURES}
        assert shown - set(said.split()) == set()
    figures = {path.name for path in (tmp_path / "out").glob("*.png")}
    assert {"swap_grid.png", "fixed_global.png", "fixed_local.png", "interpolation.png"} < figures


def test_other_tables_have_no_baselines_and_a_note(trained, tables, tmp_path, capsys, wide):
    def without_factors(table):
        return table.drop_columns([name for name in table.column_names if name.startswith("factor_")])

    assert evaluate(trained, "--data", tables(without_factors), "--out", tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "No baselines" in said
    assert "'factor_gain'" in said
    written = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert written["baselines"] == {}
    assert "needs the training rows" in written["bundles"]["bundle"]["left_out"]["memorisation_z"]


def shortened(table):
    short = pa.FixedSizeListArray.from_arrays(pa.array([0.0] * 100 * len(table), pa.float32()), 100)
    return table.set_column(table.schema.get_field_index("signal"), "signal", short)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop_columns("age_years"), "column 'age_years' is missing"),
        (shortened, r"model\.signal_length=200"),
        (lambda table: table.replace_schema_metadata({"sampling_rate_hz": "10000"}), "20000 Hz, but got 10000 Hz"),
    ],
)
def test_tables_that_do_not_fit_are_refused(trained, tables, tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        evaluate(trained, "--data", tables(change), "--out", tmp_path / "out")


def test_bundles_missing_or_named_twice_are_refused(trained, tmp_path):
    with pytest.raises(UserError, match="not a model bundle"):
        evaluate(tmp_path / "no-bundle", "--out", tmp_path / "out")
    with pytest.raises(UserError, match="each must be named once"):
        evaluate(trained, trained, "--out", tmp_path / "out")


@pytest.mark.parametrize(
    ("bundles", "folder"),
    [
        (["results/model"], "results/evaluation-model"),
        (["results/one/bundle"], "results/evaluation-one"),
        (["results/night/best/trial-3/"], "results/evaluation-night-trial-3"),
        (["a/model", "b/model"], "results/evaluation"),
    ],
)
def test_the_default_folder_has_the_name_of_the_model(bundles, folder):
    from hcvae.commands.evaluate import Evaluate, _out

    command = Evaluate.model_construct(bundles=bundles, out=None)
    assert str(_out(command, folder_names(bundles))) == folder
