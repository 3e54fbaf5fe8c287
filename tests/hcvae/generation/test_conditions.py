from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from hcvae.config import Config
from hcvae.data.dataset import prepare
from hcvae.data.preprocessing import Preprocessing, frequent_combinations
from hcvae.data.simulator import simulate
from hcvae.data.static import StaticEncoder
from hcvae.data.table import write_table
from hcvae.errors import UserError
from hcvae.generation import complete_condition, generate, parse_conditions


def test_columns_left_out_take_values_that_occurred_together_in_their_group(bundle, grouped):
    _, data = grouped
    table = simulate(1000, 0).take(data.split.train)
    condition = complete_condition(bundle, {"sex": "M"})
    names = [column.name for column in bundle.preprocessing.static.columns]
    assert condition in table.select(names).to_pylist()
    assert complete_condition(bundle, {"sex": "M", "age_years": 30.0})["age_years"] == 30.0


def config_of(table: Path, static: list[str], group_by: str | None = None) -> Config:
    """A small model of a table with 64 samples."""
    return Config.model_validate(
        {
            "model": {"width": 0.05, "signal_length": 64, "global_latent_dim": 3, "local_latent_dim": 4},
            "data": {"tables": [str(table)], "static": static, "split": {"unit": "recording"}},
            "normalization": {"group_by": group_by},
        }
    )


@pytest.fixture
def stimuli(make_table, tmp_path, untrained_bundle):
    """A model of clicks, which have no frequency, at 0 to 30 dB, and tone pips of 8 kHz at 20 dB and 16 kHz at 40 dB.

    Of each column by itself the most frequent value is a null frequency, tone pips and 20 dB.
    """
    conditions = [("click", None, 10.0 * (row % 4)) for row in range(80)]
    conditions += [("tone_pip", 8000.0, 20.0)] * 60 + [("tone_pip", 16000.0, 40.0)] * 40
    kinds, frequencies, levels = zip(*conditions, strict=True)
    table = make_table(
        15,
        6,
        stimulus_type=list(kinds),
        stimulus_frequency_hz=list(frequencies),
        stimulus_level_db=list(levels),
        recording_index=list(range(180)),
    )
    write_table(table, tmp_path / "table.parquet")
    config = config_of(tmp_path / "table.parquet", ["stimulus_type", "stimulus_frequency_hz", "stimulus_level_db"])
    return untrained_bundle(config, prepare(config))


@pytest.mark.parametrize(
    ("given", "filled_in"),
    [
        ({}, {"stimulus_type": "tone_pip", "stimulus_frequency_hz": 8000.0, "stimulus_level_db": 20.0}),
        ({"stimulus_type": "tone_pip"}, {"stimulus_frequency_hz": 8000.0, "stimulus_level_db": 20.0}),
        ({"stimulus_level_db": 40.0}, {"stimulus_type": "tone_pip", "stimulus_frequency_hz": 16000.0}),
        ({"stimulus_level_db": 38.0}, {"stimulus_type": "tone_pip", "stimulus_frequency_hz": 16000.0}),
        ({"stimulus_level_db": 40}, {"stimulus_type": "tone_pip", "stimulus_frequency_hz": 16000.0}),
        ({"stimulus_level_db": 0.0}, {"stimulus_type": "click", "stimulus_frequency_hz": None}),
        ({"stimulus_frequency_hz": None, "stimulus_level_db": 20.0}, {"stimulus_type": "click"}),
        ({"stimulus_frequency_hz": 16000.0}, {"stimulus_type": "tone_pip", "stimulus_level_db": 40.0}),
    ],
)
def test_the_most_frequent_combination_that_agrees_is_filled_in(stimuli, given, filled_in):
    assert complete_condition(stimuli, given) == given | filled_in


def test_values_that_never_occurred_together_are_not_completed(stimuli):
    given = {"stimulus_type": "tone_pip", "stimulus_frequency_hz": None}
    message = (
        "stimulus_type=tone_pip, stimulus_frequency_hz=null: .* never occurred together .* no value of stimulus_level"
    )
    with pytest.raises(UserError, match=message):
        complete_condition(stimuli, given)
    assert complete_condition(stimuli, given, extrapolate=True).items() >= given.items()
    complete = given | {"stimulus_level_db": 20.0}
    assert complete_condition(stimuli, complete) == complete


def test_a_bundle_of_an_earlier_hcvae_fills_in_its_typical_values(stimuli):
    content = stimuli.preprocessing.model_dump() | {"combinations": {}, "uncounted": ()}
    earlier = replace(stimuli, preprocessing=Preprocessing.model_validate(content))
    typical = earlier.preprocessing.typical[""]
    assert complete_condition(earlier, {"stimulus_level_db": 40.0}) == typical | {"stimulus_level_db": 40.0}


def test_combinations_of_continuous_numbers_are_stored_within_the_limit():
    """A thousand ages and rates: the sexes are counted, and each has the row nearest to the medians."""
    random = np.random.default_rng(0)
    ages = random.uniform(20, 60, 4000)
    rates = random.uniform(10, 40, 4000)
    sexes = np.where(random.uniform(size=4000) < 0.7, "F", "M")
    table = pa.table({"age_years": ages, "stimulus_rate_hz": rates, "sex": sexes.tolist()})
    static = StaticEncoder.fit(table, ["age_years", "stimulus_rate_hz", "sex"])
    found, uncounted = frequent_combinations(static, table, np.zeros(4000, np.int64), [""])
    assert set(uncounted) == {"age_years", "stimulus_rate_hz"}
    first, second = found[""]
    assert (first.values["sex"], second.values["sex"]) == ("F", "M")
    assert (first.count, second.count) == (np.sum(sexes == "F"), np.sum(sexes == "M"))
    distance = np.abs(ages - np.median(ages)) / ages.std() + np.abs(rates - np.median(rates)) / rates.std()
    nearest = np.argmin(np.where(sexes == "F", distance, np.inf))
    assert (first.values["age_years"], first.values["stimulus_rate_hz"]) == (ages[nearest], rates[nearest])


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
    config = config_of(tmp_path / "table.parquet", ["stimulus_level_db", "age_years", "sex"], group_by="sex")
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
