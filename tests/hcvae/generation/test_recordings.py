import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from hcvae import cli
from hcvae.bundle import save_bundle
from hcvae.config import Config
from hcvae.data.dataset import prepare
from hcvae.data.simulator import simulate
from hcvae.data.table import signals_of
from hcvae.errors import UserError
from hcvae.generation import complete_condition, encode_recording, read_recording


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return simulate(40, 1)


def test_latents_are_the_posterior_s_means_of_the_normalised_waveform(bundle, table):
    recording = encode_recording(bundle, table.slice(7, 1))
    scale = bundle.preprocessing.signal.groups[table["sex"][7].as_py()]
    signal = torch.from_numpy((signals_of(table)[7:8] - scale.mean_uv) / scale.std_uv).float()
    with torch.no_grad():
        static = torch.from_numpy(bundle.preprocessing.static.encode(table.slice(7, 1)))
        posterior = bundle.model.encode(signal, static)
    assert recording.assumed == ()
    for name in ("age_years", "sex", "stimulus_level_db"):
        assert recording.condition[name] == pytest.approx(table[name][7].as_py())
    for block in ("global", "local"):
        np.testing.assert_allclose(recording.latents[block], posterior[f"mu_{block}"], rtol=1e-4, atol=1e-5)


def test_one_row_of_a_file_is_read_whatever_its_row_groups(bundle, table, tmp_path):
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=7)
    for row in (0, 6, 7, 39):
        read = read_recording(bundle, tmp_path / "a.parquet", row, extrapolate=True)
        expected = encode_recording(bundle, table.slice(row, 1), extrapolate=True)
        assert read.condition == expected.condition
        assert torch.equal(read.latents["local"], expected.latents["local"])
    with pytest.raises(UserError, match=r"a\.parquet: row must be 0 to 39, but got 40"):
        read_recording(bundle, tmp_path / "a.parquet", 40)


def test_columns_that_the_table_lacks_are_completed_and_named(bundle, table):
    recording = encode_recording(bundle, table.slice(0, 1).drop_columns(["age_years"]))
    assert recording.assumed == ("age_years",)
    own = {name: table[name][0].as_py() for name in recording.condition if name != "age_years"}
    assert recording.condition == complete_condition(bundle, own)


def test_a_null_that_no_training_row_had_is_completed_like_a_missing_column(bundle, table):
    lacking = encode_recording(bundle, table.slice(0, 1).drop_columns(["age_years", "hearing_loss_db"]))
    null = with_column(with_column(table.slice(0, 1), "age_years", [None]), "hearing_loss_db", [None])
    recording = encode_recording(bundle, null)
    assert set(recording.assumed) == {"age_years", "hearing_loss_db"}
    assert recording.condition == lacking.condition


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.slice(0, 1).drop_columns(["signal"]), "must be one row with a column 'signal'"),
        (lambda t: t, "must be one row .* but got 40 rows"),
        (lambda t: t.slice(0, 1).replace_schema_metadata({"sampling_rate_hz": "10000"}), "20000 Hz, but got 10000 Hz"),
        (lambda t: with_column(t.slice(0, 1), "signal", [[0.0] * 100]), "must hold 200 values"),
        (lambda t: with_column(t.slice(0, 1), "signal", [[float("nan")] * 200]), "NaN or infinite"),
        (lambda t: with_column(t.slice(0, 1), "stimulus_level_db", [150.0]), "here: .*trained on .* but got 150"),
    ],
)
def test_what_the_model_cannot_encode_is_refused(bundle, table, change, message):
    with pytest.raises(UserError, match=message):
        encode_recording(bundle, change(table), "here")


def with_column(table: pa.Table, name: str, values: list[object]) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), name, pa.array(values))


def test_files_that_are_no_tables_are_refused(bundle, tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_recording(bundle, tmp_path / "a.parquet")
    (tmp_path / "a.parquet").write_text("t_ms,uV")
    with pytest.raises(UserError, match="must be a readable Parquet waveform table"):
        read_recording(bundle, tmp_path / "a.parquet")


def test_like_a_real_human_recording_keeps_its_global_latent_and_varies_the_local(
    recordings, untrained_bundle, tmp_path
):
    path = recordings / "human_click_shipm.parquet"
    config = Config.model_validate(
        {
            "model": {"width": 0.05, "global_latent_dim": 3, "local_latent_dim": 4},
            "data": {"tables": [str(path)], "static": ["stimulus_level_db", "n_averages"]},
        }
    )
    bundle = untrained_bundle(config, prepare(config))
    resolved = config.model_copy(update={"model": config.model.model_copy(update={"static_dim": 2})})
    save_bundle(
        tmp_path / "model",
        type(bundle)(bundle.model, resolved, bundle.preprocessing, {"validation": {}, "test": {}}, []),
        "",
        (),
    )
    out = tmp_path / "like.parquet"
    words = ["generate", tmp_path / "model", "--like", path, "--row", 12, "--samples", 4, "--seed", 3, "--out", out]
    assert cli.run(list(map(str, words))) == 0
    made, source = pq.read_table(out), pq.read_table(path).slice(12, 1)
    scale = bundle.preprocessing.signal.groups[""]
    with torch.no_grad():
        static = torch.from_numpy(bundle.preprocessing.static.encode(source))
        posterior = bundle.model.encode(
            torch.from_numpy((signals_of(source) - scale.mean_uv) / scale.std_uv).float(), static
        )
        z_local = torch.randn(4, 4, generator=torch.Generator().manual_seed(3))
        output = bundle.model.decode(posterior["mu_global"].repeat(4, 1), z_local, static.repeat(4, 1))
    expected = output["recon_signal"].numpy() * scale.std_uv + scale.mean_uv
    np.testing.assert_allclose(signals_of(made), expected, rtol=1e-4, atol=1e-5)
    assert np.ptp(signals_of(made), axis=0).max() > 1e-3
    assert made["stimulus_level_db"].to_pylist() == [source["stimulus_level_db"][0].as_py()] * 4
    assert "peak_latency_ms" in made.column_names
