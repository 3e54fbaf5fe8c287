"""Every case of `shared/cases/import` by the command in its README, as a user types it in the folder of the case.

The waveforms of the cases are one response of 1.95 uV peak to peak at 90 dB, scaled by the level. Its samples are
compared with the files by the tests of the formats (`test_cases_devices`, `test_cases_import`, `test_cases_text`).
"""

import shlex
import shutil
from dataclasses import dataclass, field

import numpy as np
import pyarrow.parquet as pq
import pytest

from hcvae import cli
from hcvae.errors import UserError

UV_PER_DB = 1.95 / 90
"""Peak to peak of the cases' response over the level."""
TONE = {"stimulus_type": "tone_pip", "stimulus_frequency_hz": 8000.0}
CLICK = {"stimulus_type": "click", "stimulus_frequency_hz": None}
COLUMNS = "--map layout=columns"


@dataclass
class Case:
    """A command after `hcvae import`, and what it must give."""

    number: str
    arguments: str
    rows: int = 0
    """Rows of the table; 0: the command is refused."""
    output: tuple[str, ...] = ()
    """Texts of its output or its error."""
    levels_db: tuple[float, ...] = ()
    sizes_uv: tuple[float, ...] = ()
    """Peak to peak of the first waveforms."""
    values: dict[str, object] = field(default_factory=dict)
    """Values of all rows."""


def scaled(*levels_db: float) -> dict:
    """Return the levels, and the sizes that the response has at them."""
    return {"levels_db": levels_db, "sizes_uv": tuple(UV_PER_DB * level for level in levels_db)}


CASES = [
    Case("01", "a.csv --band-hz null", 3, **scaled(90, 80, 70), values={"highpass_hz": None, "lowpass_hz": None}),
    Case("03", f"time_s.csv {COLUMNS}", output=("sampling rate", "--map time_unit=s")),
    Case("03", f"time_index.csv {COLUMNS}", output=("sampling rate", "--map time_unit=samples")),
    Case("03", "fs_khz.mat --map signal=waves --map sampling_rate_hz=fs", output=("got 20 Hz", "--map rate_unit=kHz")),
    Case("04", "a.csv a.txt b.txt", 9, **scaled(90, 80, 70, 90, 80, 70, 90, 80, 70), values=TONE),
    Case("06", "a.edf sub-01_task-abr_eeg.edf --block-sweeps 40", output=("'high' (40), 'low' (40)", "event=high")),
    Case("07", "a.csv --map unit=nV", output=("line 2, column 31", "thousands separators")),
    Case("09", "a.xlsx", 6, ("the sheets name no subject and count as one",), **scaled(90, 70, 90, 70, 90, 70)),
    Case("09", "hidden_first.xlsx", 3, ("sheet 'old' is hidden and not read",), **scaled(90, 70, 50)),
    Case("10", "a.csv --block-sweeps 10 --value n_averages=1", 2, values={"n_averages": 10}),
    Case("11", "a.txt", output=("channels: got 1, 2", "--map signal=1")),
    Case("12", "a.mat --map signal=waves --map time_ms=t --map level=levels", output=("no such column", "level_db'?")),
    Case("13", "nv.csv", 3, **scaled(90, 80, 70), values=TONE),
    Case("13", "mv.csv", 3, **scaled(90, 80, 70), values=TONE),
    Case("13", "v.csv", 3, **scaled(90, 80, 70), values=TONE),
    Case("14", "biosig.csv biosig.txt ihs.txt utf16.csv", 11),
    Case("16", "a.csv", 4, **scaled(90, 80, 70, 60)),
    Case("20", "click", 3, levels_db=(20, 30, 40), values=CLICK),
    Case("20", "rated/run", 3, levels_db=(20, 30, 40), values={"threshold_db": 30}),
    Case("20", "standard", output=("got no Response.Fs (Hz)",)),
    Case("21", "spo2.edf --map signal=Cz-A1 --block-sweeps 30", 2),
    Case("21", "dup.edf --map signal=Cz --block-sweeps 30", output=("2 channels are called 'Cz'", "Cz-0 or Cz-1")),
    Case("22", "column.mat --map signal=x --map sampling_rate_hz=fs", 1, sizes_uv=(1.95,)),
    Case("22", "sweeps.mat --map signal=s --map sampling_rate_hz=fs", output=("241 x 300", "layout=columns")),
    Case("22", "cell.mat --map signal=waves --map sampling_rate_hz=fs", 3, sizes_uv=(1.95, 0.8 * 1.95, 0.6 * 1.95)),
    Case("23", "a.txt", 4, levels_db=(80, 80, 60, 60), values=CLICK),
    Case("23", "b.txt", 4, levels_db=(80, 80, 60, 60), values=CLICK),
    Case("24", f"headerless.csv {COLUMNS}", 2, sizes_uv=(1.95, 0.7 * 1.95)),
    Case("24", f"blank_corner.csv {COLUMNS}", 2, ("header line 'line 1' is not read",), sizes_uv=(1.95, 0.7 * 1.95)),
    Case("24", "names.tsv --map 'signal=* ms'", 2, **scaled(90, 70)),
    Case("24", "title.csv", 2, ("a line above the column names is not read",), **scaled(90, 70)),
    Case("24", "level_twice.csv", output=("'stimulus_level_db' more than once",)),
]
INSPECTED = [
    ("17", "int64_ns.parquet", None),
    ("17", "binary.parquet", None),
    ("17", "empty_lists.parquet", "lists of 0"),
    ("17", "noise_text.parquet", "'residual_noise_uv' must have numbers"),
    ("17", "two_columns_of_one_name.parquet", "column names must differ"),
    ("18", "a.parquet", None),
]
WITHOUT_COMMAND = {"19"}
"""Rights of folders: the cases of `test_cases_import.TestRights`."""


@pytest.fixture
def hcvae(cases, tmp_path, monkeypatch, capsys):
    """A function that runs a command in a copy of the folder of a case; returns the exit code and the output."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "configuration"))

    def run(number: str, command: str) -> tuple[int, str]:
        [folder] = cases.glob(f"{number}-*")
        shutil.copytree(folder, tmp_path / "case")
        monkeypatch.chdir(tmp_path / "case")
        try:
            code = cli.run(shlex.split(command))
            message = ""
        except UserError as error:
            code = 2
            message = str(error)
            assert "\n" not in message
        return code, " ".join(f"{capsys.readouterr().out} {message}".split())

    return run


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.number}-{case.arguments.split()[0]}")
def test_the_command_of_the_readme(hcvae, case):
    code, output = hcvae(case.number, f"import {case.arguments} --out o.parquet")
    for text in case.output:
        assert text in output
    if not case.rows:
        assert code == 2
        with pytest.raises(FileNotFoundError):
            pq.read_table("o.parquet")
        return
    assert code == 0
    assert "does not fit the waveforms" not in output
    rows = pq.read_table("o.parquet").to_pylist()
    assert len(rows) == case.rows
    assert tuple(row["stimulus_level_db"] for row in rows)[: len(case.levels_db)] == case.levels_db
    sizes_uv = [np.ptp(row["signal"]) for row in rows]
    assert sizes_uv[: len(case.sizes_uv)] == pytest.approx(case.sizes_uv, rel=0.01)
    for name, value in case.values.items():
        assert [row[name] for row in rows] == [value] * case.rows


@pytest.mark.parametrize(("number", "file", "message"), INSPECTED)
def test_inspect_ends_with_0_or_one_message(hcvae, number, file, message):
    code, output = hcvae(number, f"inspect {file}")
    assert code == (0 if message is None else 2)
    assert (message or "waveforms") in output


def test_no_case_is_left_out(cases):
    tested = {case.number for case in CASES} | {number for number, _, _ in INSPECTED} | WITHOUT_COMMAND
    assert {folder.name[:2] for folder in cases.iterdir()} == tested
