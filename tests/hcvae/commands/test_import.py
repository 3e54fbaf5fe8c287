"""`hcvae import`: exit codes, what is written, and what is written nowhere."""

import json
import shlex
from importlib import import_module

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hcvae.data.export import write_table
from hcvae.data.simulator import simulate
from hcvae.errors import UserError

NAME, BORN, RECORD = "Zebulon Quandary", "1971-03-09", "MRN5550123"


@pytest.fixture(autouse=True)
def _own_key(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "configuration"))


def run(*arguments) -> int:
    return import_module("hcvae.commands.import_recordings").run([str(argument) for argument in arguments])


def smartep(path, identifier="id 7", acquisitions=2, samples=300, zero=45):
    """A file of the layout of the real ones: a sine of acquisition + 1 uV from the zero position on."""
    fields = {
        "Identifier:": identifier, "Ear:": "R", "Smp. Period:": 50, "Zero Position:": zero, "Sweeps:": 500,
        "Artifacts:": 3, "Stim. Freq:": 0, "Intensity:": 60, "Stim. Rate:": 37.1,
    }  # fmt: skip
    lines = [f"{name},{','.join(f'{value},,,,,' for _ in range(acquisitions))}" for name, value in fields.items()]
    titles = "Average:,Average(uV):,Buffer1:,Buffer1(uV):,Buffer2:,Buffer2(uV):"
    lines.append("Data Pnt:," + ",".join([titles] * acquisitions))
    for k in range(samples):
        uv = [(a + 1) * np.sin(2 * np.pi * 0.5 * (k - zero + 1) * 0.05) for a in range(acquisitions)]
        lines.append(f"{k + 1}," + ",".join(f"0,{x:.4f},0,{x:.4f},0,{x:.4f}" for x in uv))
    path.write_text("\r\n".join(lines) + "\r\n", "latin-1")
    return path


def test_a_bad_file_does_not_stop_the_rest(tmp_path, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    smartep(folder / "a.TXT")
    (folder / "b.TXT").write_bytes((folder / "a.TXT").read_bytes()[:9000])
    (folder / "c.txt").write_bytes(b"")
    (folder / "d.jpg").write_bytes(b"\xff\xd8\xff" + bytes(500))
    (folder / "e.TXT").write_text((folder / "a.TXT").read_text(), "utf-16-le")
    smartep(folder / "renamed.arf", acquisitions=1)
    assert run(folder, "--out", tmp_path / "t.parquet") == 3
    assert pq.read_table(tmp_path / "t.parquet").num_rows == 6
    said = capsys.readouterr().out
    named = ("b.TXT: line", "c.txt: byte 0", "d.jpg: byte 0", "e.TXT: byte 0")
    assert all(f"left out: {folder}/{name}" in said for name in named)


def test_the_next_command_can_be_pasted(tmp_path, capsys):
    smartep(tmp_path / "a.TXT")
    out = tmp_path / ("long name " * 10 + "[it's].parquet")  # quoted, neither wrapped nor markup
    assert run(tmp_path / "a.TXT", "--out", out) == 0
    [command] = [line.removeprefix("next: ") for line in capsys.readouterr().out.splitlines() if "next: " in line]
    assert shlex.split(command) == ["hcvae", "inspect", str(out)]


def test_importing_nothing_is_an_error_and_writes_nothing(tmp_path):
    (tmp_path / "c.txt").write_bytes(b"")
    with pytest.raises(UserError, match="no waveform is left"):
        run(tmp_path / "c.txt", "--out", tmp_path / "t.parquet")
    assert {path.name for path in tmp_path.iterdir()} == {"c.txt"}


def test_a_dry_run_writes_nothing(tmp_path, capsys):
    smartep(tmp_path / "a.TXT")
    assert run(tmp_path / "a.TXT", "--out", tmp_path / "t.parquet", "--dry-run") == 0
    assert "4 waveforms would be in" in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == {"a.TXT"}


def test_the_same_import_gives_the_same_bytes_and_pseudonyms(tmp_path):
    smartep(tmp_path / "a.TXT")
    smartep(tmp_path / "b.TXT", acquisitions=3)
    outs = [tmp_path / name for name in ("1.parquet", "2.parquet", "3.parquet")]
    for out in outs[:2]:
        assert run(tmp_path / "a.TXT", tmp_path / "b.TXT", "--out", out) == 0
    assert outs[0].read_bytes() == outs[1].read_bytes()
    assert run(tmp_path / "b.TXT", "--out", outs[2], "--key", tmp_path / "other.key") == 0
    first, last = (set(pq.read_table(out)["subject_id"].to_pylist()) for out in (outs[0], outs[2]))
    assert len(first) == len(last) == 1  # one identifier in both files
    assert first != last


def test_names_dates_and_numbers_of_people_are_not_written(tmp_path, capsys):
    folder = tmp_path / f"{NAME} {BORN}"
    folder.mkdir()
    smartep(folder / f"{NAME}_{BORN}_{RECORD}.TXT", identifier=f"{NAME} {BORN} {RECORD}")
    (folder / f"{NAME} broken.TXT").write_text(f"Identifier:,{NAME}\r\nZero Position:,{BORN}\r\nSweeps:,{RECORD}\r\n")
    private = pa.table({"subject_id": [NAME], "name": [NAME], "signal": [[0.5] * 200], "dob": [BORN], "id": [RECORD]})
    pq.write_table(private, folder / f"{RECORD}.parquet")
    outs = [tmp_path / "1.parquet", tmp_path / "2.parquet"]
    given = [folder, "--hide-names", "--map", "sampling_rate_hz=20000", "--out"]
    assert run(*given, outs[0], "--subject", NAME, "--format", "table") == 3
    assert run(*given, outs[1]) == 3
    tables = [pq.read_table(out) for out in outs]
    assert [table.num_rows for table in tables] == [1, 5]
    written = [path for path in tmp_path.rglob("*") if path.is_file() and folder not in path.parents]
    assert len(written) == 3  # the tables and the key
    content = b"".join(path.read_bytes() for path in written) + capsys.readouterr().out.encode()
    content += "".join(f"{table.schema.metadata} {table.to_pylist()}" for table in tables).encode()
    for word in [*NAME.split(), BORN, BORN.replace("-", ""), RECORD]:
        assert word.lower().encode() not in content.lower()


@pytest.mark.parametrize(("suffix", "atol"), [(".csv", 0), (".mat", 0), (".parquet", 0), (".edf", 1e-4)])
def test_exported_tables_can_be_imported(tmp_path, suffix, atol):
    table = simulate(40, 3)
    write_table(table, tmp_path / f"x{suffix}")
    assert run(tmp_path / f"x{suffix}", "--out", tmp_path / "t.parquet") == 0
    got = pq.read_table(tmp_path / "t.parquet")
    signals = [np.stack(t["signal"].to_numpy()) for t in (got, table)]
    step = np.abs(signals[1]).max() / 65534 if suffix == ".edf" else 0
    np.testing.assert_allclose(signals[0], signals[1], rtol=1e-6, atol=1.01 * step + 1e-9)
    for name in ("stimulus_level_db", "stimulus_rate_hz", "n_averages", "residual_noise_uv"):
        if name in table.column_names:
            np.testing.assert_allclose(got[name].to_numpy(), table[name].to_numpy(), rtol=1e-6)
    pairs = set(zip(got["subject_id"].to_pylist(), table["subject_id"].to_pylist(), strict=True))
    assert len(pairs) == len(table["subject_id"].unique()) == len(got["subject_id"].unique())


def test_values_and_provenance(tmp_path):
    smartep(tmp_path / "a.TXT")
    options = ["--value", "species=human", "--value", "level_reference=dB nHL", "--band-hz", "150,2000", "--invert"]
    options += ["--licence", "CC BY 4.0"]
    assert run(tmp_path / "a.TXT", "--out", tmp_path / "t.parquet", *options) == 0
    table = pq.read_table(tmp_path / "t.parquet")
    assert set(table["species"].to_pylist()) == {"human"}
    assert set(table["highpass_hz"].to_pylist()) == {150.0}
    provenance = json.loads(table.schema.metadata[b"hcvae_import"])
    assert provenance["options"]["steps"]["band_hz"] == [150, 2000]
    assert provenance["options"]["values"] == {"species": "human", "level_reference": "dB nHL"}
    assert provenance["files"][0]["format"] == "ihs-smartep"
    assert table.schema.metadata[b"licence"] == b"CC BY 4.0"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out", "t.csv"], "must end in .parquet"),
        (["--value", "specis=human"], "did you mean 'species'"),
        (["--value", "ear=both"], "must be one of l, left, r, right"),
        (["--value", "age_days=old"], "must be a number"),
        (["--map", "signal"], "must be COLUMN=NAME"),
        (["--format", "smartep"], "must be one of table"),
        (["--band-hz", "3000,100"], "two rising frequencies"),
        (["--block-sweeps", "1"], "2 or more sweeps"),
        (["--subject-key", "x"], "unknown option"),
    ],
)
def test_errors_are_reported_before_anything_is_read(tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        run(tmp_path / "missing.TXT", *([] if options[0] == "--out" else ["--out", tmp_path / "t.parquet"]), *options)


def test_copies_are_not_independent_averages(tmp_path, capsys):
    smartep(tmp_path / "a.TXT")
    (tmp_path / "b.TXT").write_bytes((tmp_path / "a.TXT").read_bytes())
    assert run(tmp_path / "a.TXT", tmp_path / "b.TXT", "--out", tmp_path / "t.parquet") == 3
    assert "the same content as file 1" in capsys.readouterr().out
