import numpy as np
import pytest

from hcvae.inspection import Recordings
from hcvae.inspection.duplicates import SAME_SHAPE, check, first_of_equal, scaled_copies


def test_simulated_averages_are_not_copies(simulated):
    assert check(Recordings.of(simulated)) == []


def test_first_of_equal_agrees_with_numpy():
    signals = np.random.default_rng(0).integers(0, 2, (50, 4)).astype(np.float32)
    expected = [next(j for j in range(50) if np.array_equal(signals[i], signals[j])) for i in range(50)]
    assert first_of_equal(signals).tolist() == expected


def test_scaled_copies_agree_with_a_comparison_of_all_pairs():
    random = np.random.default_rng(2)
    signals = random.standard_normal((60, 50)).astype(np.float32)
    for copy, original, factor in [(10, 3, 2.5), (20, 4, -1.0), (30, 5, 1e-6), (40, 6, 1000.0)]:
        signals[copy] = np.float32(factor) * signals[original]
    signals[50] = signals[7] + np.float32(0.0015) * signals[8]  # near, but no copy
    signals[55] = signals[9] + np.float32(0.0003) * signals[8]  # as near as rounding might make it
    unit = signals.astype(float) / np.linalg.norm(signals.astype(float), axis=1, keepdims=True)
    expected = {
        (i, j): np.linalg.norm(signals[j].astype(float)) / np.linalg.norm(signals[i].astype(float)) * sign
        for j in range(60)
        for i in range(j)
        for sign in (1, -1)
        if np.linalg.norm(unit[i] - sign * unit[j]) < SAME_SHAPE
    }
    assert expected.keys() == {(3, 10), (4, 20), (5, 30), (6, 40), (9, 55)}
    pairs, factors = scaled_copies(signals)
    assert dict(zip(map(tuple, pairs.tolist()), factors, strict=True)) == pytest.approx(expected)


def test_copies_are_found_with_their_originals(with_signals):
    def change(signals):
        signals[100], signals[200] = signals[3], signals[4]
        signals[300] = -1000 * signals[5]

    exact, scaled = check(with_signals(change))
    assert exact.trouble == "rows repeat other rows"
    assert exact.evidence.startswith("2 of 480 waveforms are exact copies, 2 of them from another subject: 100 ")
    assert "100 (sim-00000100) repeats 3 (sim-00000003)" in exact.evidence
    assert scaled.evidence.startswith("1 of 480 waveforms, 1 of them inverted: 300 ")
    assert "is -1000 times 5 (sim-00000005)" in scaled.evidence


def test_many_copies_of_one_waveform_are_counted(with_signals):
    def change(signals):
        signals[100:400] = np.linspace(1.1, 2, 300)[:, None] * signals[99]

    (finding,) = check(with_signals(change))
    assert int(finding.evidence.split()[0]) == 300


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_few_rows_are_no_problem(rows):
    pairs, factors = scaled_copies(np.eye(3, 20, dtype=np.float32)[:rows])
    assert (pairs.shape, factors.shape) == ((0, 2), (0,))
