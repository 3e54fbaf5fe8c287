import numpy as np
import pytest
import torch

from hcvae.data.table import signals_of
from hcvae.errors import UserError
from hcvae.generation import decode, interpolate, swap


def decoded(bundle, condition, z_global, z_local) -> tuple[np.ndarray, np.ndarray]:
    """The model's own waveform in uV [T] and latencies in ms [3]."""
    one = decode(bundle, [condition], {"global": z_global, "local": z_local}).select(list(condition))
    static = torch.from_numpy(bundle.preprocessing.static.encode(one))
    with torch.no_grad():
        output = bundle.model.decode(z_global, z_local, static)
    scale = bundle.preprocessing.signal.groups[condition["sex"]]
    return output["recon_signal"][0].numpy() * scale.std_uv + scale.mean_uv, output["predicted_peaks"][0, :3].numpy()


def assert_row(table, row, expected):
    signal_uv, latency_ms = expected
    np.testing.assert_allclose(signals_of(table)[row], signal_uv, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.array(table["peak_latency_ms"][row].as_py())[[0, 2, 4]], latency_ms, rtol=1e-5)


def test_an_interpolation_ends_in_the_two_recordings_reconstructions(bundle, two):
    table = interpolate(bundle, *two, steps=5)
    assert table["share"].to_pylist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    for row, end in ((0, two[0]), (4, two[1])):
        assert_row(table, row, decoded(bundle, end.condition, end.latents["global"], end.latents["local"]))


def test_between_the_ends_latents_and_numbers_change_in_equal_steps_and_texts_at_once(bundle, two):
    first, second = two
    table = interpolate(bundle, first, second, steps=5)
    assert table["sex"].to_pylist() == ["F", "F", "M", "M", "M"]
    ends = [end.condition["stimulus_level_db"] for end in two]
    np.testing.assert_allclose(table["stimulus_level_db"].to_numpy(), np.linspace(*ends, 5))
    numbers = {name: first.condition[name] for name in first.condition if name != "sex"}
    quarter = {name: 0.75 * value + 0.25 * second.condition[name] for name, value in numbers.items()}
    latents = (0.75 * first.latents[block] + 0.25 * second.latents[block] for block in ("global", "local"))
    assert_row(table, 1, decoded(bundle, {**first.condition, **quarter}, *latents))


def test_a_condition_can_be_held_on_the_way(bundle, two):
    table = interpolate(bundle, *two, steps=3, condition={"sex": "F", "stimulus_level_db": 50.0})
    assert table["sex"].to_pylist() == ["F"] * 3
    assert table["stimulus_level_db"].to_pylist() == [50.0] * 3
    with pytest.raises(UserError, match=r"trained on .* but got 500"):
        interpolate(bundle, *two, condition={"sex": "F", "stimulus_level_db": 500.0})
    with pytest.raises(UserError, match="steps >= 2 must hold, but got 1"):
        interpolate(bundle, *two, steps=1)


def test_an_exchange_decodes_one_s_global_with_the_other_s_local_latent_under_the_first_s_condition(bundle, two):
    for first, second in (two, two[::-1]):
        table = swap(bundle, first, second)
        assert table.num_rows == 1
        assert_row(table, 0, decoded(bundle, first.condition, first.latents["global"], second.latents["local"]))
    quiet = swap(bundle, *two, condition={"stimulus_level_db": 20.0})
    assert quiet["stimulus_level_db"].to_pylist() == [20.0]
