"""HierarchicalCVAE: sizes, forward, sample, training with one row, older interfaces."""

import pytest
import torch

from hcvae.config import ModelConfig
from hcvae.errors import UserError
from hcvae.models import HierarchicalCVAE, StandardCVAE, build

G, L, S, T = 4, 6, 3, 50


def small(**changes):
    torch.manual_seed(0)
    arguments = {"signal_length": T, "static_dim": S, "global_latent_dim": G, "local_latent_dim": L, "width": 0.1}
    return HierarchicalCVAE(**{**arguments, **changes})


def batch(rows):
    torch.manual_seed(1)
    return torch.randn(rows, T), torch.randn(rows, S)


def test_parameter_counts_are_the_specifications():
    model = HierarchicalCVAE(
        signal_length=200,
        static_dim=7,
        global_latent_dim=32,
        local_latent_dim=32,
        predict_peaks=True,
        use_film=True,
        early_signal_ratio=0.3,
    )
    parts = (model.encoder.global_encoder, model.encoder.local_encoder, model.decoder, model)
    counts = [sum(parameter.numel() for parameter in part.parameters()) for part in parts]
    assert counts == [418_816, 626_624, 9_479_061, 10_524_501]


def test_names_in_the_state_dict_are_those_of_the_bundles_of_format_version_1():
    linear, norm = ("weight", "bias"), ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    layers = [f"encoder.{level}_encoder.{level}_layers.{{}}" for level in ("global", "local")]
    encoder = {f"{layer.format(4 * i)}.{part}" for layer in layers for i in range(4) for part in linear}
    encoder |= {f"{layer.format(4 * i + 2)}.{part}" for layer in layers for i in range(4) for part in norm}
    encoder |= {
        f"encoder.{level}_encoder.head.{name}.{part}"
        for level in ("global", "local")
        for name in ("mu", "logvar")
        for part in linear
    }
    decoder_layers = [
        *(f"decoder.layers.{i}" for i in range(4)),
        *(f"decoder.heads.{head}.0" for head in ("recon_signal", "recon_static_params", "predicted_peaks")),
        "decoder.heads.recon_static_params.1",
    ]
    decoder = {f"{layer}.0.{part}" for layer in decoder_layers for part in linear}
    decoder |= {f"{layer}.1.{part}" for layer in decoder_layers for part in norm}
    decoder |= {
        f"decoder.films.{i}.{net}.{part}" for i in range(4) for net in ("hidden", "gamma", "beta") for part in linear
    }
    outputs = ("recon_signal.1", "recon_static_params.2", "predicted_peaks.1")
    decoder |= {f"decoder.heads.{output}.{part}" for output in outputs for part in linear}
    regressions = {"prior_global": "mean", "prior_local": "mean", "residual": "log_rms"}
    fitted = {"residual.spread", *(f"{name}.factor" for name in regressions)}
    fitted |= {f"{name}.{of}.{part}" for name, of in regressions.items() for part in ("centres", "reach", "weight")}
    assert set(HierarchicalCVAE(width=0.1).state_dict()) == encoder | decoder | fitted


def test_forward_is_encode_reparameterise_decode():
    model = small().eval()
    signals, static = batch(5)
    noise = (torch.randn(5, G), torch.randn(5, L))
    out = model(signals, static, noise)
    posterior = model.encode(signals, static)
    z_global = posterior["mu_global"] + noise[0] * posterior["logvar_global"].exp().sqrt()
    z_local = posterior["mu_local"] + noise[1] * posterior["logvar_local"].exp().sqrt()
    torch.testing.assert_close(out["z_global"], z_global)
    torch.testing.assert_close(out["z_local"], z_local)
    torch.testing.assert_close(out["recon_signal"], model.decode(z_global, z_local, static)["recon_signal"])
    assert set(out) == {
        *("recon_signal", "recon_static_params", "predicted_peaks"),
        *("mu_global", "logvar_global", "mu_local", "logvar_local", "z_global", "z_local"),
    }


def test_forward_samples_again_in_eval_mode_too():
    model = small().eval()
    signals, static = batch(5)
    assert not torch.equal(model(signals, static)["z_global"], model(signals, static)["z_global"])


def test_a_batch_of_one_trains():
    model = small(static_from_latents=True).train()
    signals, static = batch(1)
    out = model(signals, static)
    sum(value.square().sum() for value in out.values()).backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in model.parameters())


def test_no_tensor_value_is_read_on_the_host():
    # Meta tensors have no values: .item(), boolean indexing and branches on them raise.
    model = small(static_from_latents=True).to("meta").train()
    out = model(torch.empty(8, T, device="meta"), torch.empty(8, S, device="meta"))
    out["recon_signal"].sum().backward()


def test_sample_has_n_rows_for_each_condition_in_their_order():
    model = small().eval()
    _, conditions = batch(3)
    out = model.sample(conditions, n_samples=4, generator=torch.Generator().manual_seed(0))
    shapes = {name: tuple(value.shape) for name, value in out.items()}
    assert shapes == {
        "generated_signals": (12, T),
        "generated_static_params": (12, S),
        "generated_peaks": (12, 6),
        "z_global": (12, G),
        "z_local": (12, L),
    }
    for row in range(12):
        alone = model.decode(out["z_global"][row : row + 1], out["z_local"][row : row + 1], conditions[[row // 4]])
        torch.testing.assert_close(out["generated_signals"][[row]], alone["recon_signal"])
    assert out["z_global"].unique(dim=0).shape[0] == 12


def test_sample_accepts_latents_for_all_rows_for_each_condition_and_for_each_row():
    model = small()
    _, conditions = batch(3)
    one, each, rows = torch.randn(1, G), torch.randn(4, L), torch.randn(12, G)
    out = model.sample(conditions, n_samples=4, z_global=one, z_local=each)
    assert torch.equal(out["z_global"], torch.cat([one] * 12))
    assert torch.equal(out["z_local"], torch.cat([each] * 3))  # rows 0..3 of every condition
    assert torch.equal(model.sample(conditions, n_samples=4, z_global=rows)["z_global"], rows)


def test_sample_samples_missing_latents_from_the_prior():
    model = small()
    out = model.sample(n_samples=4000, z_global=torch.zeros(1, G), generator=torch.Generator().manual_seed(0))
    assert torch.equal(out["z_global"], torch.zeros(4000, G))
    # 4000 x 6 standard-normal draws: 6 standard errors of mean (0.0065) and variance (0.0091).
    assert abs(out["z_local"].mean()) < 0.04
    assert abs(out["z_local"].var() - 1) < 0.06


def test_sample_without_conditions_takes_zeros_and_as_many_rows_as_the_latents():
    model = small().eval()
    assert model.sample()["generated_signals"].shape == (1, T)
    z_global, z_local = torch.randn(5, G), torch.randn(5, L)
    out = model.sample(z_global=z_global, z_local=z_local)
    expected = model.decode(z_global, z_local, torch.zeros(5, S))["recon_signal"]
    torch.testing.assert_close(out["generated_signals"], expected)
    assert model.sample(z_global=z_global)["z_local"].shape == (5, L)


def test_sample_is_determined_by_its_generator():
    model = small()
    first, again, other = (
        model.sample(n_samples=2, generator=torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)
    )
    assert torch.equal(first["generated_signals"], again["generated_signals"])
    assert not torch.equal(first["generated_signals"], other["generated_signals"])


def test_sample_restores_the_mode_of_every_part_and_leaves_no_gradient_or_statistics():
    model = small().train()
    model.encoder.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    out = model.sample(n_samples=2)
    assert model.training
    assert model.decoder.training
    assert not model.encoder.training
    assert not out["generated_signals"].requires_grad
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model.eval().sample()
    assert not model.training


def test_sample_restores_the_mode_after_an_error():
    model = small().train()
    with pytest.raises(RuntimeError, match="dtype"):
        model.sample(torch.zeros(1, S, dtype=torch.float64))
    assert model.decoder.training


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"z_global": torch.zeros(5, G)},
            rf"z_global: for 3 conditions and n_samples=4 .* \[1, {G}\], \[4, {G}\] or \[12, {G}\], but got \[5, {G}\]",
        ),
        ({"z_local": torch.zeros(4, L + 1)}, rf"z_local: the shape must be \[rows, {L}\], but got \[4, {L + 1}\]"),
        ({"z_local": torch.zeros(L)}, rf"z_local: the shape must be \[rows, {L}\], but got \[{L}\]"),
        ({"static_params": torch.zeros(3, S + 2)}, rf"static_params: the shape must be \[rows, {S}\]"),
        ({"n_samples": 0}, "n_samples: must be at least 1, but got 0"),
    ],
)
def test_sample_reports_which_shapes_are_right(arguments, message):
    with pytest.raises(UserError, match=message):
        small().sample(**{"static_params": torch.zeros(3, S), "n_samples": 4, **arguments})


def test_encode_and_decode_report_which_shapes_are_right():
    model = small()
    with pytest.raises(UserError, match=rf"signals: the shape must be \[rows, {T}\], but got \[2, {T + 1}\]"):
        model.encode(torch.zeros(2, T + 1), torch.zeros(2, S))
    with pytest.raises(UserError, match=rf"z_global: the shape must be \[rows, {G}\]"):
        model.decode(torch.zeros(2, L), torch.zeros(2, G), torch.zeros(2, S))


@pytest.mark.parametrize(
    "bad",
    [
        {"signal_length": 0},
        {"static_dim": -1},
        {"global_latent_dim": 0},
        {"local_latent_dim": 2.5},
        {"width": -1},
        {"intermediate_levels": 3},
        {"intermediate_latent_dim": 0},
        {"local_segments": 0},
    ],
)
def test_bad_arguments_are_refused_by_name(bad):
    with pytest.raises(ValueError, match=f"{next(iter(bad))}: "):
        small(**bad)


def test_the_specification_s_interfaces():
    model = small().eval()
    signals, static = batch(5)
    assert model.get_latent_dims() == {"global_latent_dim": G, "local_latent_dim": L, "total_latent_dim": G + L}
    recon, recon_static, mu, logvar = model.forward_legacy(signals, static)
    assert recon.shape == (5, T)
    assert recon_static.shape == (5, S)
    posterior = model.encode(signals, static)
    assert torch.equal(mu, torch.cat([posterior["mu_global"], posterior["mu_local"]], dim=1))
    assert torch.equal(logvar[:, G:], posterior["logvar_local"])
    combined = model.forward_from_combined_z(mu, static)["recon_signal"]
    assert torch.equal(combined, model.decode(mu[:, :G], mu[:, G:], static)["recon_signal"])
    with pytest.raises(UserError, match=rf"z: the shape must be \[rows, {G + L}\]"):
        model.forward_from_combined_z(mu[:, 1:], static)


def test_autocast_leaves_outputs_in_full_precision():
    model = small(static_from_latents=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = model(*batch(4))
    assert {value.dtype for value in out.values()} == {torch.float32}


def test_double_precision_stays():
    signals, static = batch(4)
    out = small().double()(signals.double(), static.double())
    assert {value.dtype for value in out.values()} == {torch.float64}


def built(**changes):
    return build(ModelConfig.model_validate({"static_dim": 5, "signal_length": 64, "width": 0.1} | changes))


def test_build_makes_the_type_of_model_that_is_named():
    assert isinstance(built(), HierarchicalCVAE)
    assert isinstance(built(model_type="standard"), StandardCVAE)


def test_build_passes_sizes_on():
    sizes = {"global_latent_dim": 3, "local_latent_dim": 9, "intermediate_levels": 2, "intermediate_latent_dim": 5}
    model = built(**sizes, width=0.2)
    assert model.latent_dims == {"global": 3, "intermediate": 10, "local": 9}
    assert model.encoder.global_encoder.global_layers[0].out_features == 128
    assert model(torch.randn(2, 64), torch.randn(2, 5))["mu_local"].shape == (2, 9)


def test_build_passes_heads_on():
    out = built(predict_peaks=False, static_from_latents=True)(torch.randn(2, 64), torch.randn(2, 5))
    assert "predicted_peaks" not in out
    assert out["recon_static_from_latents"].shape == (2, 5)


def test_build_passes_the_parts_of_encoder_and_decoder_on():
    model = built(use_film=False, early_signal_ratio=0.5, attention=True, local_segments=3, local_latent_dim=33)
    assert len(model.decoder.films) == 0
    assert model.encoder.local_encoder.early_signal_length == 32
    assert model.encoder.exchange is not None
    assert model.decoder.segments.n_segments == 3


def test_build_passes_regularisation_on():
    modules = [*built(dropout=0.4, batch_norm=False).modules()]
    assert {module.p for module in modules if isinstance(module, torch.nn.Dropout)} == {0.4}
    assert not any(isinstance(module, torch.nn.BatchNorm1d) for module in modules)


def test_build_needs_the_number_of_static_parameters():
    with pytest.raises(UserError, match=r"model\.static_dim: .* null"):
        build(ModelConfig())
