"""Cases in which an import was silently wrong or ended in a traceback, and similar ones, on the command line."""

import json
import os
import resource
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.io import savemat

from hcvae import cli
from hcvae.errors import UserError
from hcvae.importers import pseudonyms

ROOT = Path(__file__).resolve().parents[3]
TIMES_MS = np.arange(241) * 0.05  # 20 kHz, 12 ms
WAVE_UV = 0.5 * np.sin(2 * np.pi * 0.6 * TIMES_MS) * np.exp(-(((TIMES_MS - 5) / 3) ** 2))
WITHOUT_RIGHTS = [
    "setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search",
]  # fmt: skip


@pytest.fixture
def case(cases) -> Callable[[str], Path]:
    """A function that finds the folder of a case by its number."""

    def find(number: str) -> Path:
        [found] = cases.glob(f"{number}-*")
        return found

    return find


@pytest.fixture
def run(tmp_path, monkeypatch, capsys) -> Callable[..., tuple[list[dict], str]]:
    """Run `hcvae import`, which must return 0; return the rows of the table and the output."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "configuration"))

    def run(*arguments, status=0, out=tmp_path / "out.parquet"):
        assert cli.run(["import", *map(str, arguments), "--out", str(out)]) == status
        return pq.read_table(out).to_pylist(), " ".join(capsys.readouterr().out.split())

    return run


@pytest.fixture
def refused(run, capsys) -> Callable[..., str]:
    """Run `hcvae import`, which must return 2; return the output with the error."""

    def refused(*arguments):
        capsys.readouterr()
        with pytest.raises(UserError) as error:
            run(*arguments)
        return " ".join(f"{capsys.readouterr().out} {error.value}".split())

    return refused


def mapped(*pairs: str) -> list[str]:
    return [argument for pair in pairs for argument in ("--map", pair)]


def write_csv(path: Path, header: list[str], rows) -> Path:
    path.write_text("\n".join(",".join(map(str, row)) for row in [header, *rows]) + "\n")
    return path


def in_columns(path: Path, times, signals=(WAVE_UV, 0.7 * WAVE_UV)) -> Path:
    rows = [[time, *(f"{signal[k]:.6f}" for signal in signals)] for k, time in enumerate(times)]
    return write_csv(path, ["stimulus_level_db", *range(90, 90 - 10 * len(signals), -10)], rows)


def in_rows(path: Path, names: list[str], signals=(WAVE_UV, 0.7 * WAVE_UV), **columns) -> Path:
    rows = [[*(values[n] for values in columns.values()), *signal] for n, signal in enumerate(signals)]
    return write_csv(path, [*columns, *names], rows)


def assert_first_is(rows: list[dict], wave=WAVE_UV, atol=2e-5) -> None:
    np.testing.assert_allclose(rows[0]["signal"], wave[:200], atol=atol)


class TestOptions:
    """Case 01: words that options accept according to their documentation."""

    def test_a_band_pass_of_null(self, case, run):
        rows, _ = run(case("01") / "a.csv", "--band-hz", "null")
        assert [row["highpass_hz"] for row in rows] == [None] * 3
        stored = [line.split(",") for line in (case("01") / "a.csv").read_text().splitlines()]
        at = stored[0].index("Data(uv)...") + 1
        first = np.array([cell for cell in stored[1][at:] if cell], dtype=float)
        period_ms = float(stored[1][stored[0].index("Samp. Per.")]) / 1e3
        expected = np.interp(np.arange(200) * 0.05, np.arange(len(first)) * period_ms, first)
        np.testing.assert_allclose(rows[0]["signal"], expected, atol=0.03)  # 0.03: of the linear interpolation

    @pytest.mark.parametrize("word", ["null", "None", "none"])
    @pytest.mark.parametrize("option", ["--band-hz", "--reject-before-uv", "--reject-after-uv"])
    def test_null_in_each_spelling(self, tmp_path, run, option, word):
        path = in_columns(tmp_path / "a.csv", TIMES_MS)
        assert len(run(path, *mapped("layout=columns"), option, word)[0]) == 2

    @pytest.mark.parametrize("band", [["100,3000"], ["100", "3000"], ["100", "--band-hz", "3000"]])
    def test_a_band_pass_of_two_numbers(self, tmp_path, run, band):
        rows, _ = run(in_columns(tmp_path / "a.csv", TIMES_MS), *mapped("layout=columns"), "--band-hz", *band)
        assert (rows[0]["highpass_hz"], rows[0]["lowpass_hz"]) == (100, 3000)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--band-hz", "100"], "two rising frequencies above 0"),
            (["--reject-after-uv", "-3"], "reject-after-uv: must be a number of uV above 0"),
            (["--block-sweeps", "8", "1"], "2 or more sweeps"),
            (["--value", "subject_id=Ann"], "use --subject"),
        ],
    )
    def test_other_values_are_refused_in_one_line(self, tmp_path, refused, options, message):
        output = refused(in_columns(tmp_path / "a.csv", TIMES_MS), *options)
        assert message in output
        assert output.count("but got") <= 1

    def test_the_message_about_the_suffix_names_the_file_once(self, tmp_path, run):
        with pytest.raises(UserError, match=r"must end in \.parquet, but got '[^']*t\.mat'$"):
            run(tmp_path, out=tmp_path / "t.mat")

    def test_commas_in_names_and_patterns(self, tmp_path, run):
        path = in_columns(tmp_path / "left, [2].csv", TIMES_MS)
        rows, _ = run(path, *mapped("layout=columns"), "--value", "dataset=a, b", "--value", "species=null")
        assert (rows[0]["dataset"], rows[0]["species"]) == ("a, b", None)


class TestTimeAxis:
    """Case 03: times in s, us or sample numbers, and rates in kHz."""

    def test_a_rate_that_no_abr_has_is_refused_with_its_likely_unit(self, case, refused):
        for name, unit in (("time_index.csv", "time_unit=samples"), ("time_s.csv", "time_unit=s")):
            assert f"--map {unit}" in refused(case("03") / name, *mapped("layout=columns"))
        output = refused(case("03") / "fs_khz.mat", *mapped("signal=waves", "sampling_rate_hz=fs"))
        assert "got 20 Hz" in output
        assert "rate_unit=kHz" in output

    def test_the_unit_can_be_mapped(self, case, run):
        in_s, _ = run(case("03") / "time_s.csv", *mapped("layout=columns", "time_unit=s"))
        index = mapped("layout=columns", "time_unit=samples", "sampling_rate_hz=20000")
        in_samples, _ = run(case("03") / "time_index.csv", *index)
        stored = np.loadtxt(case("03") / "time_s.csv", delimiter=",", skiprows=1)
        for rows in (in_s, in_samples):
            assert [row["native_rate_hz"] for row in rows] == [20000, 20000]
            np.testing.assert_allclose([row["signal"] for row in rows], stored[:200, 1:].T, atol=1e-6)
        rows, _ = run(case("03") / "fs_khz.mat", *mapped("signal=waves", "sampling_rate_hz=fs", "rate_unit=kHz"))
        assert {row["native_rate_hz"] for row in rows} == {20000}

    def test_microseconds(self, tmp_path, run, refused):
        path = in_columns(tmp_path / "us.csv", (1e3 * TIMES_MS).astype(int))
        assert "time_unit=us" in refused(path, *mapped("layout=columns"))
        assert_first_is(run(path, *mapped("layout=columns", "time_unit=us"))[0])

    def test_the_names_of_sample_columns(self, tmp_path, run, refused):
        path = in_rows(tmp_path / "us.csv", [f"t{round(1e3 * ms)}us" for ms in TIMES_MS])
        assert "time_unit=us" in refused(path, *mapped("signal=t*us"))
        assert_first_is(run(path, *mapped("signal=t*us", "time_unit=us"))[0])
        numbered = in_rows(tmp_path / "n.csv", [f"s{k}" for k in range(241)])
        assert_first_is(run(numbered, *mapped("signal=s*", "sampling_rate_hz=20", "rate_unit=kHz"))[0])

    @pytest.mark.parametrize("first", [0, 1, -100])
    def test_sample_numbers_from_the_first(self, tmp_path, run, first):
        """Numbers that begin with 1 also count from the stimulus; negative ones are before it."""
        wave = WAVE_UV if first >= 0 else np.concatenate([np.zeros(100), WAVE_UV])
        path = in_columns(tmp_path / "n.csv", range(first, first + len(wave)), [wave])
        rows, _ = run(path, *mapped("layout=columns", "time_unit=samples", "sampling_rate_hz=20000"))
        assert_first_is(rows)

    @pytest.mark.parametrize("pair", ["sampling_rate_hz=40000", "start_ms=-2"])
    def test_contradictions_to_the_times_are_refused(self, tmp_path, run, refused, pair):
        columns = in_columns(tmp_path / "c.csv", TIMES_MS)
        rows = in_rows(tmp_path / "r.csv", [f"t_ms={ms:g}" for ms in TIMES_MS])
        assert "beside times" in refused(columns, *mapped("layout=columns", pair))
        assert "beside times" in refused(rows, *mapped("signal=t_ms=*", pair))
        same = mapped("layout=columns", "sampling_rate_hz=20000", "start_ms=0")
        assert_first_is(run(columns, *same)[0])

    def test_units_of_missing_columns(self, tmp_path, refused):
        path = in_rows(tmp_path / "n.csv", [f"s{k}" for k in range(241)])
        assert "needs a mapping of sampling_rate_hz" in refused(path, *mapped("signal=s*", "rate_unit=kHz"))
        savemat(tmp_path / "m.mat", {"w": WAVE_UV})
        no_times = mapped("signal=w", "sampling_rate_hz=20000", "time_unit=s")
        assert "needs a mapping of time_ms" in refused(tmp_path / "m.mat", *no_times)
        assert "must be one of s, ms, us" in refused(path, *mapped("signal=s*", "time_unit=min"))

    def test_too_short_recordings_come_with_options_that_include_them(self, tmp_path, run, refused):
        path = in_columns(tmp_path / "short.csv", 0.5 + np.arange(150) / 24.4140625, [WAVE_UV[:150]])
        assert "--start-ms 0.5 --samples 123 would include them" in refused(path, *mapped("layout=columns"))
        taken = ["--start-ms", "0.5", "--samples", "123"]
        assert len(run(path, *mapped("layout=columns"), *taken)[0][0]["signal"]) == 123
        whole = in_columns(tmp_path / "whole.csv", TIMES_MS)
        assert "only; the grid needs -2 to 7.95; --start-ms 0 would include them" in refused(
            whole, *mapped("layout=columns"), "--start-ms", "-2"
        )
        more = [taken[0], taken[1], "--samples", "124"]
        assert "123 would include them" in refused(path, *mapped("layout=columns"), *more)


class TestSampleColumns:
    """Columns that are ours or mapped are no samples, and different columns are refused."""

    NAMES = tuple(f"{ms:g}" for ms in TIMES_MS)

    def test_columns_that_are_ours_or_mapped_hold_no_samples(self, tmp_path, run):
        given = {"dB": [80, 70], "n_averages": [500, 500], "stimulus_rate_hz": [21, 21], "ID": ["a", "b"]}
        path = in_rows(tmp_path / "a.csv", self.NAMES, **given)
        pairs = mapped("signal=*", "stimulus_level_db=dB", "subject_id=ID")
        rows, _ = run(path, *pairs)
        table = pa.table({**given, **{name: [x, 0.7 * x] for name, x in zip(self.NAMES, WAVE_UV, strict=True)}})
        pq.write_table(table, tmp_path / "a.parquet")
        assert rows == [row | {"record_id": rows[n]["record_id"]} for n, row in enumerate(run(path, *pairs)[0])]
        for found in (rows, run(tmp_path / "a.parquet", *pairs)[0]):
            assert_first_is(found)
            assert [(row["stimulus_level_db"], row["n_averages"]) for row in found] == [(80, 500), (70, 500)]
            assert len({row["subject_id"] for row in found}) == 2

    @pytest.mark.parametrize("column", ["weight", "V0"])
    def test_other_columns_are_named(self, tmp_path, refused, column):
        path = in_rows(tmp_path / "a.csv", self.NAMES, **{column: [21, 22]})
        assert f"['{column}'] among them" in refused(path, *mapped("signal=*", "sampling_rate_hz=20000"))

    def test_text_in_a_sample_column_is_named(self, tmp_path, refused):
        in_rows(tmp_path / "a.csv", ["s0", "s1", "s2"], [["Ann", 1, 2]])
        output = refused(tmp_path / "a.csv", *mapped("signal=s*", "sampling_rate_hz=20000"))
        assert "'s0'" in output
        assert "Ann" not in output
        pq.write_table(pa.table({"s0": ["Ann"], "s1": [1.0]}), tmp_path / "a.parquet")
        assert "column 's0'" in refused(tmp_path / "a.parquet", *mapped("signal=s*", "sampling_rate_hz=20000"))

    def test_the_unit_in_a_column(self, tmp_path, run, refused):
        path = in_rows(tmp_path / "a.csv", [f"t_ms={ms:g}" for ms in TIMES_MS], unit=["mV", "mV"])
        assert_first_is(run(path)[0], 1000 * WAVE_UV, 1e-3)
        two = in_rows(tmp_path / "b.csv", [f"t_ms={ms:g}" for ms in TIMES_MS], unit=["mV", "uV"])
        assert "unit: got 2 units" in refused(two)


class TestExcelSheets:
    """Case 09: every visible sheet is read, and the others are named."""

    @pytest.fixture
    def book(self, tmp_path):
        openpyxl = pytest.importorskip("openpyxl")

        def book(sheets: dict[str, list], hidden=()) -> Path:
            made = openpyxl.Workbook()
            made.remove(made.active)
            for title, rows in sheets.items():
                sheet = made.create_sheet(title)
                for row in rows:
                    sheet.append(row)
                sheet.sheet_state = "hidden" if title in hidden else "visible"
            made.save(tmp_path / "b.xlsx")
            return tmp_path / "b.xlsx"

        return book

    def rows_of(self, *levels, subject=None):
        header = ["stimulus_level_db", *(["subject_id"] if subject else []), *(f"t_ms={ms:g}" for ms in TIMES_MS)]
        return [header, *([level, *([subject] if subject else []), *(level / 100 * WAVE_UV)] for level in levels)]

    def test_all_sheets(self, case, run):
        rows, output = run(case("09") / "a.xlsx")
        assert len(rows) == 6
        assert "the sheets name no subject and count as one" in output

    def test_a_hidden_first_sheet(self, case, run):
        rows, output = run(case("09") / "hidden_first.xlsx")
        assert "sheet 'old' is hidden and not read" in output
        assert len(rows) == 3
        assert len(run(case("09") / "hidden_first.xlsx", *mapped("sheet=old"))[0]) != 0

    def test_sheets_of_subjects_beside_notes(self, book, run):
        path = book(
            {"notes": [["made by"], ["us"]], "A": self.rows_of(80, 70, subject="a"), "B": self.rows_of(60, subject="b")}
        )
        rows, output = run(path)
        assert [row["stimulus_level_db"] for row in rows] == [80, 70, 60]
        assert len({row["subject_id"] for row in rows}) == 2
        assert "sheet 'notes' has no waveforms" in output
        assert "count as one" not in output

    def test_an_error_names_the_sheet(self, book, refused):
        bad = self.rows_of(60)
        bad[1][5] = "x"
        assert "sheet 'B': line 2, column 6" in refused(book({"A": self.rows_of(80), "B": bad}))

    def test_titles_are_hidden_as_names_of_files_are(self, book, run):
        _, output = run(book({"Ann": self.rows_of(80), "O'Neil": [["x"]], "Bob": [["x"]]}, ["Bob"]), "--hide-names")
        assert "a sheet has no waveforms" in output
        assert not [name for name in ("Ann", "Neil", "Bob") if name in output]

    def test_a_workbook_without_waveforms(self, book, refused):
        assert "none like 't_ms=*'" in refused(book({"A": [["x"]], "B": self.rows_of(80)}, hidden=["B"]))

    def test_one_sheet_by_its_name(self, book, run):
        path = book({"A": self.rows_of(80), "B": self.rows_of(60)})
        assert [row["stimulus_level_db"] for row in run(path, *mapped("sheet=B"))[0]] == [60]


class TestOptionsWithoutEffect:
    """Case 10: an option that changes nothing is reported."""

    def test_single_sweeps_by_value(self, case, run):
        path = case("10") / "a.csv"
        rows, _ = run(path, "--block-sweeps", "10", "--value", "n_averages=1")
        assert [row["n_averages"] for row in rows] == [10, 10]
        stored = np.loadtxt(path, delimiter=",", skiprows=1)[:, :200]
        np.testing.assert_allclose(rows[1]["signal"], stored[10:].mean(axis=0), atol=1e-5)

    def test_without_a_number_of_sweeps(self, case, run):
        rows, output = run(case("10") / "a.csv", "--block-sweeps", "10")
        assert len(rows) == 20
        assert "--value n_averages=1" in output
        assert "--block-sweeps had no effect" in output

    @pytest.mark.parametrize("given", [["4", "6", "10"], ["4,6,10"], ["4", "--block-sweeps", "6", "10"]])
    def test_several_in_turn(self, tmp_path, run, given):
        sweeps = [k / 20 * WAVE_UV for k in range(20)]
        path = in_rows(tmp_path / "a.csv", [f"t_ms={ms:g}" for ms in TIMES_MS], sweeps)
        rows, _ = run(path, "--value", "n_averages=1", "--block-sweeps", *given)
        assert [row["n_averages"] for row in rows] == [4, 6, 10]
        assert_first_is(rows[2:], np.mean(sweeps[10:], axis=0))

    def test_all_options_without_effect(self, tmp_path, run):
        path = in_columns(tmp_path / "a.csv", TIMES_MS)
        options = ["--reject-before-uv", "40", "--reject-after-uv", "null", "--max-residual-noise-uv", "1"]
        _, output = run(
            path, *mapped("layout=columns"), *options, "--max-artifact-share", "0.1", "--value", "n_averages=500"
        )
        for option in ("--reject-before-uv", "--reject-after-uv", "--max-residual-noise-uv", "--max-artifact-share"):
            assert f"{option} had no effect" in output
        assert "waveforms without an estimate of noise, which --max-residual-noise-uv keeps (2 times)" in output

    def test_a_mapping_beside_a_value(self, tmp_path, run):
        path = in_rows(tmp_path / "a.csv", [f"t_ms={ms:g}" for ms in TIMES_MS], dB=[80, 70])
        rows, output = run(path, *mapped("stimulus_level_db=dB"), "--value", "stimulus_level_db=60")
        assert [row["stimulus_level_db"] for row in rows] == [60, 60]
        assert "--map stimulus_level_db had no effect" in output

    def test_trials_of_a_wfdb_record(self, tmp_path, run):
        wfdb = pytest.importorskip("wfdb")
        trials = np.concatenate([k * WAVE_UV for k in range(8)])
        wfdb.wrsamp(
            "r", fs=20000, units=["uV"], sig_name=["abr"], p_signal=trials[:, None], fmt=["16"], write_dir=tmp_path
        )
        rows, _ = run(tmp_path / "r.hea", *mapped("trial_samples=241"), "--block-sweeps", "4", "--band-hz", "null")
        assert [row["n_averages"] for row in rows] == [4, 4]
        assert_first_is(rows, 1.5 * WAVE_UV, 1e-3)

    def test_one_subject_instead_of_several(self, tmp_path, run):
        path = in_rows(tmp_path / "a.csv", [f"t_ms={ms:g}" for ms in TIMES_MS], subject_id=["a", "b"])
        rows, output = run(path, "--subject", "c")
        assert len({row["subject_id"] for row in rows}) == 1
        assert "--subject replaces the 2 subjects of the file" in output


class TestChannels:
    """Case 11: channels of one device are not independent averages."""

    def test_one_channel_is_chosen(self, case, run, refused):
        path = case("11") / "a.txt"
        output = refused(path)
        assert "channels: got 1, 2" in output
        assert "--map signal=1" in output
        assert [row["recording_index"] for row in run(path, *mapped("signal=1"))[0]] == [1, 1, 3, 3]
        assert [row["recording_index"] for row in run(path, *mapped("signal=2"))[0]] == [2, 2, 4, 4]
        assert "no channel '3'; must be one of 1, 2" in refused(path, *mapped("signal=3"))

    def test_biosig_csv(self, case, tmp_path, run, refused):
        header, *lines = (case("01") / "a.csv").read_text().splitlines()
        at = header.split(",").index("Chan")
        cells = [line.split(",") for line in lines]
        cells[1][at] = "2"
        write_csv(tmp_path / "a.csv", [header], cells)
        assert "channels: got 1, 2" in refused(tmp_path / "a.csv")
        assert len(run(tmp_path / "a.csv", *mapped("signal=1"))[0]) == len(cells) - 1

    def test_arf(self, recordings, tmp_path, run, refused):
        content = bytearray((recordings / "raw" / "biosigrz_mouse_S1.arf").read_bytes())
        first = struct.unpack_from("<i", content, 6 + 4 * 200)[0]  # offset of the first record
        content[first + 2 * 2 + 8 + 2 * 2] = 7  # its channel
        (tmp_path / "a.arf").write_bytes(content)
        output = refused(tmp_path / "a.arf")
        assert "channels: got" in output
        assert len(run(tmp_path / "a.arf", *mapped("signal=7"))[0]) == 1

    @pytest.mark.parametrize("suffix", [".csv", ".parquet", ".mat"])
    def test_a_column_of_channels(self, tmp_path, run, refused, suffix):
        path = tmp_path / f"a{suffix}"
        times = [f"t_ms={ms:g}" for ms in TIMES_MS]
        if suffix == ".csv":
            in_rows(path, times, Channel=[1, 2])
        elif suffix == ".mat":
            savemat(path, {"signal": np.stack([WAVE_UV, 0.7 * WAVE_UV]), "Channel": [1, 2], "time_ms": TIMES_MS})
        else:
            table = pa.table({"Channel": [1, 2], "signal": [WAVE_UV, 0.7 * WAVE_UV]})
            pq.write_table(table.replace_schema_metadata({"sampling_rate_hz": "20000"}), path)
        assert "channels: got 1, 2" in refused(path, "--value", "species=mouse")
        rows, _ = run(path, *mapped("channel=1"))
        assert len(rows) == 1
        assert_first_is(rows)

    def test_a_column_of_channels_by_another_name(self, tmp_path, run, refused):
        path = in_rows(tmp_path / "a.csv", [f"t_ms={ms:g}" for ms in TIMES_MS], Ableitung=["Cz-A1", "Cz-A2"])
        assert len(run(path, *mapped("channel=Ableitung=Cz-A2"))[0]) == 1
        assert "did you mean 'Ableitung'" in refused(path, *mapped("channel=Abletung=Cz-A2"))

    def test_a_file_for_each_channel(self, case, tmp_path, run):
        text = (case("11") / "a.txt").read_text()
        for channel in "12":
            lines = [
                f"Channel:,{f'{channel},,,,,,' * 4}" if line.startswith("Channel:") else line
                for line in text.split("\n")
            ]
            (tmp_path / f"{channel}.txt").write_text("\n".join(lines))
        _, output = run(tmp_path / "1.txt", tmp_path / "2.txt")
        assert f"the files are of channels 1 ({tmp_path / '1.txt'}); 2 ({tmp_path / '2.txt'}): channels of" in output


class TestMappings:
    """Case 12: a mapping that no format or no file uses."""

    def test_a_column_that_does_not_exist(self, case, refused):
        output = refused(case("12") / "a.mat", *mapped("signal=waves", "time_ms=t", "level=levels"))
        assert "--map level: no such column" in output
        assert "stimulus_level_db" in output

    def test_it_is_refused_before_anything_is_read(self, tmp_path, refused):
        assert "did you mean 'stimulus_rate_hz'" in refused(tmp_path / "missing.csv", *mapped("stimulus_rate=x"))

    def test_one_that_the_format_never_reads(self, case, refused):
        output = refused(case("11") / "a.txt", *mapped("signal=1", "unit=nV"))
        assert "--map unit: not read from files of format ihs-smartep (left sides there: signal)" in output
        assert "matlab" in output
        assert "--value ear=VALUE" in refused(case("01") / "a.csv", *mapped("ear=Ear"))

    def test_one_that_some_of_the_files_do_not_read(self, case, tmp_path, run):
        path = in_columns(tmp_path / "c.csv", TIMES_MS)
        rows, output = run(case("01") / "a.csv", path, *mapped("layout=columns"))
        assert len(rows) == 5
        assert "--map layout has no meaning for files of format biosig-csv" in output


class TestImportedAgain:
    """A table from an earlier import keeps its subjects, and its records are recognised."""

    @pytest.fixture
    def first(self, tmp_path, run):
        (tmp_path / "in").mkdir()
        names = [f"t_ms={ms:g}" for ms in TIMES_MS]
        path = in_rows(tmp_path / "in" / "a.csv", names, subject_id=["Ann", "Bob"], stimulus_level_db=[80, 80])
        rows, _ = run(path, out=tmp_path / "in" / "first.parquet")
        return tmp_path / "in" / "first.parquet", rows

    def test_pseudonyms_and_identifiers_are_kept(self, tmp_path, run, first):
        path, rows = first
        again, _ = run(path)
        assert [row["subject_id"] for row in again] == [row["subject_id"] for row in rows]
        assert [row["record_id"] for row in again] == [row["record_id"] for row in rows]
        pq.write_table(pq.read_table(path).drop_columns("record_id"), tmp_path / "c.parquet")
        assert [row["subject_id"] for row in run(tmp_path / "c.parquet")[0]] == [row["subject_id"] for row in rows]
        (ann,), _ = run(in_rows(tmp_path / "b.csv", [f"t_ms={ms:g}" for ms in TIMES_MS], [WAVE_UV], subject_id=["ann"]))
        assert ann["subject_id"] == rows[0]["subject_id"]

    def test_another_key_is_reported(self, tmp_path, run, first):
        path, rows = first
        other = in_rows(tmp_path / "b.csv", [f"t_ms={ms:g}" for ms in TIMES_MS], [WAVE_UV], subject_id=["Ann"])
        again, output = run(path, other, "--key", tmp_path / "other.key")
        assert [row["subject_id"] for row in again[:2]] == [row["subject_id"] for row in rows]
        assert "2 subjects keep pseudonyms of another or an unknown key" in output
        assert f"in other files than {path} they count as other people" in output
        assert "unknown key" not in run(path, other)[1]

    @pytest.mark.parametrize("suffix", [".csv", ".parquet"])
    def test_a_copy_by_another_program(self, tmp_path, run, first, suffix):
        """pandas writes no metadata: the identifiers of the records show that the subjects are pseudonyms."""
        path, rows = first
        frame = pq.read_table(path).to_pandas()
        if suffix == ".csv":
            signal = pd.DataFrame(np.stack(frame["signal"]), columns=[f"t_ms={ms:g}" for ms in TIMES_MS[:200]])
            pd.concat([frame.drop(columns="signal"), signal], axis=1).to_csv(tmp_path / "b.csv", index=False)
        else:
            frame.to_parquet(tmp_path / "b.parquet")
        rate = mapped("sampling_rate_hz=20000")
        again, _ = run(tmp_path / f"b{suffix}", *rate)
        assert [row["subject_id"] for row in again] == [row["subject_id"] for row in rows]
        assert "also in file 1" in run(path, tmp_path / f"b{suffix}", *rate, status=3)[1]

    def test_names_that_were_added_later_become_pseudonyms(self, tmp_path, run, first):
        table = pq.read_table(first[0])
        changed = table.set_column(table.schema.get_field_index("subject_id"), "subject_id", pa.array(["Ann", "Bob"]))
        pq.write_table(changed, tmp_path / "c.parquet")
        again, _ = run(tmp_path / "c.parquet")
        assert [row["subject_id"] for row in again] == [row["subject_id"] for row in first[1]]

    def test_a_folder_into_itself(self, tmp_path, run, first):
        folder = tmp_path / "in"
        folder.joinpath("first.parquet").rename(folder / "all.parquet")
        rows, output = run(folder, out=folder / "all.parquet")
        assert "the table to write, which is in a folder of the files, is not read" in output
        assert [row["record_id"] for row in rows] == [row["record_id"] for row in first[1]]
        with pytest.raises(UserError, match="is also the file to write"):
            run(folder / "all.parquet", out=folder / "all.parquet")

    def test_the_same_records_in_two_files(self, tmp_path, run, first):
        path, _ = first
        _, output = run(tmp_path / "in", status=3)  # the recordings and the table that was made of them
        assert "waveforms that are also in file 1" in output
        pq.write_table(pq.read_table(path).slice(1), tmp_path / "part.parquet")
        assert len(run(path, tmp_path / "part.parquet", status=3)[0]) == 2

    def test_parts_of_a_published_table(self, recordings, tmp_path, run):
        table = pq.read_table(recordings / "mouse_tone_stankovic.parquet")
        for name, part in (("a", table.slice(0, 20)), ("b", table.slice(10, 30)), ("c", table.slice(40))):
            pq.write_table(part, tmp_path / f"{name}.parquet")
        rows, output = run(*(tmp_path / f"{name}.parquet" for name in "abc"), status=3)
        assert len(rows) == 20 + 90
        assert f"{tmp_path}/b.parquet: waveforms that are also in file 1" in output


class TestMatlab:
    """Case 22: vectors, cells, and matrices of either orientation."""

    @pytest.mark.parametrize(
        ("name", "variable", "pairs"), [("column", "x", []), ("sweeps", "s", ["layout=columns"]), ("cell", "waves", [])]
    )
    def test_the_files(self, case, run, name, variable, pairs):
        from scipy.io import loadmat

        path = case("22") / f"{name}.mat"
        rows, _ = run(path, *mapped(f"signal={variable}", "sampling_rate_hz=fs", *pairs))
        stored = loadmat(path)[variable]
        stored = np.stack([np.ravel(one) for one in np.ravel(stored)]) if stored.dtype == object else stored.T
        np.testing.assert_allclose([row["signal"] for row in rows], stored[:, :200], atol=1e-5)

    def test_either_dimension_may_be_the_time(self, case, refused):
        output = refused(case("22") / "sweeps.mat", *mapped("signal=s", "sampling_rate_hz=fs"))
        assert "a matrix of 241 x 300" in output
        assert "--map layout=columns" in output

    @pytest.mark.parametrize("turned", [False, True])
    def test_the_rate_decides_where_one_dimension_is_too_short(self, tmp_path, run, turned):
        waves = np.stack([WAVE_UV * (k + 1) for k in range(60)])  # 60 samples are 3 ms
        savemat(tmp_path / "m.mat", {"w": waves.T if turned else waves, "fs": 20000.0})
        rows, _ = run(tmp_path / "m.mat", *mapped("signal=w", "sampling_rate_hz=fs"))
        assert len(rows) == 60
        assert_first_is(rows)

    def test_a_square_matrix_needs_the_layout(self, tmp_path, run, refused):
        waves = np.stack([WAVE_UV * (k + 1) for k in range(241)])
        savemat(tmp_path / "m.mat", {"w": waves.T, "t": TIMES_MS})
        assert "layout" in refused(tmp_path / "m.mat", *mapped("signal=w", "time_ms=t"))
        assert_first_is(run(tmp_path / "m.mat", *mapped("signal=w", "time_ms=t", "layout=columns"))[0])

    def test_cells_of_other_lengths(self, tmp_path, run, refused):
        cells = np.empty(3, dtype=object)
        cells[:] = [WAVE_UV[:, None], WAVE_UV[None, :220], WAVE_UV[:, None] * 2]
        savemat(tmp_path / "m.mat", {"w": cells, "dB": [80, 70, 60], "two": np.array([np.ones((3, 3)), 1], object)})
        rows, _ = run(tmp_path / "m.mat", *mapped("signal=w", "sampling_rate_hz=20000", "stimulus_level_db=dB"))
        assert [row["stimulus_level_db"] for row in rows] == [80, 70, 60]
        assert_first_is(rows[2:], 2 * WAVE_UV)
        assert "no vectors" in refused(tmp_path / "m.mat", *mapped("signal=two", "sampling_rate_hz=20000"))

    def test_a_string_beside_the_waveforms(self, tmp_path, run, refused):
        """MATLAB stores a string or a table as an opaque object: its name, its kind, its class, and a reference."""
        savemat(tmp_path / "m.mat", {"w": WAVE_UV, "fs": 20000.0})

        def element(kind, content):
            return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)

        names = element(1, b"species") + element(1, b"MCOS") + element(1, b"string")
        reference = element(6, struct.pack("<II", 13, 0)) + element(5, struct.pack("<2i", 1, 1)) + element(1, b"")
        reference = element(14, reference + element(6, struct.pack("<I", 0xDD000000)))
        with (tmp_path / "m.mat").open("ab") as file:
            file.write(element(14, element(6, struct.pack("<II", 17, 0)) + names + reference))
        rows, output = run(tmp_path / "m.mat", *mapped("signal=w", "sampling_rate_hz=fs"))
        assert_first_is(rows)
        assert "variables that are not read: 'species'" in output
        output = refused(tmp_path / "m.mat", *mapped("signal=w", "sampling_rate_hz=fs", "ear=species"))
        assert "variable 'species': got an object" in output

    def test_version_7_3(self, tmp_path, run, refused):
        h5py = pytest.importorskip("h5py")
        with h5py.File(tmp_path / "m.mat", "w", userblock_size=512) as file:
            file["w"] = np.stack([WAVE_UV * (k + 1) for k in range(300)])  # time x sweeps in MATLAB, turned in HDF5
            file["fs"] = np.array([[20000.0]])
            file["who"] = np.array([[0xDD000000, 2, 1, 1, 1, 1]], dtype=np.uint32)
            file["who"].attrs["MATLAB_class"] = np.bytes_("string")
            file["who"].attrs["MATLAB_object_decode"] = 3
            file["z"] = np.array([1 + 1j])
            references = [file.create_dataset(f"#refs#/{k}", data=(k + 1) * WAVE_UV[None]).ref for k in range(2)]
            file["cell"] = np.array([references], dtype=h5py.ref_dtype)
            file["cell"].attrs["MATLAB_class"] = np.bytes_("cell")
        with (tmp_path / "m.mat").open("r+b") as file:
            file.write(b"MATLAB 7.3 MAT-file".ljust(124) + struct.pack("<H", 0x200) + b"IM")
        rate = "sampling_rate_hz=fs"
        assert "layout" in refused(tmp_path / "m.mat", *mapped("signal=w", rate))
        rows, _ = run(tmp_path / "m.mat", *mapped("signal=w", rate, "layout=columns"))
        assert len(rows) == 300
        assert_first_is(rows)
        assert_first_is(run(tmp_path / "m.mat", *mapped("signal=cell", rate))[0][1:], 2 * WAVE_UV)
        assert "variable 'who'" in refused(tmp_path / "m.mat", *mapped("signal=cell", rate, "ear=who"))


class TestRights:
    """Case 19: files that cannot be read or written give one message, and exit code 2."""

    @pytest.fixture
    def told(self, tmp_path):
        """Run `hcvae import` without root's rights, which must return 2; return its output."""

        if os.geteuid() == 0 and shutil.which("setpriv") is None:
            pytest.skip("root can read and write everything here; needs setpriv")

        def told(*arguments, out=tmp_path / "o.parquet", **environment):
            command = [
                *(WITHOUT_RIGHTS if os.geteuid() == 0 else ()),
                sys.executable,
                "-m",
                "hcvae",
                "import",
                *map(str, arguments),
                "--out",
                str(out),
            ]
            variables = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": str(tmp_path / "c"), **environment}
            done = subprocess.run(command, capture_output=True, text=True, env=variables, timeout=100)
            assert done.returncode == 2, done.stderr
            assert "Traceback" not in done.stderr
            return done.stdout + done.stderr

        return told

    @pytest.fixture
    def locked(self, tmp_path):
        folder = tmp_path / "locked"
        folder.mkdir()
        in_columns(folder / "a.csv", TIMES_MS)
        folder.chmod(0)
        yield folder
        folder.chmod(0o700)

    def test_reading(self, tmp_path, told, locked):
        for path in (locked, locked / "a.csv"):
            assert "Permission denied" in told(path, *mapped("layout=columns"))
        path = in_columns(tmp_path / "b.csv", TIMES_MS)
        path.chmod(0)
        assert "Permission denied" in told(path, *mapped("layout=columns"))

    def test_writing_is_tried_before_anything_is_read(self, tmp_path, told, locked):
        path = in_columns(tmp_path / "b.csv", TIMES_MS)
        locked.chmod(0o555)
        output = told(path, *mapped("layout=columns"), XDG_CONFIG_HOME=str(locked))
        assert "--key" in output
        assert "recordings" not in output
        output = told(path, *mapped("layout=columns"), out=locked / "o.parquet")
        assert "not a folder that you may write to" in output
        assert "recordings" not in output

    def test_an_inaccessible_key(self, tmp_path, told, locked):
        path = in_columns(tmp_path / "b.csv", TIMES_MS)
        assert "--key" in told(path, *mapped("layout=columns"), "--key", locked / "k.key")

    def test_links_and_folders(self, tmp_path, run, refused):
        (tmp_path / "f" / "sub").mkdir(parents=True)
        (tmp_path / "f" / "gone.csv").symlink_to("nowhere")
        assert "no such file" in refused(tmp_path / "f" / "gone.csv")
        assert "a folder without files" in (message := refused(tmp_path / "f"))
        assert "2 folders or links in it must be named" in message
        in_columns(tmp_path / "f" / "a.csv", TIMES_MS)
        _, output = run(tmp_path / "f", *mapped("layout=columns"))
        assert "2 folders or links within a folder are not read" in output
        (tmp_path / "d.parquet").mkdir()
        with pytest.raises(UserError, match="is a folder"):
            run(tmp_path / "f", *mapped("layout=columns"), out=tmp_path / "d.parquet")

    def test_a_full_disk(self, tmp_path, run):
        """A limit of the file size acts like a full disk: the last write fails, and nothing is left."""
        path = in_columns(tmp_path / "b.csv", TIMES_MS)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
        try:
            with pytest.raises(UserError, match="cannot be written"):
                run(path, *mapped("layout=columns"), out=tmp_path / "big.parquet")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert not [*tmp_path.glob("*big.parquet*")]


def test_the_provenance_holds_no_key(tmp_path, run):
    run(in_columns(tmp_path / "a.csv", TIMES_MS), *mapped("layout=columns"))
    key = pseudonyms.read_key(tmp_path / "configuration" / "hcvae" / "pseudonyms.key")
    content = pq.read_table(tmp_path / "out.parquet").schema.metadata[b"hcvae_import"]
    assert json.loads(content)["key"] == pseudonyms.fingerprint(key)
    assert key.hex().encode() not in content
