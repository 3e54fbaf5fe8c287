import builtins

import numpy as np
import pyarrow as pa
import pytest

from hcvae.data.export.evoked import to_evoked
from hcvae.errors import UserError


def test_rows_become_evoked_responses_in_volts_and_seconds(table, signals):
    evoked = to_evoked(table)
    assert len(evoked) == len(signals)
    for one, signal_uv in zip(evoked, signals, strict=True):
        np.testing.assert_allclose(one.data, signal_uv[None].astype(float) * 1e-6, rtol=1e-12)
        np.testing.assert_allclose(one.times, np.arange(64) / 25_000, atol=1e-12)
        assert one.ch_names == ["ABR"]
        assert one.get_channel_types() == ["eeg"]
        assert one.nave == 1000
    first_ms, first_uv = np.arange(64) / 25, signals[0]
    channel, latency_s, amplitude_v = evoked[0].get_peak(mode="pos", return_amplitude=True)
    assert (channel, latency_s * 1e3) == ("ABR", pytest.approx(first_ms[first_uv.argmax()]))
    assert amplitude_v == pytest.approx(first_uv.max() * 1e-6)
    assert "stimulus_level_db=60, notch=True" in evoked[0].comment
    assert "sex=null" in evoked[1].comment


def test_an_unknown_number_of_averages_is_one(table, add):
    bare = table.drop_columns(["n_averages"])
    assert {one.nave for one in to_evoked(bare)} == {1}
    assert {one.nave for one in to_evoked(add(bare, "n_averages", pa.array([None] * 7, pa.int32())))} == {1}


def test_without_mne_the_message_says_what_to_install(table, monkeypatch):
    plain = builtins.__import__

    def without_mne(name, *arguments, **options):
        if name == "mne":
            raise ImportError(name)
        return plain(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without_mne)
    with pytest.raises(UserError, match=r"needs the package mne, .*; run `pip install --editable '\.\[formats\]'"):
        to_evoked(table)
