from dataclasses import replace

import numpy as np
import pytest

from hcvae.errors import UserError
from hcvae.metrics.generation import Labelled, train_on_synthetic


def test_new_recordings_train_as_well_as_recordings(recorded, resampled, trained_on):
    result = train_on_synthetic(resampled.labelled, trained_on.labelled, recorded.labelled)
    assert result.level_r2_real > 0.6
    assert result.level_ratio == pytest.approx(1, abs=0.06)
    assert result.group_auc_real > 0.57
    assert result.group_auc_synthetic == pytest.approx(result.group_auc_real, abs=0.05)
    assert result.group_balanced_accuracy_synthetic > 0.53
    assert result == train_on_synthetic(resampled.labelled, trained_on.labelled, recorded.labelled)


def test_a_generator_that_ignores_the_condition_teaches_nothing(recorded, resampled, trained_on):
    order = np.random.default_rng(0).permutation(2000)
    shuffled = Labelled(resampled.signals, resampled.level[order], resampled.sex[order])
    result = train_on_synthetic(shuffled, trained_on.labelled, recorded.labelled)
    assert result.level_ratio < 0.05
    assert result.group_auc_synthetic == pytest.approx(0.5, abs=0.06)


def linear(n, seed, noise=0.0):
    """The level is the first sample; the group, one of three, depends only on the second."""
    random = np.random.default_rng(seed)
    signals = random.normal(size=(n, 5))
    group = np.digitize(signals[:, 1], [-0.5, 0.5])
    return Labelled(signals, 10 * signals[:, 0] + noise * random.normal(size=n), np.array(["a", "b", "c"])[group])


def test_learnable_targets_are_learned():
    result = train_on_synthetic(linear(1000, 0), linear(1000, 1), linear(1000, 2))
    assert result.level_r2_real > 0.95
    assert result.group_auc_real > 0.95  # three groups, each against the rest
    assert result.group_balanced_accuracy_real > 0.85
    assert (result.level_ratio, result.group_ratio) == pytest.approx((1, 1), abs=0.05)


def test_the_group_is_predicted_from_waveform_and_level_together():
    def sets(seed):
        random = np.random.default_rng(seed)
        signals, level = random.normal(size=(400, 3)), random.choice([30.0, 70.0], 400)
        return Labelled(signals, level, np.where((signals[:, 0] > 0) == (level > 50), "early", "late"))

    result = train_on_synthetic(sets(0), sets(1), sets(2))
    assert min(result.group_auc_synthetic, result.group_auc_real) > 0.9  # 0.5 from either alone


def test_more_generated_than_recorded_rows_are_no_advantage():
    few, many, test = linear(60, 0, noise=10), linear(3000, 1, noise=10), linear(1000, 2, noise=10)
    result = train_on_synthetic(many, few, test)
    assert result.level_r2_synthetic == pytest.approx(result.level_r2_real, abs=0.2)
    assert train_on_synthetic(many, many, test).level_r2_real > result.level_r2_synthetic + 0.1


def test_without_groups_there_are_no_group_scores():
    plain = [replace(linear(100, seed), group=None) for seed in range(3)]
    result = train_on_synthetic(*plain)
    assert result.group_auc_synthetic is result.group_balanced_accuracy_real is result.group_ratio is None


def test_a_level_that_cannot_be_learned_has_no_ratio():
    sets = [replace(linear(200, seed), level=np.random.default_rng(seed).normal(size=200)) for seed in range(3)]
    result = train_on_synthetic(*sets)
    assert result.level_r2_real < 0
    assert result.level_ratio is None


def test_bad_input_is_refused():
    good = linear(50, 0)
    with pytest.raises(UserError, match="level: must have one value for each of the 50 rows"):
        replace(good, level=good.level[:20])
    with pytest.raises(UserError, match="group: must have one for each of the 50 rows"):
        replace(good, group=good.group[:20])
    with pytest.raises(UserError, match="signals: must all have the same length"):
        train_on_synthetic(replace(good, signals=np.ones((50, 6))), good, good)
    with pytest.raises(UserError, match="group: must have the same groups in all three sets"):
        train_on_synthetic(replace(good, group=np.full(50, "a")), good, good)
    with pytest.raises(UserError, match="group: must have two groups or more"):
        train_on_synthetic(*[replace(good, group=np.full(50, "a"))] * 3)
