import pytest

from hcvae.data.preprocessing import Preprocessing
from hcvae.errors import UserError
from hcvae.explore.controls import Control, controls_of


@pytest.fixture
def preprocessing(trained_bundle) -> Preprocessing:
    return trained_bundle.preprocessing


def test_sliders_span_the_training_range(preprocessing):
    controls = {control.name: control for control in controls_of(preprocessing, "")}
    assert list(controls) == [column.name for column in preprocessing.static.columns]
    for column in preprocessing.static.columns:
        control = controls[column.name]
        assert control.value == preprocessing.typical[""][column.name]
        if column.kind == "category":
            assert control.choices == column.categories
        else:
            assert (control.minimum, control.maximum) == (column.minimum, column.maximum)


@pytest.mark.parametrize(("span", "step"), [(80, 1), (60, 1), (3500, 50), (1, 0.01), (0.3, 0.005), (120, 2), (100, 1)])
def test_a_step_is_round_and_a_hundredth_of_the_range_or_a_little_more(span, step):
    assert Control("x", 10.0, (), 10.0, 10.0 + span).step == step


@pytest.mark.parametrize(
    ("column", "label"),
    [
        ("stimulus_level_db", "stimulus level (dB)"),
        ("age_years", "age (years)"),
        ("stimulus_rate_hz", "stimulus rate (Hz)"),
        ("n_averages", "n averages"),
        ("years", "years"),
    ],
)
def test_labels_name_units(column, label):
    assert Control(column, None).label == label


@pytest.mark.parametrize(
    ("control", "slider"),
    [
        (Control("x", 70.0, (), 10.0, 90.0), (10.0, 90.0, 70.0)),
        (Control("x", 53.43481, (), 18.2, 84.9), (18.2, 84.9, 53.4)),
        (Control("x", 11.1, (), 11.1, 71.1), (11.1, 71.1, 11.1)),
        (Control("x", 0.3, (), 0.1, 0.7), (0.1, 0.7, 0.3)),
        (Control("x", 0.3, (), 0.12341, 0.71239), (0.124, 0.712, 0.3)),
        (Control("x", 11.1, (), 11.100000381, 71.0999985), (11.1, 71.1, 11.1)),
        (Control("x", None, (), -3.0, 85.0, True), (-3.0, 85.0, -3.0)),
    ],
)
def test_bounds_are_rounded_inwards_and_the_start_to_a_tenth_of_a_step(control, slider):
    assert control.slider == slider


def test_values_are_read_back():
    assert Control("x", 3.0, (), 0.0, 10.0).read("4") == 4.0
    choice = Control("sex", "F", ("F", 5.0, None))
    assert choice.options == ["F", "5", "unknown"]
    assert [choice.read(position) for position in "012"] == ["F", 5.0, None]
    for position in ("3", "-1", "", "F"):
        with pytest.raises(UserError, match=r"sex: must be one of 3 choices, but got"):
            choice.read(position)


def test_conditions_of_a_group_are_those_of_its_rows(preprocessing):
    level, group = {"stimulus_level_db": {"minimum": 20.0, "maximum": 70.0}}, {"sex": "F"}
    ranges = {name: seen.model_dump() for name, seen in preprocessing.ranges("").items()}
    ranges["stimulus_level_db"] |= level["stimulus_level_db"]
    ranges["hearing_loss_db"] |= {"minimum": 0.0, "maximum": 0.0, "has_nulls": True}
    ranges["age_years"] |= {"minimum": None, "maximum": None, "has_nulls": True}
    typical = preprocessing.typical[""] | group | {"hearing_loss_db": 0.0, "age_years": None}
    content = preprocessing.model_dump() | {"seen": {"F": ranges}, "typical": {"F": typical}, "combinations": {}}
    scale = preprocessing.signal.groups[""].model_dump()
    for column in content["static"]["columns"]:
        column["has_nulls"] = column["name"] in ("hearing_loss_db", "age_years")
    content["signal"] = {"group_by": "sex", "groups": {"F": scale}}
    controls = {control.name: control for control in controls_of(Preprocessing.model_validate(content), "F")}
    assert (controls["stimulus_level_db"].minimum, controls["stimulus_level_db"].maximum) == (20.0, 70.0)
    assert controls["hearing_loss_db"].choices == (0.0, None)
    assert controls["age_years"].choices == (None,)
    assert "sex" not in controls  # chosen above them
