import math

import pytest

from hcvae.config import Config, LossWeights, PhaseConfig, TrainingConfig
from hcvae.training.schedule import component_weights, kl_factor, plan_epoch


def training(**phases) -> TrainingConfig:
    return TrainingConfig(epochs=20, phases=PhaseConfig(reconstruction=0.1, warmup=0.4, **phases))


def test_three_phases_in_the_order_of_the_specification():
    phases = [plan_epoch(epoch, training()).phase for epoch in range(20)]
    assert phases == [1] * 2 + [2] * 8 + [3] * 10


def test_phase_1_trains_with_a_higher_reconstruction_weight_and_no_kl():
    weights = plan_epoch(0, training(reconstruction_boost=3)).weights
    assert weights.reconstruction == 3
    assert weights.global_kl == weights.local_kl == weights.kl == 0
    assert weights.peak == 1


def test_phase_2_raises_kl_weights_linearly_below_their_final_value():
    weights = [plan_epoch(epoch, training()).weights.global_kl for epoch in range(2, 10)]
    assert weights == pytest.approx([0.003 * k / 9 for k in range(1, 9)])


def test_phase_3_trains_with_the_configured_weights():
    assert plan_epoch(19, training()).weights == LossWeights()


def test_the_last_phase_lowers_the_learning_rate_along_half_a_cosine():
    rates = [plan_epoch(epoch, training()).learning_rate for epoch in range(20)]
    assert rates[:11] == [1e-3] * 11
    assert rates[15] == pytest.approx(0.5e-3)
    assert rates[19] == pytest.approx(1e-3 * (1 + math.cos(0.9 * math.pi)) / 2)


@pytest.mark.parametrize("schedule", ["linear", "cosine", "cyclical"])
def test_kl_factor_stays_between_0_and_1(schedule):
    assert all(0 <= kl_factor(k / 100, schedule) <= 1 for k in range(1, 100))


def test_cosine_and_cyclical_schedules():
    assert kl_factor(0.5, "cosine") == pytest.approx(0.5)
    assert kl_factor(0.25, "cosine") == pytest.approx((1 - math.sqrt(0.5)) / 2)
    # Four cycles: half-way through a rise, on the plateau, at the start of the next cycle.
    assert [kl_factor(p, "cyclical") for p in (0.0625, 0.1875, 0.25)] == pytest.approx([0.5, 1.0, 0.0])


@pytest.mark.parametrize("epochs", [1, 2, 3, 7])
def test_short_trainings_keep_a_last_phase(epochs):
    lengths = PhaseConfig(reconstruction=0.5, warmup=0.49).lengths(epochs)
    assert sum(lengths) == epochs
    assert lengths[2] >= 1


def test_one_kl_weight_serves_both_latents_where_the_loss_is_not_hierarchical():
    weights = LossWeights(global_kl=1, local_kl=2, kl=3)
    single = Config.model_validate({"training": {"use_hierarchical_loss": False}})
    standard = Config.model_validate({"model": {"model_type": "standard"}})
    assert component_weights(Config(), weights)["global_kl"] == 1
    for config in (single, standard):
        assert component_weights(config, weights)["global_kl"] == component_weights(config, weights)["local_kl"] == 3
