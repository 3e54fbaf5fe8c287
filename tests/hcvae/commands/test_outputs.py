"""No command replaces or changes what it reads."""

import hashlib
from pathlib import Path

import pytest

from hcvae import cli
from hcvae.data.simulator import simulate
from hcvae.data.table import write_table
from hcvae.errors import UserError
from hcvae.storage import StoragePath
from jobs import generate, pull, train


@pytest.fixture
def folder(tmp_path, trained, monkeypatch) -> Path:
    """A folder, the current one, with tables `t.parquet` and `u.parquet`, the bundle `model`, and a link to it."""
    write_table(simulate(40, 1), tmp_path / "t.parquet")
    write_table(simulate(40, 2), tmp_path / "u.parquet")
    StoragePath.of(trained).fetch(tmp_path / "model")
    (tmp_path / "link").symlink_to("model")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def digests(folder: Path) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


LIKE = ["--like", "t.parquet"]


@pytest.mark.parametrize(
    ("run", "arguments", "option"),
    [
        (cli.run, ["inspect", "t.parquet", "--json", "t.parquet"], "--json t.parquet: would replace t.parquet"),
        (cli.run, ["inspect", "t.parquet", "--json", "./model/../t.parquet"], "would replace t.parquet"),
        (cli.run, ["inspect", "t.parquet", "--json", "a.png", "--figure", "a.png"], "--json a.png: would replace"),
        (cli.run, ["inspect", "t.parquet", "--figure", "t.parquet"], "--figure t.parquet: the name must end in .png"),
        (cli.run, ["inspect", "model", "--json", "model/config.json"], "--json model/config.json: is inside model"),
        (cli.run, ["inspect", "link", "--json", "model/config.json"], "is inside link"),
        (cli.run, ["generate", "model", *LIKE, "--out", "t.parquet"], "--out t.parquet: would replace t.parquet"),
        (
            cli.run,
            ["generate", "model", *LIKE, "--swap", "1", "--other", "u.parquet", "--out", "u.parquet"],
            "would replace u.parquet",
        ),
        (cli.run, ["generate", "model", "--out", "model/a.parquet"], "--out model/a.parquet: is inside model"),
        (cli.run, ["generate", "model", "--out", "link/a.csv"], "is inside model"),
        (cli.run, ["generate", "model", "--out", "a.csv", "--figure", "model/a.png"], "--figure model/a.png: is"),
        (cli.run, ["evaluate", "model", "--out", "model"], "--out model: would replace model"),
        (cli.run, ["evaluate", "model", "--out", "model/figures"], "is inside model"),
        (cli.run, ["export", "model", "--onnx", "model/model.onnx"], "--onnx model/model.onnx: is inside model"),
        (generate.run, ["model", "--out", "model/many"], "--out model/many: is inside model"),
        (pull.run, ["model", "--out", "model/pulled"], "--out model/pulled: is inside model"),
    ],
)
def test_an_output_that_is_an_input_is_refused(folder, run, arguments, option):
    before = digests(folder)
    with pytest.raises(UserError) as caught:
        run(arguments)
    assert option in str(caught.value)
    assert digests(folder) == before


def test_a_training_is_not_written_into_a_model(folder):
    before = digests(folder)
    with pytest.raises(UserError, match=r"--out: .*model is a model bundle; name another folder"):
        train.run(["--data.simulator.rows", "200", "--out", "model"])
    assert digests(folder) == before


def test_a_training_does_not_replace_the_model_it_starts_from(folder):
    Path("one").mkdir()
    Path("model").rename("one/bundle")
    arguments = ["--data.simulator.rows", "200", "--training.start_from", "one/bundle", "--out", "one"]
    with pytest.raises(UserError, match="--out one/bundle: would replace"):
        train.run(arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ["inspect", "t.parquet", "--json", "new/a.json"],
        ["inspect", "t.parquet", "--figure", "new/a.png"],
        ["generate", "model", "--out", "new/a.parquet"],
        ["generate", "model", "--out", "a.parquet", "--figure", "new/a.png"],
        ["simulate", "--out", "new/a.parquet"],
        ["export", "model", "--onnx", "new/a.onnx"],
    ],
)
def test_a_missing_folder_is_named_before_the_work(folder, arguments):
    before = digests(folder)
    with pytest.raises(UserError, match=f"the folder {folder}/new does not exist; make it first"):
        cli.run(arguments)
    assert digests(folder) == before
