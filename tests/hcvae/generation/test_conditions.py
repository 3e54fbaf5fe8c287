import numpy as np
import pyarrow as pa
import pytest

from hcvae.config import Config
from hcvae.data.dataset import prepare
from hcvae.data.simulator import simulate
from hcvae.data.table import write_table
from hcvae.errors import UserError
from hcvae.generation import complete_condition, generate, parse_conditions


def test_columns_left_out_take_the_median_or_most_frequent_training_value_of_their_group(bundle, grouped):
    _, data = grouped
    table = simulate(1000, 0).take(data.split.train)
    rows = table["sex"].to_numpy(zero_copy_only=False) == "M"
    condition = complete_condition(bundle, {"sex": "M"})
    rates = np.sort(table["stimulus_rate_hz"].to_numpy()[rows])
    assert condition["stimulus_rate_hz"] == rates[(len(rates) - 1) // 2]
    assert complete_condition(bundle, {"sex": "M", "age_years": 30.0})["age_years"] == 30.0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sex": "F", "stimulus_level": 60.0}, "no such column; did you mean 'stimulus_level_db'?"),
        ({}, r"condition sex: must be given, one of \['F', 'M'\]"),
        ({"sex": "X"}, r"condition sex: must be one of \['F', 'M'\], but got 'X'"),
        ({"sex": "F", "age_years": None}, "'age_years': must not be null"),
    ],
)
def test_conditions_that_the_model_does_not_know_are_refused(bundle, given, message):
    with pytest.raises(UserError, match=message.replace("?", r"\?")):
        generate(bundle, [given], 1)


def test_the_training_range_is_named_where_a_condition_lies_outside(bundle, grouped):
    _, data = grouped
    table = simulate(1000, 0).take(data.split.train)
    women = table["sex"].to_numpy(zero_copy_only=False) == "F"
    levels = table["stimulus_level_db"].to_numpy()[women]
    words = rf"trained on {levels.min():g} to {levels.max():g} for sex=F, but got 120; .*--extrapolate"
    for value in (120, 120.0):
        given = {"sex": "F", "stimulus_level_db": value}
        with pytest.raises(UserError, match=rf"condition stimulus_level_db: the model was {words}"):
            complete_condition(bundle, given)
        assert complete_condition(bundle, given, extrapolate=True)["stimulus_level_db"] == 120
        assert generate(bundle, [given], 2, extrapolate=True)["stimulus_level_db"].to_pylist() == [120.0] * 2
    for end in (levels.min(), levels.max()):
        complete_condition(bundle, {"sex": "F", "stimulus_level_db": float(end)})


@pytest.fixture
def loud_women(make_table, tmp_path):
    """Configuration and data: women at 0 to 30 dB, men at 0 to 20 dB and of no known age."""
    table = make_table(12)
    table = table.append_column("age_years", pa.array([20.0 + n % 40 if n // 8 % 2 == 0 else None for n in range(96)]))
    women = table["sex"].to_numpy(zero_copy_only=False) == "F"
    table = table.filter(pa.array(women | (table["stimulus_level_db"].to_numpy() < 30)))
    write_table(table, tmp_path / "table.parquet")
    config = Config.model_validate(
        {
            "model": {"width": 0.05, "signal_length": 64, "global_latent_dim": 3, "local_latent_dim": 4},
            "data": {
                "tables": [str(tmp_path / "table.parquet")],
                "static": ["stimulus_level_db", "age_years", "sex"],
                "split": {"unit": "recording"},
            },
            "normalization": {"group_by": "sex"},
        }
    )
    return config, prepare(config)


def test_ranges_are_those_of_the_normalisation_group(loud_women, untrained_bundle):
    bundle = untrained_bundle(*loud_women)
    assert complete_condition(bundle, {"sex": "F", "stimulus_level_db": 30})["age_years"] >= 20
    with pytest.raises(UserError, match="trained on 0 to 20 for sex=M, but got 30"):
        complete_condition(bundle, {"sex": "M", "stimulus_level_db": 30})
    with pytest.raises(UserError, match="age_years: the model was trained on null for sex=M, but got 40"):
        complete_condition(bundle, {"sex": "M", "age_years": 40})
    with pytest.raises(UserError, match=r"age_years: the model was trained on 20 to \d+ for sex=F, but got null"):
        complete_condition(bundle, {"sex": "F", "age_years": None})


def test_a_bundle_that_knows_no_ranges_by_group_goes_by_those_of_all(loud_women, untrained_bundle):
    config, data = loud_women
    content = data.preprocessing.model_dump(exclude={"seen"})
    older = type(data.preprocessing).model_validate(content)
    bundle = untrained_bundle(config, type(data)(**vars(data) | {"preprocessing": older}))
    assert complete_condition(bundle, {"sex": "M", "stimulus_level_db": 30})["age_years"] is None
    with pytest.raises(UserError, match="trained on 0 to 30, but got 31"):
        complete_condition(bundle, {"sex": "M", "stimulus_level_db": 31})


def test_text_of_the_command_line_becomes_the_column_s_type_in_all_combinations(bundle):
    texts = ["sex=F", "M", "age_years=30", "stimulus_rate_hz=null"]
    expected = [{"sex": sex, "age_years": 30.0, "stimulus_rate_hz": None} for sex in ("F", "M")]
    assert parse_conditions(bundle, texts) == expected
    assert parse_conditions(bundle, []) == [{}]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("20:80:10", [20, 30, 40, 50, 60, 70, 80]),
        ("80:20:-30", [80, 50, 20]),
        ("0:0.3:0.1", [0.0, 0.1, 0.2, 0.3]),
        ("60:60:5", [60]),
        ("-10:10:10", [-10, 0, 10]),
    ],
)
def test_a_range_holds_both_ends(bundle, text, values):
    assert parse_conditions(bundle, [f"age_years={text}"]) == [{"age_years": value} for value in values]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["age_years=old"], "condition age_years: must be a number, a range FIRST:LAST:STEP or null, but got 'old'"),
        (["age_years=nan"], "must be a number"),
        (["age_years=20:80"], "a range must be FIRST:LAST:STEP"),
        (["age_years=20:80:0"], "a range must be FIRST:LAST:STEP"),
        (["age_years=20:80:-10"], "with a step from the first to the last"),
        (["age_years=20:85:10"], "but got '20:85:10'; 20:80:10 would be right"),
        (["age_years=0:1:1e-40"], "a range may have at most 10,000 values"),
        (["age_years"], "must be COLUMN=VALUE"),
        (["30"], "must be COLUMN=VALUE"),
        (["=30"], "must be COLUMN=VALUE"),
    ],
)
def test_what_is_no_condition_is_refused(bundle, texts, message):
    with pytest.raises(UserError, match=message):
        parse_conditions(bundle, texts)
