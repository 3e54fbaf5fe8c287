import pytest

from hcvae.errors import UserError
from hcvae.explore.form import Form, InvalidForm, conditions, latents, null_field, read_page, read_row

LEVEL = "condition-0-0"
RANGE = r"stimulus level \(dB\): must be a number from 10 to 90, but got "


@pytest.fixture
def fields(explorer) -> dict[str, str]:
    """The texts of the page's controls at the start."""
    numbers = [*conditions(explorer, "").values(), *(named for found in latents(explorer).values() for named in found)]
    texts = {
        field: str(control.choices.index(control.value)) if control.choices else f"{control.slider[2]:g}"
        for field, control in numbers
    }
    return texts | {"a": "", "b": ""}


def test_the_page_is_read_from_its_fields(explorer, page, fields):
    read = read_page(explorer, Form(fields=fields))
    assert read.setting.shifts == page.setting.shifts
    for column, (_, control) in conditions(explorer, "").items():
        value = page.setting.condition[column]
        near = value if isinstance(value, str) else pytest.approx(value, abs=control.step / 10)
        assert read.setting.condition[column] == near
    read = read_page(explorer, Form(fields=fields | {LEVEL: " 77 ", "global-2": "-1.5"}))
    assert read.setting.condition["stimulus_level_db"] == 77.0
    assert read.setting.shifts["global"][1] == -1.5


def test_references_survive_the_browser(explorer, page, fields):
    references = (explorer.freeze(page, "frozen 1"), explorer.recording(5))
    sent = Form(fields=fields | {"b": "frozen 1"}, references=references, shown=("row 5",)).model_dump_json()
    read = read_page(explorer, Form.model_validate_json(sent))
    assert read.references == references
    assert (read.shown, read.setting.b) == (("row 5",), "frozen 1")


@pytest.mark.parametrize(
    ("text", "got"),
    [
        ("", "an empty field"),
        ("  ", "an empty field"),
        ("200", "'200'"),
        ("9.99", "'9.99'"),
        ("1e400", "'1e400'"),
        ("-1e-400", "'-1e-400'"),
        ("nan", "'nan'"),
        ("inf", "'inf'"),
        ("0x20", "'0x20'"),
        ("7_0", "'7_0'"),
        ("\u0667\u0660", "'\u0667\u0660'"),
        ("70 dB", "'70 dB'"),
        ("70\n80", r"'70\\+n80'"),
        ("<b>70", "'<b>70'"),
        ("9" * 5000, r"'9{200}\.\.\.'"),
        ("70,5", "'70,5'; write a decimal point, and no thousands separators"),
    ],
)
def test_what_is_no_number_in_the_range_is_refused_with_the_range(explorer, fields, text, got):
    with pytest.raises(InvalidForm, match=f"^{RANGE}{got}$"):
        read_page(explorer, Form(fields=fields | {LEVEL: text}))


@pytest.mark.parametrize(("text", "value"), [("7e1", 70), ("+70.", 70), ("070", 70), ("10", 10), ("90.000", 90)])
def test_numbers_may_be_written_as_people_do(explorer, fields, text, value):
    page = read_page(explorer, Form(fields=fields | {LEVEL: text}))
    assert page.setting.condition["stimulus_level_db"] == value


def test_every_field_without_a_permitted_value_is_named(explorer, fields):
    with pytest.raises(InvalidForm) as caught:
        read_page(explorer, Form(fields=fields | {LEVEL: "", "local-1": "3.01"}))
    assert caught.value.problems.keys() == {LEVEL, "local-1"}
    assert caught.value.problems["local-1"] == "local 1: must be a number from -3 to 3, but got '3.01'"


def test_null_takes_the_place_of_a_number_whatever_its_field_holds(explorer, fields):
    page = read_page(explorer, Form(fields=fields | {LEVEL: "200", null_field(LEVEL): "on"}))
    assert page.setting.condition["stimulus_level_db"] is None


def test_rows_are_whole_numbers_in_the_table(explorer):
    assert [read_row(explorer, text) for text in ("0", " 7 ", "059")] == [0, 7, 59]
    for text in ("", "60", "-1", "7.0", "1e1", "\u0667", "9" * 5000):
        with pytest.raises(UserError, match=r"row of the table: must be a whole number from 0 to 59, but got"):
            read_row(explorer, text)
