from pathlib import Path

import pyarrow.parquet as pq
import pytest

from hcvae import cli
from hcvae.data import export
from hcvae.data.export import check_path, write_table
from hcvae.errors import UserError


def test_parquet_has_the_table_unchanged(table, tmp_path):
    write_table(table, tmp_path / "a.PARQUET")
    found = pq.read_table(tmp_path / "a.PARQUET")
    without_nan = table.drop_columns(["peak_latency_ms", "peak_amplitude_uv"])
    assert found.select(without_nan.column_names).equals(without_nan)
    assert found.schema.metadata[b"sampling_rate_hz"] == b"25000"


@pytest.mark.parametrize("name", ["a.xlsx", "a", "a.csv.gz", ".csv"])
def test_other_suffixes_are_refused(table, tmp_path, name):
    with pytest.raises(UserError, match=r"must end in one of \.parquet, \.csv, \.mat, \.edf, but got"):
        write_table(table, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [["simulate", "--rows", "1000000000000"], ["generate", "no-bundle"]])
def test_a_wrong_suffix_is_refused_before_any_work(command, tmp_path):
    with pytest.raises(UserError, match="must end in one of"):
        cli.run([*command, "--out", str(tmp_path / "a.txt")])


def test_without_the_edf_package_the_message_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr(export, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install --editable '\.\[formats\]'"):
        check_path(tmp_path / "a.edf")
    check_path(tmp_path / "a.mat")


def full_disk(*_):
    raise OSError("disk full")


@pytest.mark.parametrize("suffix", ["csv", "mat", "edf"])
def test_a_failed_write_leaves_the_old_file_and_no_other(table, tmp_path, monkeypatch, suffix):
    path = tmp_path / f"a.{suffix}"
    write_table(table, path)
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full_disk)
        with pytest.raises(UserError, match=rf"a\.{suffix}: cannot be written: disk full"):
            write_table(table, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("suffix", ["csv", "mat", "edf"])
def test_a_missing_folder_is_a_user_error(table, tmp_path, suffix):
    with pytest.raises(UserError, match="cannot be written"):
        write_table(table, tmp_path / "missing" / f"a.{suffix}")


@pytest.mark.parametrize("suffix", ["csv", "mat", "edf"])
def test_lists_of_another_length_are_refused_by_name(table, tmp_path, add, suffix):
    with pytest.raises(UserError, match="column 'pair' must have one value per row, or one for each of waves"):
        write_table(add(table, "pair", [[1, 2]] * len(table)), tmp_path / f"a.{suffix}")
