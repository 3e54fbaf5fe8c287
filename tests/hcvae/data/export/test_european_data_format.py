import json

import mne
import numpy as np
import pyarrow as pa
import pytest
from edfio import read_edf

from hcvae.data.export import write_table
from hcvae.errors import UserError


def with_signals(table, signals):
    column = pa.FixedSizeListArray.from_arrays(pa.array(signals.ravel(), pa.float32()), signals.shape[1])
    return table.set_column(table.schema.get_field_index("signal"), "signal", column)


def test_each_waveform_is_a_record_within_half_a_step(table, signals, tmp_path):
    write_table(table, tmp_path / "a.edf")
    edf = read_edf(tmp_path / "a.edf")
    (signal,) = edf.signals
    assert (signal.label, signal.physical_dimension) == ("ABR", "uV")
    assert signal.sampling_frequency == pytest.approx(25000, rel=1e-12)
    assert (edf.num_data_records, edf.data_record_duration) == (7, 0.00256)
    error = np.abs(signal.data.reshape(7, 64) - signals).max()
    assert 0 < error <= 12.34568 / 65534 * (1 + 1e-6)


def test_another_reader_agrees(table, signals, tmp_path):
    write_table(table, tmp_path / "a.edf")
    raw = mne.io.read_raw_edf(tmp_path / "a.edf", verbose="error")
    assert raw.info["sfreq"] == pytest.approx(25000, rel=1e-12)
    assert np.abs(raw.get_data(units="uV").reshape(7, 64) - signals).max() <= 12.34568 / 65534 * (1 + 1e-6)
    assert [json.loads(text)["record_id"] for text in raw.annotations.description] == [f"r{n}" for n in range(7)]


def test_the_annotation_of_each_record_has_the_columns(table, tmp_path):
    write_table(table, tmp_path / "a.edf")
    annotations = read_edf(tmp_path / "a.edf").annotations
    assert np.allclose([annotation.onset for annotation in annotations], np.arange(7) * 0.00256)
    assert json.loads(annotations[3].text) == {
        "record_id": "r3",
        "subject_id": 'a "quoted", name',
        "sex": "F",
        "stimulus_level_db": 30.0,
        "n_averages": 1000,
        "notch": False,
    }
    assert json.loads(annotations[2].text)["stimulus_level_db"] is None


def test_many_records_have_one_annotation_each(table, tmp_path):
    """Rounding of the onsets would put two into some records, which makes every record twice as large."""
    many = pa.concat_tables([table] * 60)
    write_table(many, tmp_path / "a.edf")
    records = (tmp_path / "a.edf").stat().st_size - 3 * 256
    longest = max(len(a.text.encode()) for a in read_edf(tmp_path / "a.edf").annotations)
    assert records / 420 < 2 * 64 + longest + 64


def test_the_header_has_no_names_and_equal_tables_give_equal_bytes(table, tmp_path):
    write_table(table, tmp_path / "a.edf")
    write_table(table, tmp_path / "b.edf")
    content = (tmp_path / "a.edf").read_bytes()
    assert content == (tmp_path / "b.edf").read_bytes()
    assert content[8:88].split() == [b"X", b"X", b"X", b"X"]
    assert content[88:168].split() == [b"Startdate", b"01-JAN-1985", b"X", b"X", b"X"]


@pytest.mark.parametrize("largest", [0.0, 3e-6, 0.0217, 1.0, 999.99999, 123456.7, 9_999_998.0])
def test_every_size_fits_into_the_header(table, signals, tmp_path, largest):
    scaled = (signals / np.abs(signals).max() * largest).astype(np.float32)
    write_table(with_signals(table, scaled), tmp_path / "a.edf")
    (signal,) = read_edf(tmp_path / "a.edf").signals
    assert largest <= signal.physical_max <= max(1.001 * largest, 1e-4, largest + 1e-5)
    assert np.abs(signal.data.reshape(7, 64) - scaled).max() <= 1.001 * signal.physical_max / 65534


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, s: t.replace_schema_metadata({"sampling_rate_hz": "24414.0625"}), "8 characters for the duration"),
        (lambda t, s: with_signals(t, s * np.nan), "finite values up to 9,999,999 uV, but got nan"),
        (lambda t, s: with_signals(t, s * 1e7), "finite values up to 9,999,999 uV"),
        (
            lambda t, s: t.append_column("note", pa.array(["x", "ü" * 31_000, *"abcde"])),
            r"must not exceed 61,440 bytes, but row 1 \(from 0\) needs 62,",
        ),
    ],
)
def test_limits_of_the_format_are_reported(table, signals, tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        write_table(change(table, signals), tmp_path / "a.edf")
    assert list(tmp_path.iterdir()) == []
