import numpy as np
import pytest
import torch

from hcvae.bundle import Bundle
from hcvae.data.table import check_table, signals_of
from hcvae.errors import UserError
from hcvae.generation import complete_condition, generate, vary
from hcvae.peaks import valid_waves


def test_the_result_is_a_waveform_table_in_condition_major_order(bundle):
    conditions = [{"sex": "F", "stimulus_level_db": level} for level in (60.0, 20.0)]
    table = generate(bundle, conditions, n_samples=3)
    assert table["stimulus_level_db"].to_pylist() == [60.0] * 3 + [20.0] * 3
    assert table["sample"].to_pylist() == [0, 1, 2] * 2
    assert table.schema.metadata[b"sampling_rate_hz"] == b"20000"
    data = bundle.config.data.model_copy(update={"subject_column": "sex", "recording_columns": ("sample",)})
    assert check_table(table, data, 200, "generated").num_rows == 6


def test_rows_are_the_decoder_s_output_in_uv_at_the_scale_of_their_group(bundle):
    for sex in ("F", "M"):
        condition = complete_condition(bundle, {"sex": sex})
        table = generate(bundle, [condition], n_samples=4, seed=5)
        static = torch.from_numpy(bundle.preprocessing.static.encode(table))
        generator = torch.Generator().manual_seed(5)
        z_global = torch.randn(4, 3, generator=generator)
        z_local = torch.randn(4, 4, generator=generator)
        with torch.no_grad():
            decoded = bundle.model.decode(z_global, z_local, static)
        scale = bundle.preprocessing.signal.groups[sex]
        expected = decoded["recon_signal"].numpy() * scale.std_uv + scale.mean_uv
        np.testing.assert_allclose(signals_of(table), expected, rtol=1e-4, atol=1e-6)
        latency_ms = np.array(table["peak_latency_ms"].to_pylist())
        np.testing.assert_allclose(latency_ms[:, [0, 2, 4]], decoded["predicted_peaks"][:, :3].numpy(), rtol=1e-5)
        assert np.isnan(latency_ms[:, [1, 3]]).all()
        assert np.array(table["peak_valid"].to_pylist()).tolist() == [[True, False, True, False, True]] * 4
    scales = bundle.preprocessing.signal.groups
    assert scales["M"].std_uv == pytest.approx(10 * scales["F"].std_uv, rel=0.3)


def test_residual_noise_is_added_in_uv_at_the_scale_of_the_group_and_the_metadata_say_so(bundle):
    torch.manual_seed(1)
    signals = torch.randn(600, 200)
    bundle.model.residual.fit(torch.zeros(600, 7), 0.3 * signals, torch.zeros(600, 200))
    for sex in ("F", "M"):
        expected, noisy = (generate(bundle, [{"sex": sex}], 400, residual_noise=noise) for noise in (False, True))
        noise_uv = signals_of(noisy) - signals_of(expected)
        assert noise_uv.std() == pytest.approx(0.3 * bundle.preprocessing.signal.groups[sex].std_uv, rel=0.02)
        assert expected.schema.metadata[b"residual_noise"] == b"false"
        assert noisy.schema.metadata[b"residual_noise"] == b"true"
        for name in ("peak_latency_ms", "peak_amplitude_uv"):
            np.testing.assert_array_equal(np.array(noisy[name].to_pylist()), np.array(expected[name].to_pylist()))


def test_the_same_seed_gives_the_same_table(bundle):
    first, again, other = (signals_of(generate(bundle, [{"sex": "F"}], 5, seed)) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_waves_that_no_training_row_had_labelled_are_not_predicted(bundle):
    unlabelled = bundle.preprocessing.model_copy(update={"labelled_waves": ("V",)})
    table = generate(Bundle(bundle.model, bundle.config, unlabelled, {}, []), [{"sex": "F"}], 2)
    assert table["peak_valid"].to_pylist() == [[False, False, False, False, True]] * 2


def test_2000_waveforms_of_a_short_training_have_possible_peaks(trained_bundle):
    levels = [{"stimulus_level_db": level} for level in (0.0, 30.0, 60.0, 90.0)]
    table = generate(trained_bundle, levels, 500, extrapolate=True)
    assert_within_and_in_order(np.array(table["peak_latency_ms"].to_pylist())[:, [0, 2, 4]])
    assert table["peak_valid"].to_pylist() == [[True, False, True, False, True]] * 2000


def test_peaks_are_within_the_waveform_and_in_order_for_any_latents(trained_bundle):
    z_global, z_local = (20 * torch.randn(2000, dim) for dim in (3, 4))
    sampled = trained_bundle.model.sample(n_samples=2000, z_global=z_global, z_local=z_local)
    assert_within_and_in_order(sampled["generated_peaks"][:, :3].numpy())


def assert_within_and_in_order(latency_ms: np.ndarray) -> None:
    assert latency_ms.std(axis=0).min() > 0.01
    ends = np.zeros((2000, 1)), np.full((2000, 1), 9.95)
    assert (np.diff(np.hstack([ends[0], latency_ms, ends[1]]), axis=1) > 0).all()


def test_peaks_far_outside_the_labels_of_the_training_are_not_valid(trained_bundle):
    """Interpolation and `sample` accept any latents; 1e6 standard deviations give waveforms of 1e20 uV."""
    z_global, z_local = (1e6 * torch.randn(50, dim) for dim in (3, 4))
    sampled = trained_bundle.model.sample(n_samples=50, z_global=z_global, z_local=z_local)
    assert not valid_waves(sampled["generated_peaks"], trained_bundle.preprocessing).all(dim=1).any()


@pytest.mark.parametrize("temperature", [-1, 3.5, 1e6, float("nan"), float("inf")])
def test_a_temperature_outside_0_to_3_is_refused(bundle, temperature):
    with pytest.raises(UserError, match="temperature: must be a number from 0 to 3, but got"):
        generate(bundle, [{"sex": "F"}], 3, temperature=temperature)


def test_no_samples_are_refused(bundle):
    with pytest.raises(UserError, match="n_samples >= 1 must hold, but got 0"):
        generate(bundle, [{"sex": "F"}], 0)


@pytest.mark.parametrize("temperature", [0.0, 0.5])
def test_the_temperature_is_a_factor_on_the_drawn_latents_spread(bundle, temperature):
    condition = complete_condition(bundle, {"sex": "F"})
    table = generate(bundle, [condition], 3, seed=5, temperature=temperature)
    generator = torch.Generator().manual_seed(5)
    z_global, z_local = (temperature * torch.randn(3, dim, generator=generator) for dim in (3, 4))
    assert_decoded(bundle, table, z_global, z_local)


@pytest.mark.parametrize("fix", ["global", "local", "both"])
def test_a_recording_s_latent_is_kept_and_the_other_drawn(bundle, two, fix):
    _, recording = two
    levels = [{"stimulus_level_db": level} for level in (40.0, 80.0)]
    table = vary(bundle, recording, fix, 3, seed=5, conditions=levels)
    assert table["stimulus_level_db"].to_pylist() == [40.0] * 3 + [80.0] * 3
    assert table["sex"].to_pylist() == ["M"] * 6
    generator = torch.Generator().manual_seed(5)
    latents = {
        block: recording.latents[block].repeat(6, 1)
        if fix in (block, "both")
        else torch.randn(6, dim, generator=generator)
        for block, dim in (("global", 3), ("local", 4))
    }
    assert_decoded(bundle, table, latents["global"], latents["local"])
    signals = signals_of(table)
    assert (np.ptp(signals[:3], axis=0).max() > 1e-3) == (fix != "both")


def assert_decoded(bundle, table, z_global, z_local):
    """That the table's waveforms are those of the latents, in uV."""
    with torch.no_grad():
        static = torch.from_numpy(bundle.preprocessing.static.encode(table))
        expected = bundle.model.decode(z_global, z_local, static)["recon_signal"].numpy()
    scales = [bundle.preprocessing.signal.groups[sex] for sex in table["sex"].to_pylist()]
    mean, std = (np.array([getattr(scale, name) for scale in scales])[:, None] for name in ("mean_uv", "std_uv"))
    np.testing.assert_allclose(signals_of(table), expected * std + mean, rtol=1e-4, atol=1e-5)


def test_another_word_for_what_is_kept_is_refused(bundle, two):
    with pytest.raises(UserError, match="fix: must be 'global', 'local' or 'both', but got 'shape'"):
        vary(bundle, two[0], "shape")
