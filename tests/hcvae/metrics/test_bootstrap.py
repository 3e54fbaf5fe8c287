import numpy as np
import pytest

from hcvae.metrics.bootstrap import DRAWS, reconstruction_intervals
from hcvae.metrics.reconstruction import correlation, cross_average_nmse, nmse, r2


def waveforms(units: int, rows_each: int, seed: int = 0):
    """Prediction, target and other average [N, T], two groups of different amplitude, and units; of some units more."""
    random = np.random.default_rng(seed)
    unit = np.repeat(np.arange(units), rows_each + np.arange(units) % 3)
    group = np.arange(len(unit)) % 2
    scale = np.where(group, 5.0, 1.0)[:, None]
    target = scale * (random.normal(size=(units, 20))[unit] + random.normal(0.2, 1, (len(unit), 20)))
    predicted = target + scale * random.normal(0, 1 + 0.3 * unit[:, None] / units, target.shape)
    other = np.where(np.arange(len(unit))[:, None] % 5 == 0, np.nan, target + random.normal(size=target.shape))
    return predicted, target, other, group, unit


def test_limits_are_quantiles_of_the_metrics_of_resampled_units():
    predicted, target, other, group, unit = waveforms(7, 4)
    found = reconstruction_intervals(predicted, target, other, group, unit, seed=3)
    counts = np.random.default_rng(3).multinomial(7, np.full(7, 1 / 7), DRAWS)
    values = []
    for count in counts:
        rows = np.concatenate([np.flatnonzero(unit == u) for u in np.repeat(np.arange(7), count)])
        p, t, g = predicted[rows], target[rows], group[rows]
        values.append((nmse(p, t, g), cross_average_nmse(p, other[rows], g), r2(p, t), correlation(p, t)))
    expected = np.quantile(values, (0.025, 0.975), axis=0).T
    assert list(found) == ["reconstruction_nmse", "cross_average_nmse", "r2", "correlation"]
    np.testing.assert_allclose(list(found.values()), expected, rtol=1e-9)


def test_nineteen_of_twenty_intervals_contain_the_truth():
    whole = list(waveforms(4000, 3))
    truth = r2(whole[0], whole[1])
    held, widths = 0, []
    for seed in range(100):
        chosen = np.random.default_rng(seed).choice(4000, 40, replace=False)
        rows = np.isin(whole[4], chosen)
        low, high = reconstruction_intervals(*(array[rows] for array in whole), seed=seed)["r2"]
        held += low <= truth <= high
        widths.append(high - low)
    assert held >= 85  # 95 expected; 84 or fewer come by chance in less than 1 of 10,000 cases
    low, high = reconstruction_intervals(*whole)["r2"]  # of 100 times as many units, in 1000 clusters
    assert low < truth < high
    assert np.mean(widths) / (high - low) == pytest.approx(10, rel=0.2)


def test_too_few_units_have_no_interval_and_neither_has_a_metric_without_data():
    predicted, target, other, group, unit = waveforms(7, 4)
    assert reconstruction_intervals(predicted, target, other, group, np.minimum(unit, 3)) == {}
    without = reconstruction_intervals(predicted, target, np.full_like(other, np.nan), group, unit)
    assert list(without) == ["reconstruction_nmse", "r2", "correlation"]


def test_a_group_of_one_unit_has_no_interval_of_its_nmse():
    predicted, target, other, _, unit = waveforms(7, 4)
    found = reconstruction_intervals(predicted, target, other, (unit == 2).astype(int), unit)
    assert list(found) == ["r2", "correlation"]
    assert found["r2"][0] < r2(predicted, target) < found["r2"][1]


@pytest.mark.parametrize("seed", [0, 1])
def test_the_same_seed_gives_the_same_limits(seed):
    arrays = waveforms(6, 2)
    assert reconstruction_intervals(*arrays, seed=seed) == reconstruction_intervals(*arrays, seed=seed)
