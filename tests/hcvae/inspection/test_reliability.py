import numpy as np
import pytest
from scipy.stats import pearsonr

from hcvae.inspection import Recordings, agreement_by_level
from hcvae.inspection.reliability import check

SUBJECTS, AVERAGES, LENGTH = 60, 8, 64


def table_of(make_table, noise, **columns):
    """60 subjects at one level, 8 averages each: white responses of RMS 1 and white noise."""
    random = np.random.default_rng(1)
    responses = random.standard_normal((SUBJECTS, 1, LENGTH))
    signals = responses + noise * random.standard_normal((SUBJECTS, AVERAGES, LENGTH))
    signals = signals.reshape(-1, LENGTH).astype(np.float32)
    rows = {"stimulus_level_db": np.full(len(signals), 50.0), "recording_index": np.arange(len(signals)) % AVERAGES}
    return make_table(SUBJECTS, AVERAGES // 2, signal=list(signals), **rows | columns), signals


def test_correlation_agrees_with_scipy_over_all_pairs(make_table):
    table, signals = table_of(make_table, 1.5)
    (at_50, overall) = agreement_by_level(Recordings.of(table))
    pairs = [
        pearsonr(signals[AVERAGES * subject + i], signals[AVERAGES * subject + j]).statistic
        for subject in range(SUBJECTS)
        for i in range(AVERAGES)
        for j in range(i)
    ]
    assert at_50.correlation == pytest.approx(np.mean(pairs), rel=1e-6)
    assert (at_50.level_db, at_50.responses, at_50.averages) == (50, SUBJECTS, SUBJECTS * AVERAGES)
    assert overall.level_db is None
    assert overall.correlation == at_50.correlation


@pytest.mark.parametrize("noise", [0.5, 1.5])
def test_reliability_and_noise_are_those_of_classical_test_theory(make_table, noise):
    """Var = 1 + noise^2: one average has reliability 1 / Var, a mean of n 1 / (1 + noise^2 / n)."""
    agreement = agreement_by_level(Recordings.of(table_of(make_table, noise)[0]))[-1]
    assert agreement.correlation == pytest.approx(1 / (1 + noise**2), abs=0.02)
    assert agreement.split_half == pytest.approx(1 / (1 + noise**2 / 4), abs=0.02)
    assert agreement.spearman_brown == pytest.approx(1 / (1 + noise**2 / 8), abs=0.02)
    assert agreement.noise_uv == pytest.approx(noise, rel=0.02)
    assert agreement.noise_column_uv is None


def test_two_averages_are_the_two_halves(make_table):
    table = table_of(make_table, 1.0)[0]
    two = table.filter(np.arange(table.num_rows) % AVERAGES < 2)
    agreement = agreement_by_level(Recordings.of(two))[-1]
    assert agreement.split_half == pytest.approx(agreement.correlation, rel=1e-9)


def test_rows_without_a_second_average_give_no_agreement(make_table):
    table = table_of(make_table, 1.0)[0]
    assert agreement_by_level(Recordings.of(table, average_columns=["subject_id", "recording_index"])) == []


def test_noise_that_hides_the_response_is_found(make_table):
    assert check(Recordings.of(table_of(make_table, 1.0)[0])) == []
    (finding,) = check(Recordings.of(table_of(make_table, 10.0)[0]))
    assert finding.trouble == "independent averages do not agree"


@pytest.mark.parametrize(("stated", "troubles"), [(1.0, 0), (1000.0, 1), (1e-6, 1), (2.5, 0)])
def test_a_noise_column_of_another_scale_is_found(make_table, stated, troubles):
    column = np.full(SUBJECTS * AVERAGES, stated)
    column[:5] = np.nan
    found = check(Recordings.of(table_of(make_table, 1.0, residual_noise_uv=column)[0]))
    assert [finding.trouble for finding in found] == ["residual_noise_uv does not fit the waveforms"] * troubles
