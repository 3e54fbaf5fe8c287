import numpy as np
import pytest

from hcvae.errors import UserError
from hcvae.metrics.generation import conditional_consistency, physiological_features


def test_two_lines():
    """Latencies 8 - 0.02 level and 8 - 0.01 level differ by 0.01 level: 0.4 at 40, 0.6 at 60 (3 of 4 rows)."""
    level, reference = np.array([40.0, 60, 60, 80]), np.array([20.0, 40, 60, 60, 60])
    result = conditional_consistency(level, 8 - 0.02 * level, reference, 8 - 0.01 * reference)
    assert result.levels_db == (40, 60)
    assert result.mean_difference_ms == pytest.approx(0.25 * 0.4 + 0.75 * 0.6)
    assert result.generated.slope_ms_per_10_db == pytest.approx(-0.2)
    assert result.reference.slope_ms_per_10_db == pytest.approx(-0.1)
    assert (result.generated.spearman, result.reference.spearman) == pytest.approx((-1, -1))


def test_only_shared_levels_enter_the_relations():
    level = np.array([10.0, 20, 30, 90])
    latency = np.array([8.0, 7, 6, 100])
    result = conditional_consistency(level, latency, level[:3], latency[:3])
    assert result.generated == result.reference
    assert result.mean_difference_ms == 0


def test_a_constant_latency_has_no_correlation():
    level = np.array([10.0, 20, 30])
    result = conditional_consistency(level, np.full(3, 6.0), level, 8 - level / 10)
    assert (result.generated.spearman, result.generated.slope_ms_per_10_db) == (0, 0)


def test_new_recordings_follow_the_level_and_shuffled_ones_do_not(recorded, resampled):
    reference, generated = (physiological_features(rows.signals, 20_000.0)[0][:, 2] for rows in (recorded, resampled))
    good = conditional_consistency(resampled.level, generated, recorded.level, reference)
    assert good.mean_difference_ms < 0.1
    assert good.generated.slope_ms_per_10_db == pytest.approx(good.reference.slope_ms_per_10_db, abs=0.03)
    assert good.reference.spearman < -0.6
    shuffled = np.random.default_rng(0).permutation(resampled.level)
    bad = conditional_consistency(shuffled, generated, recorded.level, reference)
    assert bad.mean_difference_ms > 0.3
    assert abs(bad.generated.spearman) < 0.1
    assert abs(bad.generated.slope_ms_per_10_db) < 0.03


def test_bad_input_is_refused():
    level = np.array([10.0, 20, 30])
    with pytest.raises(UserError, match=r"at least 2 levels .* got \[30\.0\] of \[10\.0, 20\.0, 30\.0\]"):
        conditional_consistency(level, level, level + 20, level)
    with pytest.raises(UserError, match="wave_v_ms_generated: must have one value for each of the 3 rows"):
        conditional_consistency(level, level[:2], level, level)
    with pytest.raises(UserError, match="wave_v_ms_reference: must be finite"):
        conditional_consistency(level, level, level, level * np.nan)
