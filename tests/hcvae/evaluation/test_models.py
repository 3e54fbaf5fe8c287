from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch
from scipy.signal import argrelmax
from sklearn.decomposition import PCA

from hcvae.data.normalization import GroupScale, SignalNormalization
from hcvae.data.simulator import simulate
from hcvae.data.table import write_table
from hcvae.evaluation import (
    MEASURES,
    Findings,
    evaluate_bundle,
    evaluate_condition_mean,
    evaluate_oracle,
    evaluate_principal_components,
    evaluate_recordings,
    rows_of_tables,
)
from hcvae.evaluation.figures import Illustrator
from hcvae.evaluation.generation import peak_findings
from hcvae.models import build
from hcvae.models.base import evaluating


def silent(step: str) -> None:
    pass


def test_a_bundle_scores_what_its_training_measured_on_the_same_part(trained_bundle, test_rows):
    found = evaluate_bundle(trained_bundle, test_rows, silent)
    stored = trained_bundle.metrics["test"]
    for name in ("reconstruction_nmse", "cross_average_nmse", "r2", "correlation", "disentanglement", "global_kl"):
        assert found.measures[name] == pytest.approx(stored[name], rel=1e-3, abs=1e-3)
    assert set(MEASURES) <= set(found.measures)
    assert -1 <= found.measures["j_gt"] <= 1
    assert len(found.details["factor_shares"]) == 7


def test_peaks_of_rows_too_few_for_the_swap_score_are_still_compared(trained_bundle, tmp_path):
    write_table(simulate(8, seed=5), tmp_path / "few.parquet")
    rows = rows_of_tables(trained_bundle, [str(tmp_path / "few.parquet")])
    found = evaluate_bundle(trained_bundle, rows, silent)
    assert "8 waveforms are too few" in found.left_out["disentanglement"]
    model, part = trained_bundle.model, rows.part
    with torch.no_grad(), evaluating(model):
        static = torch.from_numpy(part.static)
        means = model.encode(torch.from_numpy(part.signals), static)
        predicted = model.decode(means["mu_global"], means["mu_local"], static)["predicted_peaks"]
    latency, known = part.peaks[:, 2], part.peak_mask[:, 2]
    expected = np.abs(predicted.numpy()[:, 2] - latency)[known].mean()
    assert found.measures["peak_latency_error_ms_V"] == pytest.approx(expected, rel=1e-5)


def test_peaks_of_drawn_waveforms_are_compared_with_their_own(trained_bundle, test_rows):
    preprocessing, part = trained_bundle.preprocessing, test_rows.part
    drawn = trained_bundle.model.sample(torch.from_numpy(part.static), generator=torch.Generator().manual_seed(3))
    signals_uv = preprocessing.in_uv(drawn["generated_signals"].numpy(), part.static)
    loud = test_rows.recorded.numbers("stimulus_level_db") >= 40
    away = []
    for signal, latency_ms in zip(signals_uv[loud], drawn["generated_peaks"][loud, 2].tolist(), strict=True):
        inside = [i for i in argrelmax(signal)[0] if 4.9 <= i / 20 <= 8.5] or range(98, 171)
        away.append(abs(max(inside, key=lambda i: signal[i]) / 20 - latency_ms))
    found = Findings()
    peak_findings(found, trained_bundle.model, test_rows, preprocessing, 3)
    assert found.measures["generated_impossible_peaks"] == 0
    assert found.measures["generated_wave_v_distance_ms"] == pytest.approx(np.median(away), abs=1e-5)
    assert found.measures["generated_wave_v_far"] == pytest.approx(np.mean(np.array(away) > 1))


def test_peaks_that_no_training_row_had_labelled_are_not_measured(trained_bundle, test_rows):
    only_v = trained_bundle.preprocessing.model_copy(update={"labelled_waves": ("V",)})
    found = evaluate_bundle(replace(trained_bundle, preprocessing=only_v), test_rows, silent)
    for name in ("peak_latency_error_ms_I", "peak_amplitude_error_uv_III", "generated_peak_distance_ms_I"):
        assert "no training row" in found.left_out[name]
    assert {"peak_latency_error_ms_V", "generated_peak_distance_ms_V"} <= found.measures.keys()


def test_principal_components_reconstruct_as_scikit_learn_s(trained_bundle, test_rows):
    found = evaluate_principal_components(trained_bundle, test_rows, silent)
    pca = PCA(7).fit(test_rows.train.signals)
    signals = test_rows.part.signals
    error = np.mean((pca.inverse_transform(pca.transform(signals)) - signals) ** 2)
    assert found.measures["reconstruction_nmse"] == pytest.approx(error / signals.var(), rel=1e-3)
    assert "global_kl" not in found.measures
    assert found.left_out["peak_latency_error_ms_V"] == "the model predicts no peaks"
    assert set(MEASURES) <= {*found.measures, *found.left_out}


def test_the_condition_mean_reconstructs_and_nothing_else(trained_bundle, test_rows):
    found = evaluate_condition_mean(trained_bundle, test_rows)
    assert set(found.measures) == {"reconstruction_nmse", "cross_average_nmse", "denoised_nmse", "r2", "correlation"}
    assert 0.5 < found.measures["reconstruction_nmse"] < 1.1  # the factors are independent of the condition
    assert set(MEASURES) == {*found.measures, *found.left_out}


def test_the_oracle_is_there_where_the_factors_are(test_rows):
    assert 0.8 < evaluate_oracle(test_rows).measures["j_gt"] < 0.97
    table = test_rows.recorded.table.drop_columns("factor_gain")
    found = evaluate_oracle(replace(test_rows, recorded=replace(test_rows.recorded, table=table)))
    assert found.measures == {}
    assert "['factor_gain'] are missing" in found.left_out["j_gt"]


def test_known_factors_are_measured_on_the_rows_that_have_them(trained_bundle, test_rows):
    """Recordings and simulated waveforms in one table."""
    table = test_rows.recorded.table
    known = np.arange(len(table)) % 3 > 0
    for name in ("factor_gain", "sex"):
        position = table.schema.get_field_index(name)
        table = table.set_column(position, name, pc.if_else(pa.array(known), table[name], None))
    mixed = replace(test_rows, recorded=replace(test_rows.recorded, table=table))
    rows = np.flatnonzero(known)
    part, recorded = test_rows.part.take(rows), test_rows.recorded.take(rows)
    for of_mixed, of_known in (
        (evaluate_oracle(mixed), evaluate_oracle(replace(test_rows, recorded=recorded))),
        (
            evaluate_bundle(trained_bundle, mixed, silent),
            evaluate_bundle(trained_bundle, replace(test_rows, part=part, recorded=recorded), silent),
        ),
    ):
        assert of_mixed.measures["j_gt"] == pytest.approx(of_known.measures["j_gt"], abs=1e-6)
    assert of_mixed.details["rows_with_factors"] == len(rows)
    assert "mig" in of_mixed.measures


def test_recordings_come_close_to_the_ideal_values(trained_bundle, test_rows):
    found: Findings = evaluate_recordings(trained_bundle, test_rows)
    assert found.measures["precision_features"] > 0.7
    assert found.measures["wave_v_difference_ms"] < 0.3
    assert "recordings, not a model" in found.left_out["reconstruction_nmse"]
    assert set(MEASURES) == {*found.measures, *found.left_out}


def test_decoded_waveforms_have_the_scale_of_the_group_in_their_condition(trained_bundle):
    groups = {"F": GroupScale(mean_uv=1, std_uv=2), "M": GroupScale(mean_uv=10, std_uv=20)}
    preprocessing = trained_bundle.preprocessing.model_copy(
        update={"signal": SignalNormalization(group_by="sex", groups=groups)}
    )
    static = np.zeros((2, preprocessing.static.dim), np.float32)
    static[0, preprocessing.static.names.index("sex=M")] = 1
    static[1, preprocessing.static.names.index("sex=F")] = 1
    assert preprocessing.in_uv(np.ones((2, 1), np.float32), static).tolist() == [[30], [3]]


def test_a_model_with_an_intermediate_level_is_drawn_from_and_swapped(trained_bundle, test_rows):
    shape = trained_bundle.config.model.model_copy(update={"intermediate_levels": 1, "intermediate_latent_dim": 2})
    torch.manual_seed(0)
    model = build(shape).eval()
    bundle = replace(trained_bundle, model=model, config=trained_bundle.config.model_copy(update={"model": shape}))
    found = evaluate_bundle(bundle, test_rows, silent)
    assert {"j_gt", "frechet_waveforms", "reconstruction_nmse"} <= set(found.measures)
    assert set(found.details["factor_shares"]["factor_gain"]) >= {"intermediate_share"}
    names = [name for name, _ in Illustrator(bundle, test_rows).figures()]
    assert "swap_grid" in names
