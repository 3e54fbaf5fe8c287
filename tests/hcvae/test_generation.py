import numpy as np
import pyarrow as pa
import pytest
import torch

from hcvae.bundle import Bundle
from hcvae.config import Config
from hcvae.data.dataset import Dataset, prepare
from hcvae.data.simulator import simulate
from hcvae.data.table import check_table, signals_of, write_table
from hcvae.errors import UserError
from hcvae.generation import complete_condition, generate, parse_condition
from hcvae.models import build


@pytest.fixture(scope="module")
def grouped(tmp_path_factory) -> tuple[Config, Dataset]:
    """Simulated recordings in which the scale of `sex=M` is ten times that of `sex=F`."""
    table = simulate(1000, 0)
    scale = np.where(table["sex"].to_numpy(zero_copy_only=False) == "M", 10, 1).astype(np.float32)
    position = table.schema.get_field_index("signal")
    signals = (signals_of(table) * scale[:, None]).ravel()
    table = table.set_column(position, "signal", pa.FixedSizeListArray.from_arrays(signals, 200))
    path = tmp_path_factory.mktemp("data") / "table.parquet"
    write_table(table, path)
    config = Config.model_validate(
        {
            "model": {"width": 0.05, "global_latent_dim": 3, "local_latent_dim": 4},
            "data": {"tables": [str(path)]},
            "normalization": {"group_by": "sex"},
        }
    )
    return config, prepare(config)


@pytest.fixture
def bundle(grouped) -> Bundle:
    config, data = grouped
    torch.manual_seed(0)
    model = build(config.model.model_copy(update={"static_dim": data.preprocessing.static.dim})).eval()
    return Bundle(model, config, data.preprocessing, {}, [])


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


def test_columns_left_out_take_the_median_or_most_frequent_training_value_of_their_group(bundle, grouped):
    _, data = grouped
    table = simulate(1000, 0).take(data.split.train)
    rows = table["sex"].to_numpy(zero_copy_only=False) == "M"
    condition = complete_condition(bundle, {"sex": "M"})
    rates = np.sort(table["stimulus_rate_hz"].to_numpy()[rows])
    assert condition["stimulus_rate_hz"] == rates[(len(rates) - 1) // 2]
    assert complete_condition(bundle, {"sex": "M", "age_years": 30.0})["age_years"] == 30.0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sex": "F", "stimulus_level": 60.0}, "no such column; did you mean 'stimulus_level_db'?"),
        ({}, r"condition sex: must be given, one of \['F', 'M'\]"),
        ({"sex": "X"}, r"condition sex: must be one of \['F', 'M'\], but got 'X'"),
        ({"sex": "F", "age_years": None}, "'age_years': must be known, but got null"),
    ],
)
def test_conditions_that_the_model_does_not_know_are_refused(bundle, given, message):
    with pytest.raises(UserError, match=message.replace("?", r"\?")):
        generate(bundle, [given], 1)


def test_text_of_the_command_line_becomes_the_column_s_type(bundle):
    parsed = parse_condition(bundle, {"sex": "F", "age_years": "30", "stimulus_rate_hz": "null"})
    assert parsed == {"sex": "F", "age_years": 30.0, "stimulus_rate_hz": None}
    with pytest.raises(UserError, match="condition age_years: must be a number or null, but got 'old'"):
        parse_condition(bundle, {"age_years": "old"})


def test_no_samples_are_refused(bundle):
    with pytest.raises(UserError, match="n_samples >= 1 must hold, but got 0"):
        generate(bundle, [{"sex": "F"}], 0)
