"""Users' text files that were once misread, and similar files, imported on the command line."""

import re

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.interpolate import CubicSpline
from scipy.signal import butter, sosfiltfilt

from hcvae import cli
from hcvae.errors import UserError

TDT_HZ = 1e6 / 40.96
NULL = "NA", "n/a", "NaN", "null", "None", "-", ".", "#N/A", "missing", "empty", ""


@pytest.fixture
def case(cases):
    """A function that finds a file of a case by its number."""
    return lambda number, name: next(cases.glob(f"{number:02}-*")) / name


@pytest.fixture
def imported(tmp_path, monkeypatch, capsys):
    """A function that imports files as the command does, and returns rows and output."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "configuration"))
    monkeypatch.setenv("COLUMNS", "300")

    def run(*arguments):
        out = tmp_path / "out.parquet"
        assert cli.run(["import", *map(str, arguments), "--out", str(out)]) == 0
        return pq.read_table(out).to_pylist(), capsys.readouterr().out

    return run


@pytest.fixture
def refused(imported, capsys):
    """A function that returns why a file is left out."""

    def run(*arguments):
        with pytest.raises(UserError, match="no waveform is left"):
            imported(*arguments)
        return capsys.readouterr().out

    return run


def column(rows, name):
    return [row[name] for row in rows]


def signals(rows):
    return np.array(column(rows, "signal"))


def on_grid(uv, rate_hz=TDT_HZ, band_hz=(300, 3000), start_ms=0.0):
    """The documented steps: a zero-phase band-pass of second order, then a cubic spline."""
    filtered = sosfiltfilt(butter(2, band_hz, "bandpass", fs=rate_hz, output="sos"), uv)
    return CubicSpline(start_ms + np.arange(np.shape(uv)[-1]) * 1e3 / rate_hz, filtered, axis=-1)(np.arange(200) * 0.05)


def volts_of_text(path):
    """[3, 292]: the lines of a BioSig text that are numbers."""
    lines = path.read_text("utf-8-sig").splitlines()
    return np.array([float(line) for line in lines if re.fullmatch(r"-?\d[-+.e\d]+", line)]).reshape(3, -1)


def cells(path, skip=1, delimiter=","):
    return [line.split(delimiter) for line in path.read_text("utf-8-sig").splitlines()[skip:]]


def samples_of_biosig_csv(path):
    return np.array([row[-260:] for row in cells(path)], dtype=float)


def changed(tmp_path, path, *pairs, encoding="utf-8", name=None):
    """A copy in which words are replaced, each at least once."""
    text = path.read_text("utf-8-sig")
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    copy = tmp_path / (name or path.name)
    copy.write_bytes(text.encode(encoding))
    return copy


def waveform_rows(delimiter, *first_cells, decimal=".", form="{:.4f}"):
    """A line of names and one waveform a line: sample k is sin(k / 9) times 1, 2, ...."""
    values = [[form.format(row * np.sin(k / 9)) for k in range(200)] for row in range(1, 1 + len(first_cells[1:]))]
    names = [f"t_ms={0.05 * k:.2f}" for k in range(200)]
    lines = [[*first_cells[0], *names], *([*a, *b] for a, b in zip(first_cells[1:], values, strict=True))]
    return "\n".join(delimiter.join(line).replace(".", decimal) for line in lines) + "\n"


SINES = np.sin(np.arange(200) / 9) * np.array([[1], [2]])


class TestBioSigVariables:
    @pytest.mark.parametrize("name", ["a.csv", "a.txt", "b.txt"])
    def test_tones_stay_tones_with_their_levels(self, case, imported, name):
        path = case(4, name)
        rows, _ = imported(path)
        uv = samples_of_biosig_csv(path) if name == "a.csv" else 1e6 * volts_of_text(path)
        np.testing.assert_allclose(signals(rows), on_grid(uv), atol=1e-6)
        assert column(rows, "stimulus_type") == ["tone_pip"] * 3
        assert column(rows, "stimulus_frequency_hz") == [8000] * 3
        assert column(rows, "stimulus_level_db") == [90, 80, 70]
        assert column(rows, "level_reference") == ["dB SPL" if name == "b.txt" else None] * 3

    @pytest.mark.parametrize(
        ("frequency", "level"),
        [
            ("Freq (kHz) = 8", "Stim Level = 90 dB"),
            ("FREQUENCY = 8 kHz", "intensity = 90dB"),
            ("ToneFreq = 8000.0 hz", "Level(dB) = 90"),
        ],
    )
    def test_other_spellings_in_text(self, case, imported, tmp_path, frequency, level):
        path = changed(tmp_path, case(4, "b.txt"), ("Freq = 8000 Hz", frequency), ("Level = 90 dB SPL", level))
        row = imported(path)[0][0]
        assert (row["stimulus_type"], row["stimulus_frequency_hz"]) == ("tone_pip", 8000)
        assert row["stimulus_level_db"] == 90

    @pytest.mark.parametrize(
        ("file", "variable", "kind", "unread"),
        [
            ("DX", "Pitch = 8000 Hz", None, "Pitch"),
            ("DX", "Freq = 8000", None, "Freq"),
            ("DX", "ModFreq = 40 Hz", None, "ModFreq"),
            ("Noise", "Polarity = 1", None, "Polarity"),
            ("DX", "Freq = 8000 Hz\n  Freq-B = 4000 Hz", None, "frequency"),
            ("Tone", "Polarity = 1", "tone_pip", "Polarity"),
            ("DX", "Rate = 21 Hz", "click", "Rate"),
            ("Clicks", "Polarity = 1", "click", "Polarity"),
        ],
    )
    def test_a_click_only_without_hints_at_a_frequency(self, case, imported, tmp_path, file, variable, kind, unread):
        pairs = ("Tone_NH", file), ("Freq = 8000 Hz", variable), ("Level = ", "Attenuation = ")
        rows, output = imported(changed(tmp_path, case(4, "b.txt"), *pairs))
        assert column(rows, "stimulus_type") == [kind] * 3
        assert column(rows, "stimulus_frequency_hz") == column(rows, "stimulus_level_db") == [None] * 3
        assert re.search(f"note: .*{unread}", output)
        assert re.search("note: .*Attenuation", output)
        assert "8000" not in output

    def test_other_spellings_in_csv(self, case, imported, tmp_path):
        path = changed(
            tmp_path, case(4, "a.csv"), ("Frequency(Hz)", "Tone Freq(kHz)"), ("Intensity(dB)", "Level(dB peSPL)"),
            (",,8000,", ",,11.3,"),
        )  # fmt: skip
        rows, _ = imported(path)
        assert column(rows, "stimulus_frequency_hz") == [11300] * 3
        assert column(rows, "level_reference") == ["dB peSPL"] * 3

    @pytest.mark.parametrize(("frequency", "kind"), [("0", "click"), ("NaN", None)])
    def test_frequencies_of_nothing_in_csv(self, case, imported, tmp_path, frequency, kind):
        rows, _ = imported(changed(tmp_path, case(4, "a.csv"), (",,8000,", f",,{frequency},")))
        assert column(rows, "stimulus_type") == [kind] * 3

    def test_a_repeated_variable(self, case, refused, tmp_path):
        output = refused(changed(tmp_path, case(4, "a.csv"), ("Intensity(dB),..........()", "Level(dB),Level(dB)")))
        assert "line 1: got the columns Level(dB) more than once" in output


class TestThousands:
    def test_the_case(self, case, refused):
        assert "a.csv: line 2, column 31: got a number with thousands separators" in refused(
            case(7, "a.csv"), "--map", "unit=nV"
        )

    @pytest.mark.parametrize(
        ("delimiter", "number", "decimal"),
        [
            ("\t", "5,178", "."), ("\t", '"5,178"', "."), (";", "1.234,5", ","), (";", "1 234", ","),
            (",", "1'234", "."), (",", "1_234", "."), (",", '"0,5"', "."), (";", "1.5", ","),
        ],
    )  # fmt: skip
    def test_relatives(self, refused, tmp_path, delimiter, number, decimal):
        form = "{:.0f}" if number.strip('"') == "5,178" else "{:.4f}"
        text = waveform_rows(delimiter, ["stimulus_level_db"], ["80"], ["70"], decimal=decimal, form=form)
        first, second, *rest = text.splitlines()
        second = delimiter.join([*second.split(delimiter)[:50], number, *second.split(delimiter)[51:]])
        (tmp_path / "a.csv").write_text("\n".join([first, second, *rest]))
        assert "line 2, column 51: got a number with thousands separators" in refused(tmp_path / "a.csv")

    def test_text_among_numbers_of_excel(self, refused, tmp_path):
        openpyxl = pytest.importorskip("openpyxl")
        book = openpyxl.Workbook()
        book.active.append([f"t_ms={0.05 * k:.2f}" for k in range(200)])
        book.active.append([*range(100, 299), "5,178"])
        book.save(tmp_path / "a.xlsx")
        assert "line 2, column 200: got a number with thousands separators" in refused(tmp_path / "a.xlsx")

    @pytest.mark.parametrize(("delimiter", "form"), [(";", "{:.3f}"), ("\t", "{:.4f}")])
    def test_decimal_commas_with_three_digits_are_not_thousands(self, imported, tmp_path, delimiter, form):
        text = waveform_rows(delimiter, ["stimulus_level_db"], ["80,5"], ["70"], decimal=",", form=form)
        (tmp_path / "a.csv").write_text(text)
        rows, _ = imported(tmp_path / "a.csv")
        np.testing.assert_allclose(signals(rows), SINES, atol=6e-4)
        assert column(rows, "stimulus_level_db") == [80.5, 70]


class TestUnitsOfBioSigCsv:
    @pytest.mark.parametrize("name", ["nv.csv", "mv.csv", "v.csv"])
    def test_the_case(self, case, imported, name):
        rows, _ = imported(case(13, name))
        np.testing.assert_allclose(signals(rows), on_grid(samples_of_biosig_csv(case(4, "a.csv"))), atol=1e-3)
        assert column(rows, "stimulus_level_db") == [90, 80, 70]

    @pytest.mark.parametrize("title", ["Data(µV)...", "Data(uV)...", "DATA (UV)"])
    def test_other_spellings(self, case, imported, tmp_path, title):
        path = changed(tmp_path, case(4, "a.csv"), ("Data(uv)...", title), encoding="latin-1")
        uv = samples_of_biosig_csv(case(4, "a.csv"))
        np.testing.assert_allclose(signals(imported(path)[0]), on_grid(uv), atol=1e-6)

    @pytest.mark.parametrize("unit", ["pV", ""])
    def test_an_unknown_unit(self, case, refused, tmp_path, unit):
        output = refused(changed(tmp_path, case(4, "a.csv"), ("Data(uv)...", f"Data({unit})...")))
        assert f"line 1: got the column 'Data({unit})...'; must be Data(...) with one of V, mV, uV" in output


class TestEncodings:
    @pytest.mark.parametrize("name", ["biosig.csv", "biosig.txt", "ihs.txt", "utf16.csv"])
    def test_the_case(self, case, imported, tmp_path, name):
        path = case(14, name)
        plain = tmp_path / name
        plain.write_text(path.read_text("utf-16" if name == "utf16.csv" else "utf-8-sig"))
        rows, again = imported(path)[0], imported(plain)[0]
        assert len(rows) == (2 if name == "ihs.txt" else 3)
        np.testing.assert_array_equal(signals(rows), signals(again))
        for unlike in ("record_id", "signal"):
            for row in (*rows, *again):
                del row[unlike]
        assert rows == again

    @pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-8-sig"])
    @pytest.mark.parametrize("source", ["table", "sheffield", "epl"])
    def test_other_readers(self, imported, tmp_path, recordings, encoding, source):
        paths = {"sheffield": "raw_more/sheffield_mouse_A1_click.csv", "epl": "raw/epl_cfts_ABR-52-3"}
        text = waveform_rows("\t", ["ear"], ["L"], ["R"]) if source == "table" else ""
        text = text or (recordings / paths[source]).read_text("latin-1")
        content = ("\ufeff" if encoding == "utf-16-be" else "") + text
        (tmp_path / "a.csv").write_bytes(content.encode(encoding))
        (tmp_path / "b.csv").write_text(text)
        rows, again = imported(tmp_path / "a.csv")[0], imported(tmp_path / "b.csv")[0]
        np.testing.assert_array_equal(signals(rows), signals(again))

    def test_utf_16_without_its_mark_is_named(self, refused, tmp_path):
        (tmp_path / "a.csv").write_bytes(waveform_rows(",", ["ear"], ["L"], ["R"]).encode("utf-16-le"))
        assert "must be one of" in refused(tmp_path / "a.csv")
        assert "UTF-16 with its mark" in refused(tmp_path / "a.csv", "--format", "csv")

    def test_lines_that_end_in_cr(self, imported, tmp_path):
        text = waveform_rows(",", ["ear"], ["L"], ["R"])
        (tmp_path / "a.csv").write_bytes(text.replace("\n", "\r").encode())
        np.testing.assert_allclose(signals(imported(tmp_path / "a.csv")[0]), SINES, atol=6e-5)


class TestWordsForNothing:
    def test_the_case(self, case, imported):
        rows, _ = imported(case(16, "a.csv"))
        assert column(rows, "stimulus_frequency_hz") == [None, None, None, 8000]
        assert column(rows, "stimulus_level_db") == [90, 80, 70, 60]
        np.testing.assert_allclose(signals(rows), np.array([row[2:202] for row in cells(case(16, "a.csv"))], float))

    @pytest.mark.parametrize("word", NULL)
    def test_each_word(self, imported, tmp_path, word):
        head = ["stimulus_level_db", "ear", "peak_latency_ms_I"]
        head += [f"peak_latency_ms_{wave}" for wave in ("II", "III", "IV", "V")]
        text = waveform_rows(",", head, [word, word, *[word] * 5], ["70", "L", "1.5", *[word] * 4])
        (tmp_path / "a.csv").write_text(text)
        rows, _ = imported(tmp_path / "a.csv")
        assert column(rows, "stimulus_level_db") == [None, 70]
        assert column(rows, "ear") == [None, "L"]
        assert column(rows, "peak_valid") == [[False] * 5, [True, False, False, False, False]]

    def test_a_text_among_numbers_is_named(self, case, refused, tmp_path):
        output = refused(changed(tmp_path, case(16, "a.csv"), ("\n80,", "\nAnn,")))
        assert "line 3, column 1: got text; must be a number as stimulus_level_db, or nothing" in output
        assert "Ann" not in output

    def test_ihs(self, case, imported, tmp_path):
        rows, _ = imported(changed(tmp_path, case(23, "a.txt"), ("Intensity:,80", "Intensity:,n/a")))
        assert column(rows, "stimulus_level_db") == [None, None, 60, 60]


class TestIhs:
    def expected(self, path, skip):
        """Halves of both acquisitions, from 2.2 ms before the sample 130."""
        table = np.array([row[:13] for row in cells(path, skip)], dtype=float)
        uv = table[129 - 44 :, [4, 6, 10, 12]].T
        return on_grid(uv, 20_000, (100, 1500), -2.2)

    @pytest.mark.parametrize(("name", "skip"), [("a.txt", 22), ("b.txt", 21)])
    def test_the_case(self, case, imported, name, skip):
        rows, _ = imported(case(23, name))
        np.testing.assert_allclose(signals(rows), self.expected(case(23, name), skip), atol=1e-6)
        assert column(rows, "stimulus_level_db") == [80, 80, 60, 60]
        assert column(rows, "half") == [1, 2, 1, 2]

    @pytest.mark.parametrize(
        "pair",
        [
            ("Comment:,\n", "Comment:,left, again\nComment:,once more\n\n"),
            ("Masking:,0,,,,,,0,,,,,,\n", "Masking:,0\nnothing of note\n"),
            ("Data Pnt:", "Data Pnt."),
            ("Identifier:", "\nIdentifier:"),
        ],
    )
    def test_optional_lines(self, case, imported, tmp_path, pair):
        rows, _ = imported(changed(tmp_path, case(23, "a.txt"), pair))
        np.testing.assert_allclose(signals(rows), self.expected(case(23, "a.txt"), 22), atol=1e-6)

    def test_an_unrecognised_ear_is_noted(self, case, imported, tmp_path):
        rows, output = imported(changed(tmp_path, case(23, "a.txt"), ("Ear:,R,,,,,,R", "Ear:,left,,,,,,Both")))
        assert column(rows, "ear") == ["L", "L", None, None]
        assert "note: an ear that is neither R nor L is not read\n" in output

    @pytest.mark.parametrize(
        ("name", "old", "new", "message"),
        [
            ("b.txt", "-6.40,", "-6.30,", "'Data Pnt(ms):': got other times in acquisition 1"),
            ("a.txt", "\n7,-0", "\n8,-0", "line 29: got data point 8"),
            ("a.txt", "Intensity:,80,,,,,,60,,,,,,", "Intensity:,80", "line 6: got no Intensity of acquisition 2"),
            ("a.txt", "Comment:,", "Intensity:,90,,,,,,60,,,,,,", "no single line 'Intensity'"),
        ],
    )
    def test_required_lines(self, case, refused, tmp_path, name, old, new, message):
        assert message in refused(changed(tmp_path, case(23, name), (old, new)))


class TestLocalesOfCsv:
    def waves(self, path, delimiter):
        """[2, 200] of the layout by columns."""
        lines = [line for line in path.read_text().splitlines() if re.match(r"\d", line)]
        return np.array([line.replace(",", ".").split(";") if delimiter == ";" else line.split(",") for line in lines],
                        dtype=float)[:200, 1:].T  # fmt: skip

    def test_headerless(self, case, imported):
        rows, _ = imported(case(24, "headerless.csv"), "--map", "layout=columns")
        np.testing.assert_allclose(signals(rows), self.waves(case(24, "headerless.csv"), ";"))
        assert column(rows, "native_rate_hz") == [20_000] * 2

    def test_a_header_without_a_name_is_noted_and_can_be_mapped(self, case, imported):
        path = case(24, "blank_corner.csv")
        rows, output = imported(path, "--map", "layout=columns")
        np.testing.assert_allclose(signals(rows), self.waves(path, ","))
        assert "note: header line 'line 1' is not read; --map 'stimulus_level_db=line 1'" in output
        rows, output = imported(path, "--map", "layout=columns", "--map", "stimulus_level_db=line 1")
        assert column(rows, "stimulus_level_db") == [90, 70]
        assert "is not read" not in output

    def test_decimal_commas_in_names(self, case, imported):
        rows, _ = imported(case(24, "names.tsv"), "--map", "signal=* ms")
        values = [[cell.replace(",", ".") for cell in row[1:201]] for row in cells(case(24, "names.tsv"), 1, "\t")]
        np.testing.assert_allclose(signals(rows), np.array(values, dtype=float))
        assert column(rows, "stimulus_level_db") == [90, 70]

    def test_a_title_is_skipped_and_noted(self, case, imported):
        rows, output = imported(case(24, "title.csv"))
        np.testing.assert_allclose(signals(rows), np.array([r[1:201] for r in cells(case(24, "title.csv"), 2)], float))
        assert "note: a line above the column names is not read" in output
        assert "exported" not in output

    def test_a_repeated_name(self, case, refused):
        output = refused(case(24, "level_twice.csv"))
        assert "line 1: got 'stimulus_level_db' more than once; must be each name once" in output

    @pytest.mark.parametrize(
        ("header", "expected"),
        [
            ("ms;20 dB SPL;-10 dB SPL", {"stimulus_level_db": [20, -10], "level_reference": ["dB SPL"] * 2}),
            ("time_ms;20 dB;30 dB", {"stimulus_level_db": [20, 30]}),
            (";M1-20dB_a;M1-30dB_b", {"stimulus_level_db": [20, 30]}),
            ("sep=;\n# Ann\nTitle of Ann\n\nTime (ms);Click 5,5 dB;Click 30 dB", {"stimulus_level_db": [5.5, 30]}),
            ("Level;20 dB;30 dB", {"stimulus_level_db": [20, 30]}),
        ],
    )
    def test_levels_above_the_samples(self, imported, tmp_path, header, expected):
        lines = [f"{0.05 * k:.2f};{np.sin(k / 9):.4f};{2 * np.sin(k / 9):.4f}".replace(".", ",") for k in range(200)]
        (tmp_path / "a.csv").write_text("\n".join([header, *lines]))
        given = ["--map", "stimulus_level_db=Level"] if header.startswith("Level") else []
        rows, output = imported(tmp_path / "a.csv", "--map", "layout=columns", *given)
        np.testing.assert_allclose(signals(rows), SINES, atol=6e-5)
        for name, values in expected.items():
            assert column(rows, name) == values
        assert given or "note: " in output
        assert "Ann" not in output

    def test_delimiters_at_the_end_of_lines(self, imported, tmp_path):
        lines = [f"{0.05 * k:.2f},{np.sin(k / 9):.4f},{2 * np.sin(k / 9):.4f},," for k in range(200)]
        (tmp_path / "a.csv").write_text("\n".join(["Title,,,,", "ms,20 dB,30 dB,", *lines]))
        rows, _ = imported(tmp_path / "a.csv", "--map", "layout=columns")
        np.testing.assert_allclose(signals(rows), SINES, atol=6e-5)
        assert column(rows, "stimulus_level_db") == [20, 30]

    def test_levels_above_the_samples_in_excel(self, imported, tmp_path):
        openpyxl = pytest.importorskip("openpyxl")
        book = openpyxl.Workbook()
        for row in (["ms", "20 dB", "30 dB"], *([0.05 * k, *SINES[:, k]] for k in range(200))):
            book.active.append(row)
        book.save(tmp_path / "a.xlsx")
        rows, output = imported(tmp_path / "a.xlsx", "--map", "layout=columns")
        np.testing.assert_allclose(signals(rows), SINES, atol=1e-6)
        assert column(rows, "stimulus_level_db") == [20, 30]
        assert "note: stimulus_level_db taken from the header line 'ms'" in output

    @pytest.mark.parametrize(
        ("header", "message"),
        [
            ("20 dB,30 dB", "line 1: got 2 cells; must be 3"),
            ("Ann,Ann,Ann\nAnn,Ann,Ann", "'Ann' more than once"),
            ("ms,20 dB,30 dB\nend", None),
        ],
    )
    def test_headers_that_do_not_fit(self, refused, imported, tmp_path, header, message):
        lines = [f"{0.05 * k:.2f},{np.sin(k / 9):.4f},{2 * np.sin(k / 9):.4f}" for k in range(200)]
        (tmp_path / "a.csv").write_text("\n".join([header, *lines]))
        if message is None:
            assert "title or comment" in imported(tmp_path / "a.csv", "--map", "layout=columns")[1]
        else:
            assert message in refused(tmp_path / "a.csv", "--map", "layout=columns")

    def test_the_line_of_names_is_counted_from_the_first_of_the_file(self, refused, tmp_path):
        text = waveform_rows(",", ["ear", "ear"], ["L", "L"], ["R", "R"])
        (tmp_path / "a.csv").write_text("Session\n\n" + text)
        assert "line 3: got 'ear' more than once" in refused(tmp_path / "a.csv")
        (tmp_path / "b.csv").write_text("\n".join(text.splitlines()[1:]).replace("L,L", "Ann,L"))
        output = refused(tmp_path / "b.csv")
        assert "got no line of names; must be sample columns" in output
        assert "Ann" not in output

    def test_units_above_the_samples(self, imported, refused, tmp_path):
        lines = [f"{0.05 * k:.2f},{np.sin(k / 9):.7f},{2 * np.sin(k / 9):.7f}" for k in range(200)]
        (tmp_path / "a.csv").write_text("\n".join(["Time (ms),20 dB (mV),30 dB (mV)", *lines]))
        rows, _ = imported(tmp_path / "a.csv", "--map", "layout=columns")
        np.testing.assert_allclose(signals(rows), 1e3 * SINES, atol=1e-3)
        assert column(rows, "stimulus_level_db") == [20, 30]
        (tmp_path / "b.csv").write_text("\n".join(["ms,mV,uV", *lines]))
        assert "got 2 units" in refused(tmp_path / "b.csv", "--map", "layout=columns")

    def test_names_of_rows(self, imported, refused, tmp_path):
        text = waveform_rows(",", ["", "subject_id", "comment", "unit"], ["0", "007", "a", "mV"], ["1", "7", "b", "mV"])
        (tmp_path / "a.csv").write_text(text)
        rows, output = imported(tmp_path / "a.csv")
        np.testing.assert_allclose(signals(rows), 1e3 * SINES, atol=6e-2)
        assert len(set(column(rows, "subject_id"))) == 2
        assert "note: a cell below an empty column name is not read (2 times)" in output
        assert "note: columns that are not read: 'comment'" in output
        (tmp_path / "b.csv").write_text(text.replace("comment", "t_ms=0.05"))
        assert "got 't_ms=0.05' more than once" in refused(tmp_path / "b.csv")


def test_another_file_of_the_epl_gives_the_published_waveforms(imported, recordings):
    rows, _ = imported(recordings / "raw_more" / "epl_cfts_mouse_E3_ABR-12-2")
    published = pq.read_table(recordings / "mouse_tone_abrwaveanalyser.parquet").to_pylist()
    published = [r for r in published if (r["subject_id"], r["stimulus_frequency_hz"]) == ("E3", 5600)]
    np.testing.assert_allclose(signals(rows), signals(published), atol=2e-6)
    for name in ("stimulus_level_db", "stimulus_frequency_hz", "n_averages", "ear", "native_rate_hz", "highpass_hz"):
        assert column(rows, name) == column(published, name)


class TestSheffield:
    @pytest.fixture
    def file(self, recordings):
        return recordings / "raw_more" / "sheffield_mouse_A1_click.csv"

    def test_the_file(self, file, imported):
        rows, output = imported(file)
        traces = file.read_text().split("[Trace_")[2:]
        uv = [np.array(", ".join(re.findall(r"TraceData_\d+ = (.*)", t)).split(", "), dtype=float) for t in traces]
        np.testing.assert_allclose(signals(rows), on_grid(np.array(uv), 1e3 / 0.01024003), atol=1e-6)
        assert column(rows, "stimulus_level_db") == [20, 40, 60, 80]
        assert column(rows, "stimulus_type") == ["click"] * 4
        assert column(rows, "stimulus_frequency_hz") == [None] * 4
        assert column(rows, "n_averages") == [256] * 4
        assert column(rows, "recording_index") == [8, 12, 16, 20]
        assert "note: a calibration (not over time) is left out" in output
        assert 1.5 < 0.05 * np.argmax(signals(rows)[3][:46]) < 2.0  # wave I of a mouse, and 0.5 ms of sound on its way

    def test_steps_of_tones(self, file, imported, tmp_path):
        """The name of a trace gives the values that StimInfo has only for the first step."""
        pairs = (
            ("A1 ABR, 100, 80", "A1, ABR, 36000, 75"), ("0, 0, 0, 80, 100, 90", "0, 5, 1, 80, 42000, 90"),
            ("A1 ABR, 100, 60", "A1 ABR, 42001, 0"), ("0, 0, 0, 40, 100, 90", "0, 5, 1, 40, 100, 90"),
        )  # fmt: skip
        rows, output = imported(changed(tmp_path, file, *pairs))
        assert column(rows, "stimulus_type") == ["click", None, "tone_pip"]
        assert column(rows, "stimulus_frequency_hz") == [None, None, 36000]
        assert column(rows, "stimulus_level_db") == [20, 40, 75]
        assert "note: a trace of 42001 Hz" in output
        assert "note: neither click nor tone is certain" in output

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("TraceData_2", "TraceData_3", "line 40: got another line of samples; must be TraceData_2"),
            ("T, uV / sweep", "T, Pa", "line 29: got 1953 samples every 0.01024 ms, not in V, mV, uV or nV"),
            (", 1953,", ", 1952,", "must be 1952 samples"),
            ("0.1427194", "Ann", "line 40: got no number as a sample"),
        ],
    )
    def test_damage(self, file, refused, tmp_path, old, new, message):
        text = refused(changed(tmp_path, file, (old, new)))
        assert message in text
        assert "Ann" not in text.rpartition(".csv:")[2]
