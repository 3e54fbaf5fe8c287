import numpy as np
import pyarrow as pa
import pytest

from hcvae.config import DataConfig, SplitConfig
from hcvae.data.split import PARTS, row_codes, split_rows
from hcvae.errors import UserError


def config(**split):
    return DataConfig(static=("stimulus_level_db", "sex"), split=SplitConfig(**split))


def values_of(table, split, *columns):
    """For each part the set of the values that its rows have in `columns`."""
    return [
        set(zip(*(table[c].take(getattr(split, part)).to_pylist() for c in columns), strict=True)) for part in PARTS
    ]


@pytest.mark.parametrize("seed", range(5))
def test_no_subject_is_in_two_parts(make_table, seed):
    """Mistake 2: a split of rows puts one subject on both sides."""
    table = make_table(20)
    split = split_rows(table, config(seed=seed))
    train, validation, test = values_of(table, split, "subject_id")
    assert split.unit == "subject"
    assert len(train | validation | test) == len(train) + len(validation) + len(test)
    assert split.n_units == {"train": 14, "validation": 3, "test": 3}
    rows = np.concatenate([split.train, split.validation, split.test])
    assert sorted(rows) == list(range(160))
    assert all(np.all(np.diff(getattr(split, part)) > 0) for part in PARTS)


def test_few_subjects_are_split_by_recording_with_both_halves_on_one_side(make_table):
    table = make_table(4, 25)
    split = split_rows(table, config())
    train, validation, test = values_of(table, split, "subject_id", "stimulus_level_db", "recording_index")
    assert split.unit == "recording"
    assert len(train | validation | test) == len(train) + len(validation) + len(test)
    assert [len(train), len(validation), len(test)] == [70, 15, 15]
    assert [len(split.train), len(split.validation), len(split.test)] == [140, 30, 30]


@pytest.mark.parametrize(("subjects", "unit"), [(4, "recording"), (5, "subject")])
def test_the_subject_is_the_unit_from_five_subjects_on(make_table, subjects, unit):
    split = split_rows(make_table(subjects), config())
    assert split.unit == unit
    assert f"Split by {unit} ({subjects} subjects, {'at least' if unit == 'subject' else 'fewer than'} 5)" in (
        split.explanation
    )


@pytest.mark.parametrize(
    ("unit", "subjects", "meaning"),
    [("subject", 3, "subjects that the model has not seen"), ("recording", 9, "not for other subjects")],
)
def test_either_unit_can_be_set_and_is_explained(make_table, unit, subjects, meaning):
    split = split_rows(make_table(subjects), config(unit=unit))
    assert split.unit == unit
    assert "set by data.split.unit" in split.explanation
    assert meaning in split.explanation
    assert " / ".join(str(split.n_units[part]) for part in PARTS) in split.explanation


def test_the_split_depends_on_the_seed_and_not_on_the_order_of_the_rows(make_table):
    table = make_table(20)
    order = np.random.default_rng(1).permutation(table.num_rows)
    split, shuffled = split_rows(table, config()), split_rows(table.take(order), config())
    assert values_of(table, split, "subject_id") == values_of(table.take(order), shuffled, "subject_id")
    assert values_of(table, split, "subject_id") != values_of(table, split_rows(table, config(seed=1)), "subject_id")


@pytest.mark.parametrize(
    ("subjects", "recordings", "split", "message"),
    [
        (2, 9, {"unit": "subject"}, "each part needs a subject, but got 2 in total .*use --data.split.unit recording"),
        (1, 2, {}, "each part needs a recording, but got 2 in total .*identify a recording .--data.recording_columns"),
        (1, 2, {"unit": "recording"}, "each part needs a recording, but got 2 in total"),
        (5, 2, {"validation": 0.55, "test": 0.44}, "but got 5 in total for validation=0.55 and test=0.44"),
    ],
)
def test_an_impossible_split_is_refused(make_table, subjects, recordings, split, message):
    with pytest.raises(UserError, match=message):
        split_rows(make_table(subjects, recordings), config(**split))


@pytest.mark.parametrize(("subjects", "folds"), [(20, 4), (20, 17), (7, 3)])
def test_each_subject_outside_the_test_part_is_validated_on_once(make_table, subjects, folds):
    table = make_table(subjects)
    *outside, test = values_of(table, split_rows(table, config()), "subject_id")
    validated = []
    for fold in range(1, folds + 1):
        split = split_rows(table, config(folds=folds, fold=fold))
        train, validation, tested = values_of(table, split, "subject_id")
        assert tested == test
        assert train | validation == set.union(*outside)
        assert not train & validation
        assert split.n_units == {"train": len(train), "validation": len(validation), "test": len(test)}
        assert split.explanation.endswith(f"The validation part is fold {fold} of {folds}.")
        validated.append(validation)
    assert sum(map(len, validated)) == len(set.union(*validated)) == len(set.union(*outside))
    assert max(map(len, validated)) - min(map(len, validated)) <= 1


def test_more_folds_than_subjects_are_refused(make_table):
    with pytest.raises(UserError, match=r"data\.split\.folds: must be at most .* outside the test part, 5, but got 6"):
        split_rows(make_table(6), config(folds=6))
    with pytest.raises(ValueError, match="fold <= folds must hold"):
        config(fold=2)


def test_recordings_of_different_subjects_are_different_whatever_the_columns(make_table):
    table = make_table(4, 5)
    split = split_rows(table, config().model_copy(update={"recording_columns": ("recording_index",)}))
    assert sum(split.n_units.values()) == 20


def test_codes_agree_with_a_dictionary_of_tuples():
    random = np.random.default_rng(0)
    columns = {
        "a": pa.array(random.choice(["x", "y", "z"], 300)),
        "b": pa.array([None if value == 2 else float(value) for value in random.integers(0, 5, 300)]),
        "c": pa.nulls(300),
    }
    codes = row_codes(pa.table(columns), ["a", "b", "c"])
    rows = list(zip(*(column.to_pylist() for column in columns.values()), strict=True))
    assert len(set(codes)) == len(set(rows)) == len(set(zip(codes, rows, strict=True)))
    assert sorted(set(codes)) == list(range(len(set(rows))))
