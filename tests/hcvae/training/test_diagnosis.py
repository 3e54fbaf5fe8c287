import math
from typing import Any

import pytest

from hcvae.config import Config
from hcvae.training.diagnosis import diagnose, examine, kl_balance
from hcvae.training.schedule import plan_epoch

EPOCHS = 20
FIRST_OF_LAST_PHASE = 11
"""20 epochs have 3 in phase 1, 7 in phase 2 and 10 in phase 3."""
DISENTANGLEMENT, INSTABILITY, COLLAPSE = "poor disentanglement", "training instability", "collapse"
MISPLACED = "misplaced peaks"


def config(**sections: dict[str, Any]) -> Config:
    tree = {"model": {"global_latent_dim": 20, "local_latent_dim": 40}, "training": {"epochs": EPOCHS}}
    return Config.model_validate({name: section | sections.get(name, {}) for name, section in tree.items()})


def healthy(epochs: int = EPOCHS) -> list[dict[str, float | None]]:
    """Losses that fall to a plateau with ripples of 3 %, latents in use, well divided work."""
    history = []
    for epoch in range(1, epochs + 1):
        loss = (0.5 + 4 * math.exp(-epoch / 3)) * (1 + 0.03 * math.sin(epoch))
        history.append(
            {
                "epoch": epoch,
                "phase": plan_epoch(epoch - 1, config().training).phase,
                "train_loss": loss,
                "train_reconstruction": min(1.0, loss),
                "train_gradient_norm": 30.0 if epoch == 1 else 1.5,
                "validation_loss": 1.02 * loss,
                "reconstruction_nmse": 0.2,
                "disentanglement": 0.7,
                "selectivity_coarse": 0.8,
                "selectivity_fine": 0.6,
                "global_kl": 3.0,
                "local_kl": 9.0,
                "global_beta": 2.0,
                "local_beta": 2.0,
                "global_active_units": 3.0,
                "local_active_units": 20.0,
            }
        )
    return history


def changed(last_phase: dict[str, float] | None = None, **epochs: dict[str, float | None]) -> list[Any]:
    """A healthy training but for the metrics of all epochs of the last phase, or of single epochs (`e7`)."""
    history = healthy()
    for epoch in history:
        if epoch["phase"] == 3:
            epoch |= last_phase or {}
    for name, metrics in epochs.items():
        history[int(name[1:]) - 1] |= metrics
    return history


def troubles(history, of: Config | None = None, **options) -> list[str]:
    return [finding.trouble for finding in diagnose(of or config(), history, **options)]


@pytest.mark.parametrize("epochs", [0, 1, 3, 10, 11, 15, 20])
def test_a_healthy_training_has_no_trouble_at_any_time(epochs):
    assert troubles(healthy(epochs)) == []


def placed(**changes: float) -> dict[str, float]:
    """Peaks on the maxima of their waveforms."""
    waves = {f"peak_distance_ms_{wave}": 0.05 for wave in ("I", "V")} | {
        f"far_peaks_{wave}": 0.0 for wave in ("I", "V")
    }
    return {"impossible_peaks": 0.0} | waves | changes


def test_misplaced_peaks_are_shown_with_their_numbers_where_they_were_measured():
    [finding] = diagnose(config(), changed(placed(peak_distance_ms_V=0.43, far_peaks_V=0.3, impossible_peaks=0.21)))
    assert finding.evidence == (
        "21% of the reconstructions in epoch 18 have an impossible peak; median distance of the others from the "
        "nearest maximum: wave I 0.05 ms (0% over 1 ms), wave V 0.43 ms (30% over 1 ms)"
    )
    assert "training.loss_weights.peak (now 1.0)" in finding.remedy
    assert examine(config(), changed(placed())).figures[MISPLACED].startswith("0% of the reconstructions")
    assert MISPLACED not in examine(config(), healthy()).figures  # no peak head, or no label
    assert examine(config(), changed(placed())[:14]).figures[MISPLACED] is None


@pytest.mark.parametrize("history", [healthy(), healthy(3), changed(placed(peak_distance_ms_I=0.9))])
def test_generated_waveforms_decide_where_some_were_drawn(history):
    """An encoder's latents may be decoded well where those of the prior are not."""
    drawn = {f"generated_{name}": value for name, value in placed(impossible_peaks=0.244).items()}
    [finding] = diagnose(config(), history, drawn)
    assert finding.evidence.startswith("24% of the generated waveforms have an impossible peak; ")
    assert diagnose(config(), history, drawn | {"generated_impossible_peaks": 0.0}) == ()
    none_possible = diagnose(config(), history, {"generated_impossible_peaks": 1.0})
    assert none_possible[0].evidence.endswith(": none is possible")


def plateau(**epochs: float) -> list[Any]:
    """A healthy training whose train_loss is 1 in all of the last phase, but for single epochs."""
    single = {name: {"train_loss": value} for name, value in epochs.items()}
    return changed({"train_loss": 1.0}, **single)


# median 1.2, median absolute deviation 0.2, 0.2965 as a standard deviation: 6 of them above the median are 2.98
RIPPLES = {"e13": 1.0, "e14": 1.4, "e15": 1.0, "e16": 1.4, "e17": 1.2}


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        (changed({"disentanglement": 0.3}), []),
        (changed({"disentanglement": 0.299}), [DISENTANGLEMENT]),
        (changed({"disentanglement": -0.4}), [DISENTANGLEMENT]),
        (changed(e10={"disentanglement": 0.0}), []),  # phase 2
        (changed({"disentanglement": 0.1}, e18={"disentanglement": 0.7, "validation_loss": 0.4}), []),  # the best epoch
        (changed(e18={"disentanglement": 0.1, "validation_loss": 0.4}), [DISENTANGLEMENT]),
        (changed({"disentanglement": 0.1})[:14], []),  # the last phase has not settled
        (changed({"disentanglement": 0.1})[:15], [DISENTANGLEMENT]),
        (changed({"global_active_units": 0.0}), [COLLAPSE]),
        (changed({"local_active_units": 0.0}), [COLLAPSE]),
        (changed({"global_active_units": 0.0})[:14], []),
        (changed({"global_active_units": 1.0}), []),  # 5 % of the units, but 3 nats
        (changed({"global_kl": 1.0, "global_active_units": 1.0}), []),
        (changed({"global_kl": 0.99, "global_active_units": 1.0}), [COLLAPSE]),
        (changed({"global_kl": 0.99, "global_active_units": 2.0}), []),  # 10 % of the units, 10 % of the nats
        (changed({"global_kl": 0.9, "local_kl": 17.0}), []),  # 5.03 %
        (changed({"global_kl": 0.9, "local_kl": 17.2}), [COLLAPSE]),  # 4.97 %
        (changed({"global_kl": 5.0, "local_kl": 200.0}), []),  # 2.4 %, but 5 nats
        (changed({"global_kl": 17.2, "local_kl": 0.9}), [COLLAPSE]),
        (changed(e1={"train_reconstruction": 700.0}), []),  # new weights
        (changed(e2={"train_reconstruction": 2.0}), []),
        (changed(e2={"train_reconstruction": 2.01}), [INSTABILITY]),
        (changed(e4={"train_loss": 1000.0}), []),  # other weights of the loss
        (plateau(e17=2.0), []),
        (plateau(e17=2.01), [INSTABILITY]),
        (plateau(e13=50.0), []),  # only two epochs to compare with
        (plateau(e14=50.0), [INSTABILITY]),
        (plateau(**RIPPLES, e18=2.9), []),
        (plateau(**RIPPLES, e18=3.0), [INSTABILITY]),
        (changed(e17={"validation_loss": 1.5}), [INSTABILITY]),
        (changed(e3={"validation_loss": 1e4}), []),  # without a KL weight the KL divergence is large
        (changed({"train_gradient_norm": 400.0}), []),  # clipped
        (changed(e5={"validation_loss": None}), [INSTABILITY]),
        (changed(e5={"train_loss": math.inf}), [INSTABILITY]),
        (changed({"validation_loss": None}), [INSTABILITY]),  # no best epoch
        (changed(e11={"validation_loss": None, "disentanglement": 0.0}), [INSTABILITY]),  # cannot be the best epoch
        (changed(e17={"peak_latency_error_ms_I": None}), []),  # no peak is labelled
        (changed(placed()), []),
        (changed(placed(impossible_peaks=0.01)), []),
        (changed(placed(impossible_peaks=0.011)), [MISPLACED]),
        (changed(placed(peak_distance_ms_I=0.2)), []),
        (changed(placed(peak_distance_ms_I=0.21)), [MISPLACED]),
        (changed(placed(far_peaks_V=0.05)), []),
        (changed(placed(far_peaks_V=0.06)), [MISPLACED]),
        (changed(placed(far_peaks_V=0.06))[:14], []),  # the last phase has not settled
        (changed({"impossible_peaks": 1.0}), [MISPLACED]),  # no valid one has a distance
        (
            changed(
                {"disentanglement": 0.0, "global_active_units": 0.0, "local_active_units": 0.0, "train_loss": None}
            ),
            [DISENTANGLEMENT, INSTABILITY, COLLAPSE],
        ),
    ],
)
def test_troubles_and_their_borders(history, expected):
    assert troubles(history) == expected


@pytest.mark.parametrize(("end", "expected"), [(1.99, []), (2.01, [INSTABILITY])])
def test_a_validation_loss_that_ends_far_above_its_best_is_instability(end, expected):
    """Step by step, so that no single epoch is a spike."""
    losses = [1.0, 1.0, 1.2, 1.4, 1.6, 1.8, 1.9, end, end, end]
    rising = {f"e{FIRST_OF_LAST_PHASE + index}": {"validation_loss": loss} for index, loss in enumerate(losses)}
    assert troubles(changed(**rising)) == expected


@pytest.mark.parametrize("scales", ["reconstruction", "all"])
def test_log_likelihoods_below_zero_are_not_compared_by_their_ratio(scales):
    of = config(training={"learned_scales": scales})
    falling = {f"e{epoch}": {"train_loss": -0.01 * epoch, "validation_loss": -0.01 * epoch} for epoch in range(11, 21)}
    assert troubles(changed(**falling), of) == []
    assert troubles(changed(**falling | {"e17": falling["e17"] | {"reconstruction_nmse": 0.5}}), of) == [INSTABILITY]
    apart = {
        f"e{epoch}": falling[f"e{epoch}"] | {"reconstruction_nmse": 0.2 * 1.15 ** (epoch - 11)}
        for epoch in range(11, 21)
    }
    assert troubles(changed(**apart), of) == [INSTABILITY]


def test_one_bad_last_epoch_is_not_an_end_far_above_the_best():
    assert troubles(changed({"validation_loss": 1.0}, e20={"validation_loss": 1.9}, e11={"validation_loss": 0.9})) == []


@pytest.mark.parametrize(("epochs", "patience", "last_phase"), [(20, 2, 2), (20, None, 5), (6, 10, 4), (1, 10, 1)])
def test_the_latents_are_judged_no_later_than_the_training_can_end(epochs, patience, last_phase):
    of = config(training={"epochs": epochs, "early_stopping_patience": patience})
    history = changed({"disentanglement": 0.1})[FIRST_OF_LAST_PHASE - 1 :]
    assert troubles(history[: last_phase - 1], of) == []
    assert troubles(history[:last_phase], of) == [DISENTANGLEMENT]


def test_divergence_is_instability_with_the_history_before_it_or_without_any():
    (finding,) = diagnose(config(), healthy(4), diverged=True)
    assert finding.trouble == INSTABILITY
    assert "not finite after epoch 4" in finding.evidence
    assert troubles([], diverged=True) == [INSTABILITY]


def test_the_two_parts_of_a_standard_model_are_one_latent():
    standard = config(model={"model_type": "standard"})
    assert troubles(changed({"global_active_units": 0.0}), standard) == []
    both = {"global_active_units": 0.0, "local_active_units": 0.0}
    assert troubles(changed(both), standard) == [COLLAPSE]


def test_evidence_has_the_numbers_of_the_best_epoch():
    numbers = {"disentanglement": 0.12, "global_kl": 0.25, "global_active_units": 0.0, "validation_loss": 0.4}
    routing, use = diagnose(config(), changed(e18=numbers | {"film_effect": 0.034}))
    assert "disentanglement 0.12 in epoch 18" in routing.evidence
    assert "z_global alone moves 3% of" in routing.evidence
    assert "z_global has 0 of 20 units active and 0.25 nats" in use.evidence
    assert "z_local has 20 of 40 units active and 9 nats" in use.evidence
    assert "KL balance 3% global" in use.evidence  # 0.25 of 9.25
    without = diagnose(config(), changed(e18=numbers))[0]
    assert "z_global alone" not in without.evidence


ROUTED_WRONGLY = changed({"disentanglement": -0.4})
DEAD_LOCAL = changed({"local_active_units": 0.0})
SPIKED = changed(e17={"train_loss": 9.0})


@pytest.mark.parametrize(
    ("history", "sections", "present", "absent"),
    [
        (
            ROUTED_WRONGLY,
            {"training": {"loss_weights": {"global_kl": 0.2, "local_kl": 0.03}}},
            ["loss_weights.global_kl (now 0.2)", "loss_weights.local_kl (now 0.03)", "early_signal_ratio (now 0.3)"],
            ["collapse"],
        ),
        (
            ROUTED_WRONGLY,
            {"model": {"use_film": False}},
            ["condition the decoder by FiLM: --model.use_film (now "],
            [],
        ),
        (
            ROUTED_WRONGLY,
            {"training": {"use_hierarchical_loss": False}},
            ["training.use_hierarchical_loss (now false)"],
            ["global_kl"],
        ),
        (ROUTED_WRONGLY, {"model": {"model_type": "standard"}}, ['model.model_type (now "standard")'], ["global_kl"]),
        (
            SPIKED,
            {"training": {"learning_rate": 0.5}},
            ["learning_rate (now 0.5)", "phases.warmup (now 0.35)", "gradient_clip_norm (now 1.0)"],
            [],
        ),
        (
            SPIKED,
            {"training": {"gradient_clip_norm": None}},
            ["clip gradients: --training.gradient_clip_norm (now nul"],
            [],
        ),
        (
            DEAD_LOCAL,
            {"training": {"loss_weights": {"local_kl": 3.0}}},
            [
                "loss_weights.local_kl (now 3.0)",
                "local_latent_dim (now 40)",
                "dropout (now 0.2)",
                "weight_decay (now 0.0",
            ],
            ["global_latent_dim"],
        ),
    ],
)
def test_remedies_name_keys_and_present_values(history, sections, present, absent):
    (finding,) = diagnose(config(**sections), history)
    assert all(words in finding.remedy for words in present), finding.remedy
    assert not any(words in finding.remedy for words in absent), finding.remedy


def test_the_swap_consistency_is_named_with_its_weight():
    (finding,) = diagnose(config(), ROUTED_WRONGLY)
    assert f"training.loss_weights.swap (now {config().training.loss_weights.swap})" in finding.remedy


def test_a_collapse_is_to_be_mended_before_disentanglement():
    routing, _ = diagnose(config(), changed({"local_active_units": 0.0, "disentanglement": 0.0}))
    assert routing.remedy.startswith("fix the collapse first")


def test_figures_say_what_was_examined_also_where_there_is_no_trouble():
    figures = examine(config(), healthy()).figures
    assert "disentanglement 0.70" in str(figures[DISENTANGLEMENT])
    assert "gradient norm 1.5 in epoch 20" in str(figures[INSTABILITY])
    assert "KL balance 25% global" in str(figures[COLLAPSE])
    early = examine(config(), healthy(5)).figures
    assert early[DISENTANGLEMENT] is early[COLLAPSE] is None
    assert "in epoch 5" in str(early[INSTABILITY])
    assert set(examine(config(), []).figures.values()) == {None}


@pytest.mark.parametrize(("global_kl", "local_kl", "balance"), [(1.0, 3.0, 0.25), (3.0, 0.0, 1.0), (0.0, 0.0, 0.5)])
def test_kl_balance(global_kl, local_kl, balance):
    assert kl_balance({"global_kl": global_kl, "local_kl": local_kl}) == balance


INTERMEDIATE = {"intermediate_kl": 3.0, "intermediate_active_units": 8.0, "intermediate_beta": 2.0}


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        (INTERMEDIATE, []),
        (INTERMEDIATE | {"intermediate_active_units": 0.0}, [COLLAPSE]),
        (INTERMEDIATE | {"intermediate_kl": 0.6, "global_kl": 5.0, "local_kl": 6.3}, []),  # 5.04 % of the nats
        (INTERMEDIATE | {"intermediate_kl": 0.6, "global_kl": 5.0, "local_kl": 6.5}, [COLLAPSE]),
        (INTERMEDIATE | {"intermediate_kl": 0.9, "intermediate_active_units": 3.0}, [COLLAPSE]),  # 9.4 % of 32
    ],
)
def test_an_intermediate_latent_collapses_as_the_others_do(metrics, expected):
    levels = config(model={"intermediate_levels": 2, "intermediate_latent_dim": 16})
    found = diagnose(levels, changed(metrics))
    assert [finding.trouble for finding in found] == expected
    for finding in found:
        assert "z_intermediate has" in finding.evidence
        assert "training.loss_weights.intermediate_kl (now 0.003)" in finding.remedy
        assert "model.intermediate_latent_dim (now 16)" in finding.remedy


def test_the_kl_balance_counts_an_intermediate_latent():
    assert kl_balance({"global_kl": 1.0, "intermediate_kl": 2.0, "local_kl": 1.0}) == 0.25


def test_a_model_no_better_than_the_mean_is_found_in_its_history_and_in_its_metrics():
    poor = changed({"reconstruction_nmse": 1.0001})
    [finding] = diagnose(config(), poor)
    assert finding.trouble == "poor reconstruction"
    assert "reconstruction_nmse is 1.0001 on the validation part" in finding.evidence


@pytest.mark.parametrize(("nmse", "expected"), [(1.2, ["poor reconstruction"]), (0.9, [])])
def test_reconstruction_is_judged_however_short_the_training(nmse, expected):
    assert [each.trouble for each in diagnose(config(), healthy(2), {"reconstruction_nmse": nmse})] == expected


def test_after_few_epochs_the_only_advice_is_to_train_longer():
    """Otherwise collapse and disentanglement would be advised to move the KL weights together and apart."""
    history = [
        dict(epoch, phase=3, reconstruction_nmse=1.1, disentanglement=0.0, global_active_units=0.0)
        for epoch in healthy(3)
    ]
    found = diagnose(config(training={"epochs": 3}), history)
    assert [finding.trouble for finding in found] == ["poor reconstruction", DISENTANGLEMENT, COLLAPSE]
    for finding in found:
        assert finding.remedy.startswith(
            "train longer first, 10 epochs or more: --training.epochs (now 3); only 2 epochs"
        )


def test_present_values_have_three_digits():
    history = changed({"disentanglement": 0.1})
    (finding,) = diagnose(config(training={"loss_weights": {"swap": 1.4823956102983}}), history)
    assert "--training.loss_weights.swap (now 1.48)" in finding.remedy
