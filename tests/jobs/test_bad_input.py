"""Bad input of a search and of a training: one message that says where, what and the value, and nothing is written."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hcvae.data.table import signals_of
from hcvae.errors import UserError
from jobs import search, train

Change = Callable[[pa.Table], pa.Table]
Refuse = Callable[..., str]
Run = Callable[..., Any]
Write = Callable[[Any], str]


@pytest.fixture(params=["search", "train"])
def refuse(request: pytest.FixtureRequest, tmp_path: Path) -> Refuse:
    """Runs the job with some arguments, sees that it refuses them and leaves nothing behind, and gives its message."""

    def refuse(*arguments: str) -> str:
        place = tmp_path / "results"
        before = set(tmp_path.rglob("*"))
        job, option = (search, "--search.storage") if request.param == "search" else (train, "--out")
        with pytest.raises(UserError) as error:
            job.run([option, str(place), "--model.width=0.02", *arguments])
        assert set(tmp_path.rglob("*")) == before
        return str(error.value)

    return refuse


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"model": {"widht": 1}}, "model.widht: unknown key; did you mean 'width'?"),
        ({"modle": {"width": 1}}, "modle: unknown key; did you mean 'model'?"),
        ({"data": {"split": {"unit": "ear"}}}, "data.split.unit: input should be 'auto', 'subject' or 'recording'"),
        ({"training": {"epochs": 0}}, "training.epochs: input should be greater than or equal to 1, but got 0"),
        ({"model": {"dropout": 1.0}}, "model.dropout: input should be less than 1, but got 1.0"),
        ({"training": {"learning_rate": "fast"}}, "training.learning_rate: must be a number"),
        (
            {"model": {"global_latent_dim": 40, "local_latent_dim": 32}},
            "local_latent_dim >= global_latent_dim must hold, but got (local_latent_dim=32, global_latent_dim=40)",
        ),
        (
            {"data": {"split": {"validation": 0.6, "test": 0.4}}},
            "validation + test < 1 must hold, but got (validation=0.6, test=0.4)",
        ),
        ({"normalization": {"group_by": "species"}}, "normalization.group_by must be one of data.static"),
        ('{"model": {}', "config.json: not JSON: Expecting ',' delimiter: line 1"),
        ([], "config.json: must hold a JSON object, but got list"),
    ],
)
def test_a_bad_configuration_file(refuse: Refuse, write_config: Write, content: Any, message: str) -> None:
    assert message in refuse("--config", write_config(content))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model.widht=1"], "--model.widht: unknown option; did you mean '--model.width'?"),
        (["--confg", "x.json"], "--confg: unknown option; did you mean '--config'?"),
        (["--training.batch_size=0"], "training.batch_size: input should be greater than or equal to 1, but got '0'"),
        (["--training.batch_size=many"], "--training.batch_size: must be a whole number"),
        (["--model.global_latent_dim=33"], "(local_latent_dim=32, global_latent_dim=33)"),
        (["--config", "nowhere.json"], "nowhere.json: No such file or directory; name a JSON configuration file"),
        (["--config"], "--config: expected one argument; see `python -m jobs."),
        (["--data.tables=nowhere.parquet"], "nowhere.parquet'; name a Parquet file"),
        (["--training.device=cud"], "training.device: input should be 'auto', 'cpu' or 'cuda', but got 'cud'"),
        (["--data.static=stimulus_level"], "column 'stimulus_level' is missing; did you mean 'stimulus_level_db'?"),
        (["--model.static_dim=5"], "model.static_dim: must be 7 for the encoded columns"),
        (["--data.simulator.rows=10"], "must vary among the training rows"),
    ],
)
def test_bad_options(refuse: Refuse, arguments: Sequence[str], message: str) -> None:
    assert message in refuse(*arguments)


def set_column(name: str, values: Any) -> Change:
    """Puts `values`, or one value in every row, into a column."""

    def change(table: pa.Table) -> pa.Table:
        column = values if isinstance(values, pa.Array | list) else [values] * table.num_rows
        return table.set_column(table.column_names.index(name), name, pa.array(column))

    return change


def set_samples(*samples: tuple[int, float]) -> Change:
    """Puts a value into the middle of the waveforms of some rows."""

    def change(table: pa.Table) -> pa.Table:
        signals = signals_of(table).copy()
        for row, value in samples:
            signals[row, 100] = value
        return set_column("signal", pa.FixedSizeListArray.from_arrays(signals.ravel(), signals.shape[1]))(table)

    return change


def one_short_waveform(table: pa.Table) -> pa.Table:
    """Row 7 has 150 samples."""
    signals = [list(signal[:150] if row == 7 else signal) for row, signal in enumerate(signals_of(table))]
    return set_column("signal", pa.array(signals, pa.list_(pa.float32())))(table)


def one_recording(table: pa.Table) -> pa.Table:
    """All rows are averages of one recording."""
    for name, value in (("subject_id", "s"), ("stimulus_level_db", 60.0), ("recording_index", 0)):
        table = set_column(name, value)(table)
    return table


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        (lambda t: t.slice(0, 0), [], r"table\.parquet: a waveform table must have rows, but got none"),
        (lambda t: t.drop_columns("age_years"), [], r"table\.parquet: column 'age_years' is missing; it has \["),
        (lambda t: t.drop_columns("signal"), [], r"table\.parquet: column 'signal' is missing"),
        (lambda t: t.drop_columns("subject_id"), [], r"table\.parquet: column 'subject_id' is missing"),
        (
            lambda t: t.rename_columns({"hearing_loss_db": "hearing_loss"}),
            [],
            r"column 'hearing_loss_db' is missing; did you mean 'hearing_loss'\?",
        ),
        (
            lambda t: t,
            ["--model.signal_length=256"],
            r"'signal' \(model\.signal_length=256\): 600 of 600 rows must hold 256 values, but got \[200\]",
        ),
        (one_short_waveform, [], r"1 of 600 rows must hold 200 values, but got \[150\]; the rows are 7 \(from 0\)"),
        (set_column("signal", 1.0), [], r"column 'signal'.*must hold lists of 200 values, but got type double"),
        (
            set_samples((3, np.nan), (17, np.inf), (599, -np.inf)),
            [],
            r"'signal': 3 of 600 rows contain NaN or infinite samples; the rows are 3, 17, 599 \(from 0\)",
        ),
        (
            set_samples(*((row, np.nan) for row in range(20, 40))),
            [],
            r"20 of 600 rows contain NaN or infinite samples; the rows are 20, 21, 22, 23, 24, \.\.\. \(from 0\)",
        ),
        (
            set_column("age_years", [np.inf] + [40.0] * 599),
            [],
            r"'age_years': 1 of 600 rows are infinite; the rows are 0 \(from 0\)",
        ),
        (set_column("age_years", 40.0), [], r"'age_years' must vary among the training rows, but got 40\.0 in all"),
        (set_column("age_years", None), [], r"'age_years' must vary among the training rows, but got None in all"),
        (set_column("sex", "F"), [], r"'sex' must vary among the training rows, but got 'F' in all"),
        (
            set_column("subject_id", "s"),
            ["--data.split.unit=subject"],
            r"data\.split: each part needs a subject, but got 1 in total .*; use --data.split.unit recording",
        ),
        (
            one_recording,
            ["--data.static=age_years"],
            r"data\.split: each part needs a recording, but got 1 in total .*; name the columns that identify",
        ),
        (
            lambda t: t.replace_schema_metadata(None),
            [],
            r"table\.parquet: no sampling_rate_hz in the metadata; set --data\.sampling_rate_hz",
        ),
        (lambda t: t, ["--data.sampling_rate_hz=10000"], r"recorded at 20000 Hz, but got data\.sampling_rate_hz=10000"),
    ],
)
def test_a_bad_table(
    refuse: Refuse, simulated: pa.Table, tmp_path: Path, change: Change, arguments: Sequence[str], message: str
) -> None:
    file = tmp_path / "table.parquet"
    pq.write_table(change(simulated), file)
    told = refuse(f"--data.tables={file}", *arguments)
    assert re.search(message, told), told
    assert len(told.splitlines()) == 1


def test_files_that_are_not_parquet(refuse: Refuse, simulated: pa.Table, tmp_path: Path) -> None:
    text, half, folder = (tmp_path / name for name in ("table.csv", "half.parquet", "folder.parquet"))
    text.write_text("subject_id,stimulus_level_db\ns0,60\n")
    pq.write_table(simulated, half)
    half.write_bytes(half.read_bytes()[:-100])
    folder.mkdir()
    for file in (text, half, folder):
        assert f"{file}: must be a readable Parquet file" in refuse(f"--data.tables={file}")


def test_one_bad_table_of_two_is_named(refuse: Refuse, simulated: pa.Table, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.parquet", tmp_path / "bad.parquet"
    pq.write_table(simulated, good)
    pq.write_table(simulated.drop_columns("n_averages"), bad)
    assert f"{bad}: column 'n_averages' is missing" in refuse(f"--data.tables={good},{bad}")
    pq.write_table(simulated.replace_schema_metadata({"sampling_rate_hz": "10000"}), bad)
    assert "all files must have one sampling rate" in refuse(f"--data.tables={good},{bad}")
    assert "each file must be named once" in refuse(f"--data.tables={good},{good}")


def test_a_static_column_that_only_its_nulls_vary_is_accepted(simulated: pa.Table, tmp_path: Path) -> None:
    file = tmp_path / "table.parquet"
    pq.write_table(set_column("age_years", [40.0, None] * 300)(simulated), file)
    assert train.run(["--out", str(tmp_path / "out"), "--dry-run", f"--data.tables={file}"]) == 0


def test_a_process_ends_with_2_and_one_message(run_job: Run, tmp_path: Path) -> None:
    file = tmp_path / "notes.parquet"
    file.write_text("no table")
    for arguments, message in (
        (["--model.widht=1"], "error: --model.widht: unknown option; did you mean '--model.width'?\n"),
        ([f"--data.tables={file}"], f"error: {file}: must be a readable Parquet file"),
    ):
        ended = run_job("search", f"--search.storage={tmp_path / 'results'}", *arguments)
        assert ended.returncode == 2
        assert ended.stderr.startswith(message)
        assert len(ended.stderr.splitlines()) == 1
        assert ended.stdout == ""
    assert not (tmp_path / "results").exists()
