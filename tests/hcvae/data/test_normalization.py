import numpy as np
import pyarrow as pa
import pytest

from hcvae.data.normalization import SignalNormalization
from hcvae.errors import UserError

RANDOM = np.random.default_rng(3)
SPECIES = pa.table({"species": ["mouse", "human", "mouse", "human", "mouse"]})
SIGNALS = (RANDOM.normal(size=(5, 40)) * [[9], [2], [8], [1], [7]] + [[5], [1], [4], [2], [3]]).astype(np.float32)


def test_one_group_has_the_mean_and_deviation_of_all_samples():
    scaling = SignalNormalization.fit(SIGNALS, SPECIES, None)
    assert list(scaling.groups) == [""]
    assert scaling.groups[""].mean_uv == pytest.approx(SIGNALS.mean(dtype=np.float64), rel=1e-9)
    assert scaling.groups[""].std_uv == pytest.approx(SIGNALS.std(dtype=np.float64), rel=1e-9)


def test_each_group_has_its_own_scale_and_comes_out_standard():
    scaling = SignalNormalization.fit(SIGNALS, SPECIES, "species")
    index = scaling.index(SPECIES)
    assert list(scaling.groups) == ["human", "mouse"]
    assert index.tolist() == [1, 0, 1, 0, 1]
    normalised = scaling.normalize(SIGNALS, index)
    assert normalised.dtype == np.float32
    for group in (0, 1):
        assert normalised[index == group].mean() == pytest.approx(0, abs=1e-6)
        assert normalised[index == group].std() == pytest.approx(1, rel=1e-6)
    np.testing.assert_allclose(scaling.denormalize(normalised, index), SIGNALS, rtol=1e-5, atol=1e-5)


def test_offset_and_scale_of_each_waveform_survive():
    """Mistake 1: z-scoring each waveform would make all five alike."""
    shape = np.sin(np.linspace(0, 9, 40))
    gains, offsets = np.array([1, 2, 3, 4, 5]), np.array([0, 1, -1, 2, -2])
    signals = (gains[:, None] * shape + offsets[:, None]).astype(np.float32)
    scaling = SignalNormalization.fit(signals, SPECIES, None)
    normalised = scaling.normalize(signals, scaling.index(SPECIES))
    np.testing.assert_allclose(normalised.std(axis=1) / normalised[0].std(), gains, rtol=1e-5)
    np.testing.assert_allclose(
        (normalised.mean(axis=1) - gains * normalised[0].mean()) * scaling.groups[""].std_uv,
        offsets + (gains - 1) * scaling.groups[""].mean_uv,
        atol=1e-5,
    )


def test_a_large_offset_costs_no_precision():
    signals = (RANDOM.normal(size=(50, 40)) + 1e4).astype(np.float32)
    scaling = SignalNormalization.fit(signals, pa.table({"x": range(50)}), None)
    assert scaling.groups[""].std_uv == pytest.approx(signals.std(dtype=np.float64), rel=1e-6)


def test_invalid_groups_are_refused():
    scaling = SignalNormalization.fit(SIGNALS, SPECIES, "species")
    with pytest.raises(UserError, match=r"'species' must be one of the training part's \['human', 'mouse'\].* 'cat'"):
        scaling.index(pa.table({"species": ["human", "cat"]}))
    with pytest.raises(UserError, match=r"'species' must be one of .* but got None"):
        scaling.index(pa.table({"species": ["human", None]}))
    with pytest.raises(UserError, match="column 'level_db' must hold text, but got int64"):
        SignalNormalization.fit(SIGNALS, pa.table({"level_db": range(5)}), "level_db")
    with pytest.raises(UserError, match=r"training waveforms of species=human must vary, but all samples are 0\.1 uV"):
        SignalNormalization.fit(np.where(np.arange(5)[:, None] % 2, np.float32(0.1), SIGNALS), SPECIES, "species")


def test_scales_survive_json_in_order():
    scaling = SignalNormalization.fit(SIGNALS, SPECIES, "species")
    again = SignalNormalization.model_validate_json(scaling.model_dump_json())
    assert again == scaling
    assert again.index(SPECIES).tolist() == scaling.index(SPECIES).tolist()
