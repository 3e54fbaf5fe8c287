import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hcvae.inspection import Recordings, find, read
from hcvae.inspection.scale import check


def scaled(factor):
    def change(signals):
        return signals.astype(np.float64) * factor

    return change


def test_simulated_recordings_have_plausible_amplitudes(simulated):
    assert check(Recordings.of(simulated)) == []


@pytest.mark.parametrize(
    ("factor", "trouble", "guess"),
    [
        (1e-6, "amplitudes are too small for human", "they fit values in volts stored as uV"),
        (1e-3, "amplitudes are too small for human", "they fit values in millivolts stored as uV, or a gain of 1000"),
        (1000, "amplitudes are too large for human", "they fit values in nanovolts stored as uV"),
        (20, "amplitudes are too large for human", "would bring them into the range"),
    ],
)
def test_units_and_gains_are_found_and_named(with_signals, factor, trouble, guess):
    (finding,) = check(with_signals(scaled(factor)))
    assert finding.trouble == trouble
    assert "15 of 15 subjects" in finding.evidence
    assert guess in finding.evidence


def test_the_suggested_factors_contain_the_right_one(with_signals):
    (finding,) = check(with_signals(scaled(1 / 30)))
    low, high = re.search(r"a factor of (\S+) to (\S+) would", finding.evidence).groups()
    assert float(low) < 30 < float(high)


def test_a_gain_of_some_subjects_names_them(with_signals):
    def change(signals):
        signals[32:96] *= 1000  # the second and third subject

    (finding,) = check(with_signals(change))
    assert "2 of 15 subjects" in finding.evidence
    assert "sim-000001" in finding.evidence
    assert "sim-000002" in finding.evidence


def test_a_gain_of_one_recording_names_its_rows(with_signals):
    def change(signals):
        signals[40:42] *= 1000

    (finding,) = check(with_signals(change))
    assert finding.trouble == "single rows are much larger than the others of their subject"
    assert "2 of 480 rows" in finding.evidence
    assert "40 (sim-00000040), 41 (sim-00000041)" in finding.evidence


def test_a_lost_electrode_is_found(with_signals):
    def change(signals):
        signals[100] *= 1e-3

    (finding,) = check(with_signals(change))
    assert finding.trouble == "single rows are much smaller than the others of their subject"
    assert "1 of 480 rows" in finding.evidence


@pytest.mark.parametrize(
    ("species", "factor", "flagged"),
    [("mouse", 1, False), ("mouse", 0.1, True), ("mouse", 10, False), ("cat", 10, False)],
)
def test_each_species_has_its_own_range(with_signals, species, factor, flagged):
    assert bool(check(with_signals(scaled(factor), species=[species] * 480))) == flagged


def test_another_unit_in_the_metadata_is_reported(simulated):
    field = simulated.schema.field("signal").with_metadata({"unit": "V"})
    table = simulated.cast(simulated.schema.set(simulated.schema.get_field_index("signal"), field))
    (finding,) = check(Recordings.of(table))
    assert finding.trouble == "the waveforms are in V"


def test_the_recording_with_a_gain_not_applied_is_found(recordings):
    (finding,) = find(read(str(recordings / "mouse_tone_stankovic.parquet")))
    assert finding.trouble == "amplitudes are too small for mouse"
    assert "S1" in finding.evidence
    low, high = re.search(r"a factor of (\S+) to (\S+) would", finding.evidence).groups()
    assert float(low) < 20 < float(high)  # the gain that the file states


@pytest.mark.parametrize("name", ["human_click_shipm", "mouse_tone_shipm", "mouse_tone_epl_labelled"])
def test_ordinary_recordings_give_no_finding(recordings, name):
    assert find(read(str(recordings / f"{name}.parquet"))) == []


def test_data_sets_are_checked_separately(recordings):
    tables = [pq.read_table(recordings / f"{name}.parquet") for name in ("human_click_shipm", "mouse_tone_stankovic")]
    (finding,) = find(Recordings.of(pa.concat_tables(tables, promote_options="default")))
    assert finding.trouble == "amplitudes are too small for mouse"
