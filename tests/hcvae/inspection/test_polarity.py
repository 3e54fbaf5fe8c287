import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hcvae.data.table import signals_of
from hcvae.inspection import Recordings
from hcvae.inspection.polarity import check, opposition


def test_upright_recordings_give_no_finding(simulated):
    assert check(Recordings.of(simulated)) == []


def test_opposition_is_the_correlation_with_the_mean_of_the_others():
    random = np.random.default_rng(3)
    upright = random.standard_normal(80) + 0.5 * random.standard_normal((9, 80))
    signals = upright.copy()
    signals[[2, 6]] *= -1
    unit = (upright - upright.mean(axis=1, keepdims=True)) / upright.std(axis=1, keepdims=True)
    expected = [np.corrcoef(upright[i], np.delete(unit, i, axis=0).mean(axis=0))[0, 1] for i in range(9)]
    expected = np.array(expected) * np.where(np.isin(np.arange(9), [2, 6]), -1, 1)
    assert np.allclose(opposition(signals), expected)


def inverted(rows):
    def change(signals):
        signals[rows] *= -1

    return change


def test_inverted_rows_are_listed_with_their_subjects(with_signals):
    found = {finding.trouble: finding for finding in check(with_signals(inverted(slice(32, 64))))}
    assert found.keys() == {"rows of inverted polarity", "mean responses are upside down"}
    assert "of 1 subject (sim-000001)" in found["rows of inverted polarity"].evidence
    assert "1 of 15 human subjects" in found["mean responses are upside down"].evidence


def test_an_inverted_table_is_detected_by_the_published_response(with_signals):
    (finding,) = check(with_signals(inverted(slice(None))))
    assert finding.trouble == "mean responses are upside down"
    assert "15 of 15 human subjects" in finding.evidence


def test_a_species_without_a_published_response_is_not_checked(with_signals):
    assert check(with_signals(inverted(slice(None)), species=["mouse"] * 480)) == []


def with_flipped(table: pa.Table, rows: np.ndarray) -> Recordings:
    signals = signals_of(table).copy()
    signals[rows] *= -1
    column = pa.FixedSizeListArray.from_arrays(signals.ravel(), signals.shape[1])
    return Recordings.of(table.set_column(table.schema.get_field_index("signal"), "signal", column))


def test_inverted_real_subjects_are_detected(recordings):
    table = pq.read_table(recordings / "human_click_shipm.parquet")
    found = check(with_flipped(table, np.arange(len(table))))
    assert [finding.trouble for finding in found] == ["mean responses are upside down"]
    assert "2 of 2 human subjects" in found[0].evidence


@pytest.mark.parametrize("name", ["mouse_tone_shipm", "human_click_shipm"])
def test_inverted_real_rows_are_detected(recordings, name):
    table = pq.read_table(recordings / f"{name}.parquet")
    loudest = np.flatnonzero(table["stimulus_level_db"].to_numpy() == max(table["stimulus_level_db"].to_pylist()))
    (finding,) = check(with_flipped(table, loudest[5:9]))
    assert finding.trouble == "rows of inverted polarity"
    named = {int(text) for text in re.findall(r"(\d+) \(", finding.evidence.split(": ")[-1])}
    assert named
    assert named <= set(loudest[5:9].tolist())
