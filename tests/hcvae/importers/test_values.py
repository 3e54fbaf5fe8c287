"""Values that cannot be: from each format, and from --value."""

import numpy as np
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.io import savemat

from hcvae import cli
from hcvae.errors import UserError
from hcvae.importers.file_result import ImportOptions
from hcvae.importers.importing import read_file

TIMES_MS = np.arange(241) * 0.05
WAVES_UV = np.array([1.0, 0.5])[:, None] * np.sin(TIMES_MS)
TITLES = ["subject_id", *(f"t_ms={time:.2f}" for time in TIMES_MS)]


def write(path, name, values):
    """Write two waveforms with a column."""
    rows = [
        [TITLES[0], name, *TITLES[1:]],
        *(["s", value, *wave] for value, wave in zip(values, WAVES_UV, strict=True)),
    ]
    if path.suffix == ".csv":
        path.write_text("\n".join(",".join(map(str, row)) for row in rows) + "\n")
    elif path.suffix == ".xlsx":
        book = openpyxl.Workbook()
        for row in rows:
            book.active.append(row)
        book.save(path)
    elif path.suffix == ".mat":
        savemat(path, {"signal": WAVES_UV, "time_ms": TIMES_MS, name: np.array(values)})
    else:
        table = pa.table({"signal": list(WAVES_UV), "subject_id": ["s", "s"], name: values})
        pq.write_table(table.replace_schema_metadata({"sampling_rate_hz": "20000"}), path)
    return path


@pytest.fixture(params=["t.csv", "t.xlsx", "t.mat", "t.parquet"])
def path(request, tmp_path):
    return tmp_path / request.param


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("n_averages", -3, "1 to 10,000,000 sweeps"),
        ("half", 9, "0 to 2"),
        ("stimulus_frequency_hz", 8, "100 to 200,000 Hz"),
        ("stimulus_level_db", 9999, "-120 to 200 dB"),
        ("threshold_db", 1e30, "-120 to 200 dB"),
        ("recording_index", 1e30, "0 to 2,147,483,647"),
    ],
)
def test_an_impossible_value_is_refused(path, name, value, expected):
    possible = {"stimulus_frequency_hz": 1000}.get(name, 1)
    error = read_file(write(path, name, [possible, value]), ImportOptions()).error
    assert error.startswith(f"{path}: waveform 1 (from 0): {name}: got {value:g}; must be {expected}, or empty")
    assert f"--value {name}=VALUE" in error
    result = read_file(path, ImportOptions(values={name: possible}))
    assert result.error is None
    assert [row.values[name] for row in result.rows] == [possible, possible]
    assert result.notes == {f"--value {name} replaces another value that the file states": 1}


def test_a_logical_value_is_no_number(path):
    error = read_file(write(path, "stimulus_level_db", [True, False]), ImportOptions()).error
    place = {".csv": "got text", ".xlsx": "line 2, column 2: got a logical value"}.get(path.suffix, "waveform 0")
    assert place in error
    assert "stimulus_level_db" in error
    assert "number" in error


@pytest.mark.parametrize("text", ["=B2+1", " =A1", "#REF!", "#DIV/0!", "#NAME?", "#WERT!", "Err:502"])
def test_a_formula_or_an_error_is_no_text(path, text):
    """Each of them once named a subject or a species."""
    for name in ("species", "dataset"):
        error = read_file(write(path, name, ["mouse", text]), ImportOptions()).error
        assert f"as {name}" in error
        assert "a formula" in error or "an error such as #REF!" in error


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (["n_averages=0"], "n_averages: got 0; must be 1 to 10,000,000 sweeps, or empty$"),
        (["age_days=-3"], "age_days: got -3; must be 0 to 45,000 days"),
        (["threshold_db=1e30"], "threshold_db: got 1e[+]30"),
        (["n_averages=1e308"], "n_averages: got 1e[+]308"),
        (["n_averages=true"], "n_averages: got 'true'"),
        (["sex=W"], "sex: got 'W'; must be one of f, female, m, male$"),
        (["half=0.5"], "half: got 0.5; must be a whole number"),
        (["highpass_hz=3000", "lowpass_hz=300"], "highpass_hz: got 3000.0 with lowpass_hz 300.0; must be below it"),
    ],
)
def test_an_impossible_value_of_an_option_is_refused_before_any_file_is_read(tmp_path, pairs, message):
    arguments = ["import", "missing.csv", "--out", str(tmp_path / "t.parquet")]
    for pair in pairs:
        arguments += ["--value", pair]
    with pytest.raises(UserError, match=f"--value: {message}"):
        cli.run(arguments)


@pytest.mark.parametrize("option", ["--value", "--map"])
def test_an_age_in_years_is_not_taken_for_days(option):
    with pytest.raises(UserError, match=f"{option} age_years: no such column; age_days is .* 365.25 for each year"):
        cli.run(["import", "missing.csv", "--out", "t.parquet", option, "age_years=30"])


def test_a_band_in_the_file_must_not_be_reversed(tmp_path):
    path = write(tmp_path / "t.csv", "lowpass_hz", [3000, 300])
    result = read_file(path, ImportOptions(values={"highpass_hz": 500.0}))
    assert "waveform 1 (from 0): highpass_hz: got 500.0 with lowpass_hz 300.0" in result.error


@pytest.mark.parametrize(
    ("name", "own", "given", "replaced"),
    [
        ("species", "human", "mouse", 2),
        ("species", "Mouse", "mouse", 0),
        ("species", "", "mouse", 0),
        ("ear", "right", "R", 0),
        ("ear", "right", "L", 2),
        ("stimulus_level_db", "80", 80.0, 0),
        ("stimulus_level_db", "80", 70.0, 2),
        ("stimulus_level_db", "80", None, 2),
    ],
)
def test_an_option_that_contradicts_the_file_is_noted(tmp_path, name, own, given, replaced):
    result = read_file(write(tmp_path / "t.csv", name, [own, own]), ImportOptions(values={name: given}))
    assert [row.values[name] for row in result.rows] == [given, given]
    assert sum(result.notes.values()) == replaced


def test_the_band_pass_and_the_rate_contradict_an_option(tmp_path):
    path = write(tmp_path / "t.csv", "ear", ["L", "R"])
    result = read_file(path, ImportOptions(values={"native_rate_hz": 25_000.0}))
    assert result.notes == {"--value native_rate_hz replaces another value that the file states": 2}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Intensity:,30", "Intensity:,6000", "waveform 0 (from 0): stimulus_level_db: got 6000; must be -120 to 200"),
        ("Stim. Rate:, 37.10", "Stim. Rate:,-37.10", "stimulus_rate_hz: got -37.1; must be 0.1 to 1,000 per second"),
    ],
)
def test_impossible_values_of_a_device(recordings, tmp_path, old, new, message):
    text = (recordings / "raw" / "ihs_smartep_human_H1_30dB.TXT").read_text("latin-1")
    assert old in text
    (tmp_path / "a.TXT").write_text(text.replace(old, new), "latin-1")
    assert message in read_file(tmp_path / "a.TXT", ImportOptions()).error
