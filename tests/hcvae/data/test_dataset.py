import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hcvae.config import Config, DataConfig
from hcvae.data.dataset import next_in_cycle, prepare
from hcvae.data.simulator import simulate
from hcvae.data.table import write_table
from hcvae.errors import UserError

PARTS = ("train", "validation", "test")


def config(*tables, static=("stimulus_level_db", "sex"), length=64, group_by=None, data=None, **model):
    return Config.model_validate(
        {
            "model": {"signal_length": length, **model},
            "data": {"tables": tuple(map(str, tables)), "static": static, **(data or {})},
            "normalization": {"group_by": group_by},
        }
    )


@pytest.fixture
def written(tmp_path):
    """A function that writes a table and returns the path."""

    def write(table, name="a.parquet"):
        write_table(table, tmp_path / name)
        return tmp_path / name

    return write


def raw_signals(table, rows):
    return np.array(table["signal"].to_pylist(), np.float32)[rows]


def test_statistics_are_the_training_parts(make_table, written):
    """Mistake 2, second half: the normalisation is fitted after the split, on the training part."""
    table = make_table(20)
    data = prepare(config(written(table)))
    train = raw_signals(table, data.split.train).astype(np.float64)
    scale = data.preprocessing.signal.groups[""]
    assert (scale.mean_uv, scale.std_uv) == pytest.approx((train.mean(), train.std()), rel=1e-9)
    level = table["stimulus_level_db"].to_numpy()[data.split.train]
    column = data.preprocessing.static.columns[0]
    assert (column.mean, column.std) == pytest.approx((level.mean(), level.std()), rel=1e-12)
    for name in PARTS:
        expected = (raw_signals(table, getattr(data.split, name)) - train.mean()) / train.std()
        np.testing.assert_allclose(getattr(data, name).signals, expected, atol=1e-5)


def test_the_test_part_does_not_affect_the_preprocessing(make_table, written):
    table = make_table(20)
    data = prepare(config(written(table)))
    signals = raw_signals(table, slice(None))
    signals[data.split.test] *= 1000
    changed = pa.FixedSizeListArray.from_arrays(signals.ravel(), 64)
    other = prepare(config(written(make_table(20, signal=changed), "b.parquet")))
    assert other.preprocessing == data.preprocessing
    assert np.array_equal(other.train.signals, data.train.signals)
    assert other.fingerprint != data.fingerprint


def test_independent_averages_are_the_other_half_of_the_same_recording(make_table, written):
    table = make_table(6)
    data = prepare(config(written(table)))
    for name in PARTS:
        rows, independent = getattr(data.split, name), getattr(data, name).independent
        assert np.array_equal(rows[independent], rows ^ 1)  # rows 2k and 2k + 1 are the halves of recording k


def test_rows_with_different_conditions_are_not_independent_averages(make_table, written):
    table = make_table(6, n_averages=[500, 250] * 24)
    data = prepare(config(written(table), static=("stimulus_level_db", "n_averages")))
    assert np.all(data.train.independent == -1)


@pytest.mark.parametrize("column", ["ear", "stimulus_polarity", "highpass_hz"])
def test_rows_of_two_ears_stimuli_or_filters_are_not_independent_averages(make_table, written, column):
    path = written(make_table(6, **{column: ["1", "2"] * 24}))
    assert np.all(prepare(config(path)).train.independent == -1)
    named = prepare(config(path, data={"average_columns": ("subject_id", "recording_index")}))
    assert np.all(named.train.independent >= 0)


def test_rows_of_a_recording_form_a_cycle():
    assert next_in_cycle(np.array([4, 7, 4, 1, 4, 7])).tolist() == [2, 5, 4, -1, 0, 1]


def peak_table(make_table, latency, amplitude=(1, 2, 3, 4, 5), valid=(True,) * 5):
    lists = {"peak_latency_ms": latency, "peak_amplitude_uv": amplitude, "peak_valid": valid}
    return make_table(**{name: [list(values)] * 48 for name, values in lists.items()})


@pytest.mark.parametrize(
    ("latency", "amplitude", "valid", "mask"),
    [
        ((0.0, 1, 2, 2.5, 3.15), (1, 2, 3, 4, 5), (1, 1, 1, 1, 1), (1, 1, 1)),  # the window is 0 to 3.15 ms
        ((0.5, 1, 2, 2.5, 3.2), (1, 2, 3, 4, 5), (1, 1, 1, 1, 1), (1, 1, 0)),  # mistake 9: V is after the window
        ((-0.1, 1, 2, 2.5, 3), (1, 2, 3, 4, 5), (1, 1, 1, 1, 1), (0, 1, 1)),
        ((0.5, 1, np.nan, 2.5, 3), (1, 2, 3, 4, np.inf), (1, 1, 1, 1, 1), (1, 0, 0)),
        ((0.5, 1, 2, 2.5, 3), (1, 2, 3, 4, 5), (1, 1, 1, 1, 0), (1, 1, 0)),
        ((0.5, None, None, 2.5, 3), (1, 2, 3, 4, 5), (None, 1, 1, 1, 1), (0, 0, 1)),
    ],
)
def test_only_labelled_peaks_inside_the_window_are_targets(make_table, written, latency, amplitude, valid, mask):
    valid = [value if value is None else bool(value) for value in valid]
    part = prepare(config(written(peak_table(make_table, latency, amplitude, valid)))).train
    values = np.array([*(latency[wave] for wave in (0, 2, 4)), *(amplitude[wave] for wave in (0, 2, 4))], float)
    assert np.array_equal(part.peak_mask, np.tile(np.array([*mask, *mask], bool), (len(part), 1)))
    np.testing.assert_allclose(part.peaks[0], np.where([*mask, *mask], values, 0), rtol=1e-6)


def test_a_file_without_labels_has_masked_peaks_beside_one_with_labels(make_table, written):
    first = written(peak_table(make_table, (0.5, 1, 2, 2.5, 3)))
    data = prepare(config(first, written(make_table(3, subject_id=["other"] * 24), "b.parquet")))
    masks = np.concatenate([getattr(data, name).peak_mask for name in PARTS])
    assert masks.all(axis=1).sum() == 48
    assert (~masks).all(axis=1).sum() == 24


def test_a_static_dim_that_differs_is_refused_with_the_encoded_columns(make_table, written):
    path = written(make_table())
    assert prepare(config(path, static_dim=3)).preprocessing.static.dim == 3
    with pytest.raises(UserError, match=r"model\.static_dim: must be 3 for .*'sex=F', 'sex=M'\], but got 7"):
        prepare(config(path, static_dim=7))


def test_a_peak_window_other_than_the_waveforms_is_refused(make_table, written):
    path = written(make_table())
    assert prepare(config(path, peak_window_ms=3.15)).preprocessing.window_ms == 3.15  # 64 samples at 20 kHz
    with pytest.raises(UserError, match=r"model\.peak_window_ms: must be 3\.15, .* but got 10\.0; null: from the data"):
        prepare(config(path, peak_window_ms=10.0))


def test_the_fingerprint_follows_the_content_and_the_split_only(make_table, written):
    table = make_table()
    data = prepare(config(written(table)))
    assert prepare(config(written(table.append_column("note", [["x"] * 48]), "b.parquet"))).fingerprint == (
        data.fingerprint
    )
    levels = table["stimulus_level_db"].to_numpy().copy()
    levels[5] += 1
    assert prepare(config(written(make_table(stimulus_level_db=levels)))).fingerprint != data.fingerprint
    other_seed = prepare(config(written(table), data={"split": {"seed": 1}}))
    assert other_seed.fingerprint != data.fingerprint


def real_config(recordings, *names, **options):
    static = ("stimulus_level_db", "stimulus_frequency_hz", "n_averages", "species")
    paths = [recordings / f"{name}.parquet" for name in names]
    return config(*paths, static=static, length=200, group_by="species", **options)


@pytest.fixture(scope="module")
def real(recordings):
    """Humans and mouse together: the data set, and the two files as one table."""
    names = ("human_click_shipm", "mouse_tone_shipm")
    table = pa.concat_tables([pq.read_table(recordings / f"{name}.parquet") for name in names])
    return prepare(real_config(recordings, *names)), table


def test_real_recordings_are_split_by_recording(real):
    data, table = real
    keys = ["subject_id", "stimulus_level_db", "recording_index"]
    names = list(zip(*(table[key].to_pylist() for key in keys), strict=True))
    sets = [{names[row] for row in getattr(data.split, part)} for part in PARTS]
    assert data.split.unit == "recording"
    assert "3 subjects" in data.split.explanation
    assert sum(map(len, sets)) == len(set.union(*sets)) == 232 + 985
    assert sum(len(getattr(data, name)) for name in PARTS) == 464 + 985


def test_real_recordings_are_standard_in_each_species(real):
    data, table = real
    species = np.array(table["species"].to_pylist())[data.split.train]
    assert list(data.preprocessing.signal.groups) == ["human", "mouse"]
    for name in ("human", "mouse"):
        signals = data.train.signals[species == name].astype(np.float64)
        assert signals.mean() == pytest.approx(0, abs=1e-5)
        assert signals.std() == pytest.approx(1, abs=1e-5)
    back = data.preprocessing.signal.denormalize(data.test.signals, data.test.group)
    np.testing.assert_allclose(back, raw_signals(table, data.split.test), atol=1e-5)


def test_real_conditions_are_encoded_with_the_mask_of_the_clicks(real):
    data, table = real
    assert data.preprocessing.static.names == (
        "stimulus_level_db",
        "stimulus_frequency_hz is null",  # the one known frequency, 16 kHz, is constant
        "n_averages",
        "species=human",
        "species=mouse",
    )
    click = np.array(table["stimulus_type"].to_pylist()) == "click"
    for name in PARTS:
        static, here = getattr(data, name).static, click[getattr(data.split, name)]
        assert np.array_equal(static[:, 1], here)
        assert np.array_equal(static[:, 3], here)
    np.testing.assert_allclose(data.train.static[:, [0, 2]].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(data.train.static[:, [0, 2]].std(axis=0), 1, atol=1e-5)


def test_real_pairs_are_the_two_halves_of_a_recording(real):
    data, table = real
    record = np.array(table["record_id"].to_pylist())  # such as H1-60dB-r03-h2; mouse blocks have no halves
    for name in PARTS:
        here, independent = record[getattr(data.split, name)], getattr(data, name).independent
        for own, other in zip(here, independent, strict=True):
            if own.startswith("H"):
                assert {own, here[other]} == {own[:-1] + "1", own[:-1] + "2"}
            else:
                assert other == -1


def test_real_labels_are_the_targets(recordings):
    path = recordings / "mouse_tone_epl_labelled.parquet"
    table = pq.read_table(path)
    data = prepare(config(path, static=("stimulus_level_db",), length=200))
    lists = {name: np.array(table[name].to_pylist()) for name in ("peak_latency_ms", "peak_amplitude_uv", "peak_valid")}
    assert sum(getattr(data, name).peak_mask.sum() for name in PARTS) == 2 * lists["peak_valid"][:, [0, 2, 4]].sum()
    for name in PARTS:
        part, rows = getattr(data, name), getattr(data.split, name)
        labels = np.hstack([lists["peak_latency_ms"][rows], lists["peak_amplitude_uv"][rows]])[:, [0, 2, 4, 5, 7, 9]]
        assert np.array_equal(part.peaks[part.peak_mask], labels[part.peak_mask].astype(np.float32))


def test_the_licence_is_from_the_configuration_or_the_tables(make_table, written, recordings):
    human = recordings / "human_click_shipm.parquet"
    static = ("stimulus_level_db", "n_averages")
    licence = prepare(config(human, length=200, static=static)).licence
    assert licence.startswith("Apache-2.0 (Wang H, ")
    assert prepare(config(human, length=200, static=static, data={"licence": "CC-BY-4.0"})).licence == "CC-BY-4.0"
    assert prepare(config(written(make_table(20)))).licence is None


def test_ranges_of_training_rows_are_kept_by_group(make_table, written):
    table = make_table(20)
    women = table["sex"].to_numpy(zero_copy_only=False) == "F"
    table = table.filter(pa.array(women | (table["stimulus_level_db"].to_numpy() < 30)))
    data = prepare(config(written(table), group_by="sex"))
    train = table.take(data.split.train)
    for sex in ("F", "M"):
        levels = train["stimulus_level_db"].to_numpy()[train["sex"].to_numpy(zero_copy_only=False) == sex]
        seen = data.preprocessing.seen[sex]["stimulus_level_db"]
        assert (seen.minimum, seen.maximum) == (levels.min(), levels.max()) == (0, 30 if sex == "F" else 20)
        assert data.preprocessing.seen[sex]["sex"].categories == (sex,)


def test_the_split_names_the_unit_of_each_row(make_table, written):
    table = make_table(20)
    data = prepare(config(written(table)))
    of_unit = {}
    for subject, unit in zip(table["subject_id"].to_pylist(), data.split.units, strict=True):
        assert of_unit.setdefault(unit, subject) == subject
    assert len(of_unit) == 20


def test_no_table_means_the_simulator_split_by_subject():
    data = prepare(Config.model_validate({"data": {"simulator": {"rows": 640, "seed": 3}}}))
    assert data.split.unit == "subject"
    assert data.preprocessing.static.dim == 7
    assert data.train.peak_mask.any()
    assert np.mean(data.train.independent >= 0) > 0.9


@pytest.mark.parametrize(("value", "said"), [(None, "must not be null"), ("X", "must be one of")])
def test_a_condition_that_only_a_held_out_part_has_is_refused_with_a_remedy(tmp_path, value, said):
    """As a null of `ear` in one of several merged files; the options of the message are tried."""
    table = simulate(600, 1)
    config = Config(data=DataConfig(tables=(str(tmp_path / "a.parquet"),), static=("stimulus_level_db", "sex")))
    write_table(table, config.data.tables[0])
    held_out = prepare(config).split.validation
    values = table["sex"].to_pylist()
    for row in held_out:
        values[row] = value
    write_table(table.set_column(table.schema.get_field_index("sex"), "sex", pa.array(values)), config.data.tables[0])
    with pytest.raises(UserError, match=f"validation part: static column 'sex': {said}") as error:
        prepare(config)
    assert """(--data.static '["stimulus_level_db"]')""" in str(error.value)
    assert "(hcvae import --value sex=VALUE)" in str(error.value)
    assert "(--data.split.seed 1)" in str(error.value)
    prepare(config.model_copy(update={"data": config.data.model_copy(update={"static": ("stimulus_level_db",)})}))
