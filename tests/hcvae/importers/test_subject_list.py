"""Files and subjects: notes on files without a subject, files of warnings, and the list for the owner of the files."""

import csv
import stat

import numpy as np
import pyarrow.parquet as pq
import pytest

from hcvae import cli
from hcvae.errors import UserError

TIMES_MS = np.arange(241) * 0.05
WAVE_UV = 0.5 * np.sin(2 * np.pi * 0.6 * TIMES_MS) * np.exp(-(((TIMES_MS - 5) / 3) ** 2))
RANDOM = np.random.default_rng(0)


def write(path, subjects, scale=1.0):
    titles = ["subject_id", *(f"t_ms={time:.2f}" for time in TIMES_MS)]
    rows = [[subject, *(scale * (WAVE_UV + 0.05 * RANDOM.normal(size=241)))] for subject in subjects]
    path.write_text("\n".join(",".join(map(str, row)) for row in [titles, *rows]) + "\n")
    return path


@pytest.fixture
def run(tmp_path, capsys):
    def run(*arguments):
        out = tmp_path / "out.parquet"
        given = ["--out", str(out), "--key", str(tmp_path / "key"), *map(str, arguments)]
        assert cli.run(["import", *given]) == 0
        return pq.read_table(out), " ".join(capsys.readouterr().out.split())

    return run


def test_files_without_a_subject_are_listed_with_the_consequence_and_the_remedy(run, tmp_path):
    paths = [write(tmp_path / f"{number}.csv", ["", ""]) for number in range(3)]
    named = write(tmp_path / "named.csv", ["x"])
    table, output = run(*paths, named)
    assert len(table["subject_id"].unique()) == 4
    listed = ", ".join(map(str, paths))
    assert f"no subject is named in 3 of 4 files: {listed}: each of them counts as a separate subject" in output
    assert "a split by subject can put recordings of one individual into both the training and the test part" in output
    assert "--map subject_id=COLUMN" in output
    assert "--subject NAME" in output
    table, output = run(*paths, "--subject", "Ann")
    assert len(table["subject_id"].unique()) == 1
    assert "subject is named" not in output


def test_rows_without_a_subject_are_listed(run, tmp_path):
    path = write(tmp_path / "a.csv", ["x", "", "x", ""])
    table, output = run(path, write(tmp_path / "b.csv", ["x"]))
    assert f"some recordings name no subject in 1 of 2 files: {path} (2 of 4 recordings, numbers 1, 3 from 0)" in output
    assert "those of a file count as one separate subject" in output
    assert len(table["subject_id"].unique()) == 2


def test_a_subject_given_instead_of_those_of_the_files_is_noted(run, tmp_path):
    _, output = run(write(tmp_path / "a.csv", ["x"]), write(tmp_path / "b.csv", [""]), "--subject", "Ann")
    assert output.count("--subject replaces the 1 subjects of the file") == 1


def test_the_list_names_the_files_and_is_private(run, tmp_path):
    paths = [write(tmp_path / "a, b.csv", ["x", "y", "x"]), write(tmp_path / "c.csv", ["y"])]
    out = tmp_path / "subjects.csv"
    table, output = run(*paths, "--subject-list", out)
    lines = list(csv.reader(out.open(encoding="utf-8")))
    subjects = table["subject_id"].to_pylist()
    assert lines[0] == ["file", "subject_id", "waveforms"]
    assert lines[1:] == [
        [str(paths[0]), subjects[0], "2"], [str(paths[0]), subjects[1], "1"], [str(paths[1]), subjects[1], "1"],
    ]  # fmt: skip
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert "keep it secret" in output
    assert str(paths[1]).encode() not in (tmp_path / "out.parquet").read_bytes()


def test_the_list_is_not_written_over_another_file_or_without_the_table(tmp_path):
    path = write(tmp_path / "a.csv", ["x"])
    out, key = tmp_path / "o.parquet", tmp_path / "key.csv"
    run = ["import", str(path), "--out", str(out), "--key", str(key), "--subject-list"]
    for name in ("out.parquet", "key", "."):
        with pytest.raises(UserError, match=r"--subject-list: the name must end in \.csv, but got"):
            cli.run([*run, str(tmp_path / name)])
    with pytest.raises(UserError, match=r"--subject-list .*key\.csv: would replace .*key\.csv"):
        cli.run([*run, str(key)])
    with pytest.raises(UserError, match=r"--subject-list: the folder .*missing does not exist"):
        cli.run([*run, str(tmp_path / "missing" / "subjects.csv")])
    with pytest.raises(UserError, match=r"--subject-list .*a\.csv: would replace .*a\.csv"):
        cli.run([*run, str(path)])
    assert cli.run([*run, str(tmp_path / "list.csv"), "--dry-run"]) == 0
    assert [out.exists(), key.exists(), (tmp_path / "list.csv").exists()] == [False] * 3


@pytest.mark.parametrize("hide", [False, True])
def test_warnings_name_the_files(run, tmp_path, hide):
    paths = [write(tmp_path / f"{name}.csv", [name]) for name in ("p", "q", "r")]
    paths.append(write(tmp_path / "volts.csv", ["v"], scale=1e-6))
    table, output = run(*paths, "--value", "species=human", *["--hide-names"] * hide)
    subject = table["subject_id"][3].as_py()
    assert f"warning: amplitudes are too small for human: 1 of 4 subjects; peak to peak at their highest levels, in uV: {subject}" in output  # noqa: E501 # fmt: skip
    name = "file 4" if hide else str(paths[3])
    assert f"files of the subjects and records in the warnings: {name}: {subject}" in output
    assert (str(paths[3]) in output) != hide
