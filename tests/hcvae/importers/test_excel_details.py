"""Merged cells, formulas without a saved value, errors and logical values in workbooks."""

import zipfile

import numpy as np
import openpyxl
import pytest

from hcvae.importers.file_result import ImportOptions
from hcvae.importers.importing import read_file

TIMES_MS = np.arange(241) * 0.05
TITLES = ["subject_id", "stimulus_level_db", *(f"t_ms={time:.2f}" for time in TIMES_MS)]
ROWS = [["A", 80], ["A", 70], ["B", 80], ["B", 70]]


def sample(row, at):
    return float(np.round(np.sin(TIMES_MS[at]) / (row + 1), 6))


def write(path, cells=(), merged=(), title=None):
    """Write four waveforms, with other contents of some cells by their reference, and merged ranges."""
    book = openpyxl.Workbook()
    sheet = book.active
    if title:
        sheet.title = title
    sheet.append(TITLES)
    for number, row in enumerate(ROWS):
        sheet.append([*row, *(sample(number, at) for at in range(len(TIMES_MS)))])
    for reference, content in dict(cells).items():
        sheet[reference] = content
    for reference in merged:
        sheet.merge_cells(reference)
    book.save(path)
    return path


def write_columns(path, header, merged=(), first_time=0.0):
    """Write three waveforms in columns below lines of a header."""
    book = openpyxl.Workbook()
    for line in header:
        book.active.append(line)
    for at, time in enumerate(TIMES_MS):
        book.active.append([first_time if at == 0 else time, *(sample(row, at) for row in range(3))])
    for reference in merged:
        book.active.merge_cells(reference)
    book.save(path)
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "t.xlsx"


def of(result, name):
    return [row.values[name] for row in result.rows]


@pytest.mark.parametrize(
    ("reference", "place"),
    [
        ("B3", "line 3, column 2"),
        ("A3", "line 3, column 1"),
        ("F3", "line 3, column 6"),
        ("C1", "line 1, column 3"),
        ("IG1", "line 1, column 241"),
        ("IG4", "line 4, column 241"),
    ],
)
@pytest.mark.parametrize(
    ("content", "found"), [("=B2-10", "a formula without a saved value"), ("#REF!", "an error such as #REF!")]
)
def test_a_cell_without_a_value_is_refused(path, reference, place, content, found):
    error = read_file(write(path, {reference: content}), ImportOptions()).error
    assert f"{place}: got {found}" in error


def saved(path, reference, value, kind=""):
    """Add the saved value to the only formula of the sheet, as Excel does."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    name = "xl/worksheets/sheet1.xml"
    before = parts[name].decode()
    after = before.replace(f'<c r="{reference}">', f'<c r="{reference}"{kind}>').replace("<v />", f"<v>{value}</v>", 1)
    assert after != before
    parts[name] = after.encode()
    with zipfile.ZipFile(path, "w") as archive:
        for part, content in parts.items():
            archive.writestr(part, content)
    return path


def test_the_saved_value_of_a_formula_is_read(path):
    result = read_file(saved(write(path, {"B3": "=B2-10"}), "B3", 65), ImportOptions())
    assert (result.error, of(result, "stimulus_level_db")) == (None, [80, 65, 80, 70])


def test_a_saved_empty_text_is_an_empty_cell(path):
    result = read_file(saved(write(path, {"B3": '=IF(1,"",0)'}), "B3", "", ' t="str"'), ImportOptions())
    assert (result.error, of(result, "stimulus_level_db")) == (None, [80, None, 80, 70])


def test_a_formula_in_a_column_that_is_not_read_does_no_harm(path):
    result = read_file(write(path, {"II1": "remark", "II2": "=1+1"}), ImportOptions())
    assert result.error is None
    assert len(result.rows) == 4


def test_the_error_for_not_available_is_an_unknown_value_with_a_note(path):
    result = read_file(write(path, {"B3": "#N/A"}), ImportOptions())
    assert of(result, "stimulus_level_db") == [80, None, 80, 70]
    assert result.notes["an error #N/A as stimulus_level_db is read as an unknown value"] == 1


@pytest.mark.parametrize("title", [None, "Sheet & <two>"])
def test_merged_cells_have_the_value_of_their_range(path, title):
    result = read_file(write(path, {"B3": 80}, ["A2:A3", "A4:A5", "B2:B3"], title), ImportOptions())
    assert [row.subject for row in result.rows] == ["A", "A", "B", "B"]
    assert of(result, "stimulus_level_db") == [80, 80, 80, 70]
    assert result.notes["merged cells as subject_id: each has the value of its range"] == 2
    for number, row in enumerate(result.rows):
        np.testing.assert_allclose(row.signal_uv, [sample(number, at) for at in range(200)], atol=1e-6)


@pytest.mark.parametrize(
    ("merged", "place"), [("A2:B2", "line 2, column 2"), ("D2:E2", "line 2, column 5"), ("D2:D3", "line 3, column 4")]
)
def test_cells_that_cannot_have_the_value_of_their_range_are_refused(path, merged, place):
    error = read_file(write(path, merged=[merged]), ImportOptions()).error
    assert place in error
    assert "merged cell" in error or "as stimulus_level_db" in error


def test_merged_cells_in_the_layout_by_columns(path):
    header = [["Session of May 20 dB", None, None, None], ["Level", 80, None, 70], ["Ear", "L", None, None]]
    write_columns(path, header, ["A1:D1", "B2:C2", "B3:D3"])
    mapping = {"layout": "columns", "stimulus_level_db": "Level", "ear": "Ear"}
    result = read_file(path, ImportOptions(mapping=mapping))
    assert (of(result, "stimulus_level_db"), of(result, "ear")) == ([80, 80, 70], ["L", "L", "L"])
    assert result.notes["a title or comment above the samples is not read"] == 1


@pytest.mark.parametrize("time", ["=0", "#REF!"])
def test_a_time_without_a_value_is_no_header_line(path, time):
    write_columns(path, [["Level", 80, 75, 70]], first_time=time)
    assert "line 2, column 1" in read_file(path, ImportOptions(mapping={"layout": "columns"})).error


@pytest.mark.parametrize(("reference", "place"), [("B3", "line 3, column 2"), ("F3", "line 3, column 6")])
def test_a_logical_value_is_no_number(path, reference, place):
    """TRUE once was 1 dB, and 1 uV."""
    error = read_file(write(path, {reference: True}), ImportOptions()).error
    assert f"{place}: got a logical value (TRUE, FALSE)" in error


def proposal(path, name, values):
    write_columns(path, [[name, *values]])
    [note] = [note for note in read_file(path, ImportOptions(mapping={"layout": "columns"})).notes if "header" in note]
    return note


@pytest.mark.parametrize(
    ("name", "values", "possible", "impossible"),
    [
        ("Level", [80, 70, 60], ["stimulus_level_db=Level reads it as levels"], []),
        ("f", [8000, 16000, 32000], ["COLUMN=f", "stimulus_frequency_hz"], ["stimulus_level_db", "ear"]),
        ("Level", [8000, 16000, 32000], ["COLUMN=Level"], ["stimulus_level_db"]),
        ("who", ["Ann", "Bob", "Cy"], ["COLUMN=who", "subject_id"], ["stimulus_level_db", "ear", "n_averages"]),
        ("side", ["left", "R", "l"], ["ear"], ["stimulus_level_db"]),
        ("Threshold dB", ["20 dB", "30 dB", "40 dB"], ["is not read", "threshold_db"], ["as levels"]),
        ("id", [1, 2, 3], ["COLUMN=id", "subject_id"], ["as levels"]),
    ],
)
def test_a_header_line_is_proposed_only_as_what_it_can_be(path, name, values, possible, impossible):
    note = proposal(path, name, values)
    assert all(text in note for text in possible), note
    assert not any(text in note for text in impossible), note
    assert not any(value in note for value in values if value in ("Ann", "Bob", "left"))


def test_hidden_rows_are_noted(path):
    book = openpyxl.load_workbook(write(path))
    for row in (3, 4):
        book.active.row_dimensions[row].hidden = True
    book.save(path)
    result = read_file(path, ImportOptions())
    assert of(result, "stimulus_level_db") == [80, 70, 80, 70]
    assert result.notes["2 hidden rows (of a filter?) are read like the others"] == 1
