import numpy as np
import pyarrow as pa
import pytest
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from hcvae.data.static import StaticEncoder, ValueRange
from hcvae.errors import UserError

TABLE = pa.table(
    {
        "level_db": [0, 20, 40, 80],
        "age_years": [30.0, None, 50.0, None],
        "frequency_hz": [16000.0, None, 16000.0, None],
        "sex": ["M", "F", "M", "F"],
        "ear": ["L", None, "R", "L"],
    }
)


def test_numbers_are_standardised_and_texts_one_hot_as_scikit_learn_does():
    encoder = StaticEncoder.fit(TABLE, ["level_db", "sex"])
    level = StandardScaler().fit_transform(TABLE["level_db"].to_numpy()[:, None])
    sex = OneHotEncoder(sparse_output=False).fit_transform(np.array(TABLE["sex"].to_pylist())[:, None])
    encoded = encoder.encode(TABLE)
    assert encoded.dtype == np.float32
    assert encoder.names == ("level_db", "sex=F", "sex=M")
    np.testing.assert_allclose(encoded, np.hstack([level, sex]), rtol=1e-6)


def test_nulls_are_zero_with_a_mask_and_do_not_enter_the_statistics():
    encoder = StaticEncoder.fit(TABLE, ["age_years", "ear"])
    assert encoder.names == ("age_years", "age_years is null", "ear=L", "ear=R", "ear is null")
    expected = [[-1, 0, 1, 0, 0], [0, 1, 0, 0, 1], [1, 0, 0, 1, 0], [0, 1, 1, 0, 0]]  # mean 40, standard deviation 10
    assert encoder.encode(TABLE).tolist() == expected


def test_a_constant_number_with_nulls_is_encoded_by_its_mask_and_refuses_other_numbers():
    encoder = StaticEncoder.fit(TABLE, ["frequency_hz"])
    assert encoder.encode(TABLE).tolist() == [[0], [1], [0], [1]]
    assert encoder.dim == 1
    with pytest.raises(UserError, match=r"'frequency_hz': must be one of \[16000\.0\].*but got 8000\.0"):
        encoder.encode(pa.table({"frequency_hz": [16000, 8000]}))


@pytest.mark.parametrize("values", [[3.0] * 4, ["F"] * 4, [None] * 4, pa.nulls(4, pa.float32()), [np.nan] * 4])
def test_a_column_with_constant_value_and_mask_is_refused(values):
    with pytest.raises(UserError, match=r"column 'same' must vary among the training rows, but got .* in all of them"):
        StaticEncoder.fit(pa.table({"same": values}), ["same"])


def test_values_that_no_training_row_had_are_refused_with_the_known_ones():
    encoder = StaticEncoder.fit(TABLE, ["level_db", "sex"])
    with pytest.raises(UserError, match=r"'sex': must be one of \['F', 'M'\].*but got 'f'"):
        encoder.encode(pa.table({"level_db": [1, 2], "sex": ["F", "f"]}))
    with pytest.raises(UserError, match="'level_db': must not be null"):
        encoder.encode(pa.table({"level_db": [1, None], "sex": ["F", "F"]}))
    with pytest.raises(UserError, match="'level_db': must be a number, but got 'loud'"):
        encoder.encode(pa.table({"level_db": ["loud"], "sex": ["F"]}))
    with pytest.raises(UserError, match="'sex': must be a category, but got 1"):
        encoder.encode(pa.table({"level_db": [1], "sex": [1]}))
    with pytest.raises(UserError, match="'sex': must be given"):
        encoder.encode(pa.table({"level_db": [1]}))


def test_other_rows_are_encoded_with_the_training_statistics():
    encoder = StaticEncoder.fit(TABLE, ["level_db", "ear"])
    std = np.std([0, 20, 40, 80])
    encoded = encoder.encode(pa.table({"level_db": pa.array([35 + 2 * std]), "ear": pa.nulls(1)}))
    np.testing.assert_allclose(encoded, [[2, 0, 0, 1]], rtol=1e-6)


def test_the_encoder_survives_json():
    encoder = StaticEncoder.fit(TABLE, TABLE.column_names)
    again = StaticEncoder.model_validate_json(encoder.model_dump_json())
    assert again == encoder
    assert np.array_equal(again.encode(TABLE), encoder.encode(TABLE))


@pytest.mark.parametrize(
    ("name", "words", "held", "outside"),
    [
        ("level_db", "0 to 80", [0, 80.0, 33.3, 80.00001], [-1, 81, None, "20"]),
        ("age_years", "30 to 50, or null", [30, 50, None], [29.9]),
        ("frequency_hz", "16000 to 16000, or null", [16000, np.float32(16000), None], [8000]),
        ("ear", "L, R, or null", ["L", "R", None], ["both", 1.0]),
        ("sex", "F, M", ["F"], [None, "f"]),
    ],
)
def test_ranges_hold_their_values_and_are_formatted(name, words, held, outside):
    seen = StaticEncoder.fit(TABLE, [name]).columns[0].seen
    assert str(seen) == words
    assert [seen.holds(value) for value in held] == [True] * len(held)
    assert [seen.holds(value) for value in outside] == [False] * len(outside)


def test_the_range_of_nulls_is_null():
    seen = ValueRange.of(TABLE["age_years"].take(pa.array([1, 3])))
    assert str(seen) == "null"
    assert seen.holds(None)
    assert not seen.holds(30.0)


def test_rows_are_decoded_to_what_was_encoded():
    encoder = StaticEncoder.fit(TABLE, ["level_db", "age_years", "frequency_hz", "sex", "ear"])
    decoded = [encoder.decode(row) for row in encoder.encode(TABLE)]
    for found, row in zip(decoded, TABLE.select([column.name for column in encoder.columns]).to_pylist(), strict=True):
        assert found.keys() == row.keys()
        for name, value in row.items():
            assert found[name] == (pytest.approx(value, rel=1e-6) if isinstance(value, float | int) else value)
