"""What the inspection says of training and search, against what the jobs do with the same table and options."""

import json
import re
import shlex

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hcvae import cli
from hcvae.config import Config
from hcvae.data.dataset import prepare
from hcvae.data.simulator import simulate
from hcvae.data.table import write_table
from hcvae.errors import UserError
from hcvae.inspection import read
from hcvae.inspection.trainability import trainability
from hcvae.readiness import unmeasured

COLUMNS = ["record_id", "subject_id", "stimulus_level_db", "recording_index", "n_averages", "sex", "signal"]


@pytest.fixture
def own(tmp_path):
    """A function that writes so many waveforms, two averages a recording, as a small laboratory has them."""

    def write(rows, *without):
        path = str(tmp_path / f"own{rows}.parquet")
        write_table(simulate(400, 1).slice(0, rows).select(COLUMNS).drop_columns(list(without)), path)
        return path

    return write


def prepared(*options):
    """The data of a training with these options of the command line."""
    tree = {"data": {}, "model": {}}
    words = [word for option in options for word in shlex.split(option)]
    for name, value in zip(words[::2], words[1::2], strict=True):
        section, key = name.removeprefix("--").split(".")
        tree[section][key] = json.loads(value)
    return prepare(Config.model_validate(tree))


def test_enough_recordings_are_ready_for_training_and_search(tmp_path):
    path = str(tmp_path / "a.parquet")
    write_table(simulate(1500, 1).select(COLUMNS), path)
    found = trainability(read(path))
    assert (found.untrainable, found.unsearchable, found.remedy) == (None, None, None)
    assert "subjects, at least 5" in found.split
    assert unmeasured(prepared(found.options)) == {}


@pytest.mark.parametrize("rows", [40, 90])
def test_the_remedy_of_a_search_is_sufficient(own, rows):
    found = trainability(read(own(rows)))
    assert found.untrainable is None
    assert "cannot be measured on the validation part" in found.unsearchable
    assert found.remedy.startswith("--data.static")
    assert "validation" in unmeasured(prepared(found.options))
    assert "validation" not in unmeasured(prepared(found.options, found.remedy))


def with_column(path, name, values):
    """Write the table of `path` again with one more column."""
    table = pq.read_table(path)
    write_table(table.append_column(name, pa.array(values)), path)


def test_two_ears_are_not_averages_of_one_response(own):
    path = own(40)
    with_column(path, "ear", ["L", "R"] * 20)
    counted, *_ = trainability(read(path)).averages
    assert counted.startswith("independent averages: 0 of 40 waveforms")
    assert counted.endswith("recording_index, sex, ear)")


def test_averages_that_differ_in_a_column_of_ones_own_are_reported(own):
    path = own(40)
    with_column(path, "electrode", ["Cz", "Fz"] * 20)
    found = trainability(read(path))
    counted, warning = found.averages
    assert counted.startswith("independent averages: 40 of 40 waveforms")
    assert warning.startswith("warning: rows that differ in electrode count as averages of one response")
    [option] = re.findall(r"--data\.average_columns '.*'", warning)
    assert (prepared(found.options, option).train.independent == -1).all()


def test_recordings_repeated_at_a_level_are_joined_by_the_option(own):
    path = own(400)
    table = pq.read_table(path)
    write_table(
        table.set_column(table.column_names.index("recording_index"), "recording_index", pa.array(range(400))), path
    )
    found = trainability(read(path))
    counted, hint = found.averages
    assert counted.startswith("independent averages: 0 of 400 waveforms")
    [option] = re.findall(r"--data\.average_columns '.*'", hint)
    assert (prepared(found.options, option).train.independent >= 0).any()


def test_without_record_ids_a_column_is_requested(own):
    found = trainability(read(own(40, "record_id")))
    assert "a column record_id that names each row" in found.remedy


def test_the_waveforms_that_are_missing_are_counted(own):
    found = trainability(read(own(12)))
    assert "2 waveforms are too few" in found.unsearchable
    assert "about 54 waveforms in all, so that the validation part has 9 or more" in found.remedy  # 9 * 12 / 2


@pytest.mark.parametrize(
    ("rows", "without", "said"),
    [
        (2, (), "no column that could condition a model varies, such as stimulus_level_db"),
        (4, (), "at least 3 are needed"),
        (40, ("stimulus_level_db", "sex", "n_averages"), "no column that could condition"),
    ],
)
def test_what_is_missing_for_training(own, rows, without, said):
    assert said in trainability(read(own(rows, *without))).untrainable


def test_rows_without_a_waveform_prevent_training(make_table):
    from hcvae.inspection import Recordings

    signals = [[np.nan] * 64, *make_table()["signal"].to_pylist()[1:]]
    assert "see the warnings" in trainability(Recordings.of(make_table(signal=signals))).untrainable


@pytest.mark.parametrize(
    ("signals", "levels", "said"),
    [
        (np.ones((48, 64)), [10, 20], "must vary, but all samples are 1 uV"),
        (3e30 * np.random.default_rng(0).normal(size=(48, 64)), [10, 20], "must have a scale from 1e-30 to 1e\\+30 uV"),
        (
            np.random.default_rng(0).normal(size=(48, 2)),
            [10, 20],
            "signal_length: input should be greater than or equal",
        ),
        (
            np.random.default_rng(0).normal(size=(48, 64)),
            [1e300, -1e300],
            "'stimulus_level_db': 48 of 48 rows must be -120 to 200 dB, but got -1e\\+300 to 1e\\+300",
        ),
    ],
)
def test_waveforms_unfit_for_a_network_prevent_training(make_table, tmp_path, signals, levels, said):
    path = str(tmp_path / "a.parquet")
    signal = pa.array(signals.astype(np.float32).tolist(), pa.list_(pa.float32()))
    write_table(make_table(signal=signal, stimulus_level_db=[*map(float, levels)] * 24), path)
    assert re.search(said, trainability(read(path)).untrainable)


def test_the_command_prints_and_writes_it(own, tmp_path, capsys):
    """The options are those of a table with other names, another length and rate."""
    path = own(40)
    assert cli.run(["inspect", path, "--json", str(tmp_path / "a.json")]) == 0
    said = capsys.readouterr().out
    assert (
        f"ready for training, but read the warning: python -m jobs.train --data.tables '[\"{path}\"]' --data.static"
        in said
    )
    assert "not ready for a search: disentanglement cannot be measured" in said
    assert json.loads((tmp_path / "a.json").read_text())["training"]["remedy"].startswith("--data.static")


def test_other_names_lengths_and_rates_become_options(make_table, tmp_path):
    path = str(tmp_path / "a.parquet")
    write_table(make_table(12, 8, rate_hz=None).rename_columns({"subject_id": "animal"}), path)
    found = trainability(read(path, "animal", sampling_rate_hz=20000.0), "animal", sampling_rate_hz=20000.0)
    for option in ("--model.signal_length 64", "--data.sampling_rate_hz 20000.0", "--data.subject_column animal"):
        assert option in found.options
    options = found.options.replace("--data.subject_column animal", "--data.subject_column '\"animal\"'")
    assert prepared(options).n_train == 192 * 8 // 12  # 8 of 12 subjects
    with pytest.raises(UserError, match="subject_id"):
        prepared(found.options.replace("--data.subject_column animal", ""))


def merged(tmp_path, **changes):
    """A table of simulated responses with columns of merged recordings."""
    table = simulate(600, 1).select(COLUMNS)
    rows = table.num_rows
    clicks = np.arange(rows) // 10 % 2 == 0
    columns = {
        "stimulus_type": np.where(clicks, "click", "tone_pip").tolist(),
        "stimulus_frequency_hz": [None if click else 8000.0 + 8000.0 * (row % 3) for row, click in enumerate(clicks)],
        "ear": [("L", "R")[row % 2] for row in range(rows)],
        "half": [row % 2 for row in range(rows)],
    }
    for name, values in (columns | changes).items():
        table = table.append_column(name, pa.array(values))
    path = str(tmp_path / "merged.parquet")
    write_table(table, path)
    return path


def proposed(found):
    words = shlex.split(found.options)
    return json.loads(words[words.index("--data.static") + 1])


def test_only_columns_of_the_stimulus_and_the_subject_are_proposed(tmp_path):
    found = trainability(read(merged(tmp_path)))
    assert proposed(found) == ["stimulus_level_db", "stimulus_frequency_hz", "stimulus_type", "sex"]
    assert {"n_averages", "ear", "half"} <= set(found.usable)
    assert not {"record_id", "subject_id", "recording_index", *proposed(found)} & set(found.usable)
    assert found.untrainable is None


@pytest.mark.parametrize("name", ["ear", "sex", "stimulus_type"])
def test_columns_without_a_value_in_some_rows_are_not_proposed(tmp_path, name):
    """A null in rows that the split may keep from the training part, as one imported file without the value."""
    path = merged(tmp_path)
    table = pa.parquet.read_table(path)
    values = table[name].to_pylist()
    values[:4] = [None] * 4
    write_table(table.set_column(table.schema.get_field_index(name), name, pa.array(values)), path)
    found = trainability(read(path))
    assert name not in proposed(found)
    assert found.untrainable is None
    [line] = [line for line in found.incomplete if line.startswith(f"{name}:")]
    assert f"no value in 4 of 600 rows; give them one at import (hcvae import --value {name}=VALUE)" in line


def test_a_part_of_one_subject_is_reported(tmp_path):
    found = trainability(read(merged(tmp_path, subject_id2=["x"] * 600)))
    assert found.parts[0].startswith("training part: ")
    few = simulate(2000, 3).select(COLUMNS)
    six = few["subject_id"].unique().to_pylist()[:6]
    path = str(tmp_path / "six.parquet")
    write_table(few.filter(pa.compute.is_in(few["subject_id"], pa.array(six))), path)
    found = trainability(read(path))
    assert any("the validation part contains 1 of 6 subjects" in line for line in found.parts)
    split = prepare(Config.model_validate({"data": options_of(path, found)})).split
    subjects = pa.parquet.read_table(path)["subject_id"]
    for rows in (split.train, split.validation, split.test):
        assert len(subjects.take(rows).unique()) > 1


def options_of(path, found):
    """Return the data section with the proposed columns and the remedy of the split."""
    words = shlex.split(found.parts[-1].removeprefix("  what to do: "))
    split = dict(zip([word.removeprefix("--data.split.") for word in words[::2]], words[1::2], strict=True))
    return {"tables": [path], "static": proposed(found), "split": split}
