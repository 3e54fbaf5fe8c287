from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from hcvae.evaluation.findings import Findings, names_of
from hcvae.evaluation.generation import generation_findings, sample_conditions
from hcvae.evaluation.rows import generated_sample

RATE_HZ = 20_000.0
GENERATION = names_of("Generation: waveforms", "Generation: features", "Generation: use")


@pytest.fixture
def compare(trained_bundle, test_rows):
    """Findings of waveforms that are taken for generated ones."""

    def compare_rows(made, rows=test_rows, data=trained_bundle.config.data, **options) -> Findings:
        findings = Findings()
        generation_findings(findings, made, rows, data, RATE_HZ, **options)
        assert set(findings.measures) | set(findings.left_out) == set(GENERATION)
        return findings

    return compare_rows


def test_the_recordings_themselves_are_perfect(compare, test_rows):
    found = compare(test_rows.recorded).measures
    for kind in ("waveforms", "features"):
        assert found[f"frechet_{kind}"] == pytest.approx(0, abs=1e-6)
        assert found[f"precision_{kind}"] == found[f"recall_{kind}"] == found[f"coverage_{kind}"] == 1
    assert found["wave_v_difference_ms"] == 0
    assert found["wave_v_spearman"] == found["wave_v_spearman_recorded"] < 0
    assert found["memorisation_share_nearer"] == pytest.approx(0.5)


def test_training_rows_are_told_as_copies(compare, test_rows):
    assert compare(test_rows.train).measures["memorisation_share_nearer"] == 1
    marked = compare(test_rows.train, are_copies=True)
    assert "nearest training rows" in marked.left_out["memorisation_z"]


def test_what_the_rows_cannot_support_is_left_out_by_name(compare, test_rows, trained_bundle):
    def columns(table, **changes):
        for name, value in changes.items():
            table = table.set_column(table.schema.get_field_index(name), name, pa.array([value] * len(table)))
        return table

    recorded = test_rows.recorded
    mouse = replace(recorded, table=columns(recorded.table, species="mouse"))
    found = compare(mouse, replace(test_rows, recorded=mouse))
    assert set(found.left_out) == {*names_of("Generation: features"), "wave_v_difference_ms", "wave_v_spearman",
                                   "wave_v_spearman_recorded"}  # fmt: skip
    assert "['mouse']" in found.left_out["frechet_features"]

    women = replace(recorded, table=columns(recorded.table, sex="F"))
    found = compare(women, replace(test_rows, recorded=women))
    assert set(found.left_out) == {"group_auc_synthetic", "group_auc_real"}

    no_level = trained_bundle.config.data.model_copy(update={"static": ("sex", "age_years")})
    found = compare(recorded, data=no_level)
    assert "not conditioned on 'stimulus_level_db'" in found.left_out["wave_v_spearman"]
    assert "not conditioned on 'stimulus_level_db'" in found.left_out["level_r2_synthetic"]

    found = compare(recorded, replace(test_rows, train=None, train_part=None))
    assert "needs the training rows" in found.left_out["memorisation_z"]
    assert "needs the training rows" in found.left_out["level_r2_real"]

    few = recorded.take(np.arange(6))
    found = compare(few, replace(test_rows, recorded=few))
    assert "must have at least 6 rows" in found.left_out["coverage_waveforms"]


def test_waveforms_are_drawn_from_the_prior_at_each_row_s_condition(trained_bundle, test_rows):
    part, preprocessing = test_rows.part, trained_bundle.preprocessing
    drawn = [sample_conditions(trained_bundle.model, part, seed) for seed in (0, 0, 1)]
    assert np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])
    made = generated_sample(test_rows.recorded, drawn[0], part, preprocessing)
    scale = preprocessing.signal.groups[""]
    np.testing.assert_allclose(made.signals_uv, drawn[0] * scale.std_uv + scale.mean_uv, rtol=1e-5, atol=1e-6)
    assert made.table is test_rows.recorded.table
