"""CSV and Excel: both layouts, and malformed tables."""

import sys
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from hcvae.errors import UserError
from hcvae.importers import comma_separated, excel
from hcvae.importers.recording import ReadOptions

ROWS = [
    ["subject_id", "dB", "t_ms=-0.5", "t_ms=0", "t_ms=0.5"],
    ["a", 80, 1.5, 2, -3],
    ["b", None, 0, 0.25, 1e-3],
]
COLUMNS = [
    ["Level", 80, 70],
    ["Ear", "L", "R"],
    ["ms", None, None],
    [1.0, 0.1, 0.2],
    [1.05, 0.3, 0.4],
    [1.1, 0.5, 0.6],
]


@pytest.fixture(params=[".csv", ".tsv", ";", ".xlsx"])
def save(request, tmp_path):
    """A function that writes rows of cells and returns the path and the reader."""

    def save(rows):
        if request.param == ".xlsx":
            openpyxl = pytest.importorskip("openpyxl")
            book = openpyxl.Workbook()
            for row in rows:
                book.active.append(row)
            book.save(tmp_path / "t.xlsx")
            return tmp_path / "t.xlsx", excel.FORMAT
        between = {".csv": ",", ".tsv": "\t", ";": ";"}[request.param]
        cells = [["" if cell is None else str(cell) for cell in row] for row in rows]
        text = "\n".join(between.join(row) for row in cells) + "\n"
        path = tmp_path / ("t.tsv" if request.param == ".tsv" else "t.csv")
        if between == ";":
            text = text.replace(".", ",").replace("t_ms=0,5", "t_ms=0.5").replace("t_ms=-0,5", "t_ms=-0.5")
        path.write_text(text)
        return path, comma_separated.FORMAT

    return save


def read(saved, **mapping):
    path, form = saved
    assert form.recognises(path, path.read_bytes()[:64])
    return list(form.read(path, ReadOptions(mapping=mapping)))


def test_one_waveform_a_row(save):
    first, second = read(save(ROWS), stimulus_level_db="dB", unit="mV")
    np.testing.assert_allclose(first.signal_uv, [1500, 2000, -3000])
    np.testing.assert_allclose(second.signal_uv, [0, 250, 1])
    assert (first.sampling_rate_hz, first.start_ms, first.subject) == (2000.0, -0.5, "a")
    assert [r.values for r in (first, second)] == [{"stimulus_level_db": 80}, {"stimulus_level_db": None}]


def test_one_waveform_a_column(save):
    first, second = read(save(COLUMNS), layout="columns", stimulus_level_db="Level", ear="Ear", n_averages="250")
    np.testing.assert_allclose([first.signal_uv, second.signal_uv], [[0.1, 0.3, 0.5], [0.2, 0.4, 0.6]])
    assert (first.sampling_rate_hz, first.start_ms, first.subject) == (20000.0, 1.0, None)
    assert second.values == {"stimulus_level_db": 70, "ear": "R", "n_averages": 250}


@pytest.mark.parametrize(
    ("rows", "mapping", "message"),
    [
        ([["a", "b"], [1, 2]], {}, "none like"),
        ([*ROWS, ["c", 1, 2, 3, "x"]], {}, "line 4, column 5: got text"),
        ([*ROWS, ["c", 1, 2, None, 3]], {}, "line 4, column 4"),
        ([*ROWS, ["c", 1, 2, 3, 4, 5]], {}, "line 4.*6 cells"),
        (ROWS, {"ear": "Ohr"}, "no 'Ohr'"),
        (ROWS, {"layout": "diagonal"}, "rows, columns"),
        ([["t_ms=0", "t_ms=1", "t_ms=3"], [1, 2, 3]], {}, "uneven steps"),
        ([["sX", "sY"], [1, 2]], {"signal": "s*"}, "sampling_rate_hz"),
        (COLUMNS[:3], {"layout": "columns"}, "no line that begins with a number"),
        ([*COLUMNS, ["end", 1, 2]], {"layout": "columns"}, "line 7"),
        ([*COLUMNS, [1.15, 1, 2, 3]], {"layout": "columns"}, "line 7.*4 cells"),
    ],
)
def test_cells_that_do_not_fit(save, rows, mapping, message):
    with pytest.raises(UserError, match=message):
        read(save(rows), **mapping)


def test_own_csv_needs_no_options(recordings, tmp_path):
    """The layout of our export, written here from the real table with labelled peaks."""
    table = pq.read_table(recordings / "mouse_tone_epl_labelled.parquet")
    waves = ("I", "II", "III", "IV", "V")
    columns = {
        name: column
        for name, column in zip(table.column_names, table.columns, strict=True)
        if not pa.types.is_nested(column.type)
    }
    signal = np.array(table["signal"].to_pylist(), dtype=np.float32)
    columns |= {f"t_ms={n * 0.05:.12g}": pa.array(signal[:, n]) for n in range(200)}
    for name in ("peak_latency_ms", "peak_amplitude_uv", "peak_valid"):
        values = table[name].to_pylist()
        columns |= {f"{name}_{wave}": [row[n] for row in values] for n, wave in enumerate(waves)}
    pyarrow.csv.write_csv(pa.table(columns), tmp_path / "t.csv")
    found = list(comma_separated.FORMAT.read(tmp_path / "t.csv", ReadOptions()))
    np.testing.assert_array_equal(np.float32([r.signal_uv for r in found]), signal)
    assert {(r.sampling_rate_hz, r.start_ms, r.subject) for r in found} == {(20000.0, 0.0, "E1")}
    for r, row in zip(found, table.to_pylist(), strict=True):
        assert r.values["threshold_source"] == row["threshold_source"]
        assert (r.peaks is None) == (not any(row["peak_valid"]))
        if r.peaks:
            np.testing.assert_array_equal(r.peaks.valid, row["peak_valid"])
            np.testing.assert_array_equal(np.float32(r.peaks.latency_ms), np.float32(row["peak_latency_ms"]))
            np.testing.assert_array_equal(np.float32(r.peaks.amplitude_uv), np.float32(row["peak_amplitude_uv"]))


def test_a_line_without_end(tmp_path):
    (tmp_path / "t.csv").write_bytes(b"t_ms=0,t_ms=1\n" + b"1," * 2**20)
    with pytest.raises(UserError, match=r"line 2.*more than 1048576 characters"):
        list(comma_separated.FORMAT.read(tmp_path / "t.csv", ReadOptions()))


@pytest.mark.parametrize("content", [b"", b"\n\n", b"t_ms=0,t_ms=1\n1", b"t_ms=0," * 2**18, b"t_ms=0,t_ms=1\n\0,1\n"])
def test_hostile_csv(tmp_path, content):
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(UserError, match=r"t\.csv"):
        list(comma_separated.FORMAT.read(tmp_path / "t.csv", ReadOptions()))


class TestExcel:
    @pytest.fixture
    def book(self, tmp_path):
        openpyxl = pytest.importorskip("openpyxl")
        book = openpyxl.Workbook()
        book.active.title = "notes"
        for row in ROWS:
            book.create_sheet("data") if len(book.worksheets) == 1 else None
            book["data"].append(row)
        book.save(tmp_path / "t.xlsx")
        return tmp_path / "t.xlsx"

    def read(self, path, **mapping):
        return list(excel.FORMAT.read(path, ReadOptions(mapping=mapping)))

    def test_a_sheet_by_name(self, book):
        assert len(self.read(book, sheet="data")) == 2
        with pytest.raises(UserError, match="did you mean 'data'"):
            self.read(book, sheet="dat")

    @pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
    def test_truncated(self, book, share):
        content = book.read_bytes()
        book.write_bytes(content[: int(share * len(content))])
        with pytest.raises(UserError, match="cannot be read"):
            self.read(book)

    @pytest.mark.parametrize("size", [b"A1:XFD1048576", b"A1:A1"])
    def test_a_sheet_whose_claimed_size_is_wrong(self, book, size):
        self.change(book, b'ref="A1:E3"', b'ref="' + size + b'"')
        assert len(self.read(book, sheet="data")) == 2

    def test_a_workbook_that_expands(self, book, monkeypatch):
        monkeypatch.setattr(excel, "MAX_EXPANDED_BYTES", 2**20)
        with zipfile.ZipFile(book, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("xl/worksheets/sheet9.xml", bytes(2**20))
        with pytest.raises(UserError, match="once expanded"):
            self.read(book)

    def test_a_zip_of_something_else(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "t.xlsx", "w") as archive:
            archive.writestr("readme.txt", "no workbook")
        with pytest.raises(UserError, match="cannot be read"):
            self.read(tmp_path / "t.xlsx")

    def test_without_openpyxl(self, book, monkeypatch):
        monkeypatch.setitem(sys.modules, "openpyxl", None)
        with pytest.raises(UserError, match=r"pip install --editable '\.\[formats\]'"):
            self.read(book)

    def change(self, path, old, new):
        with zipfile.ZipFile(path) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        assert any(old in content for content in parts.values())
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in parts.items():
                archive.writestr(name, content.replace(old, new))


@pytest.mark.parametrize("ms", [1.0, 1e-3, 1e3])
def test_times_instead_of_names_are_recognised_in_any_unit(save, ms):
    times = [round(0.05 * step * ms, 6) for step in range(40)]
    saved = save([["dB", *times], [80, *range(40)], [70, *range(40)]])
    with pytest.raises(UserError, match=r"got numbers that rise in equal steps instead of names; .* map signal=\*"):
        read(saved)
    unit = {1.0: "ms", 1e-3: "s", 1e3: "us"}[ms]
    first, _ = read(saved, signal="*", stimulus_level_db="dB", time_unit=unit)
    assert (first.sampling_rate_hz, first.start_ms) == (pytest.approx(20_000), 0)
    assert first.values["stimulus_level_db"] == 80
