import numpy as np
import pytest

from hcvae.errors import UserError
from hcvae.waveform_attributes import AttributeReader

T = 200


def cosine(k):
    """The k-th orthonormal DCT-II vector, from its definition."""
    return np.sqrt((1 if k == 0 else 2) / T) * np.cos(np.pi * k * (2 * np.arange(T) + 1) / (2 * T))


def test_attributes_of_a_sum_of_cosines():
    wave = 3 * cosine(0) - 2 * cosine(1) + 0.5 * cosine(2) + 4 * cosine(3) + 3 * cosine(50)
    signals = np.stack([wave, np.zeros(T)])
    attributes = AttributeReader.for_signals(signals, 20_000.0)(signals)
    assert attributes["offset"][0] == pytest.approx([3])
    assert attributes["trend"][0] == pytest.approx([-2, 0.5])  # 50 and 100 Hz; 150 Hz belongs to the shape
    assert attributes["gain"][0] == pytest.approx([np.log(5 / np.sqrt(T))])
    shape = attributes["shape"][0]
    assert shape[[0, 47]] == pytest.approx(np.sqrt(T) * np.array([0.8, 0.6]))
    assert np.sum(shape**2) == pytest.approx(T)


def test_a_constant_waveform_has_no_shape():
    signals = np.stack([np.full(T, 0.1), cosine(7)])
    attributes = AttributeReader.for_signals(signals, 20_000.0)(signals)
    scale = np.sqrt(np.mean(signals**2))
    assert attributes["gain"][0] == pytest.approx([np.log(1e-12 * scale)])
    assert np.abs(attributes["shape"][0]).max() < 1e-2  # rounding is not blown up to RMS 1


def test_the_low_band_follows_the_sampling_rate():
    signals = np.stack([cosine(1), cosine(2)])
    assert AttributeReader.for_signals(signals, 10_000.0)(signals)["trend"].shape == (2, 5)  # 25, 50, ... 125 Hz
    assert AttributeReader.for_signals(signals, 80_000.0)(signals)["trend"].shape == (2, 0)


def test_a_sampling_rate_in_khz_is_refused():
    signals = np.stack([cosine(1), cosine(2)])
    with pytest.raises(UserError, match=r"sampling_rate_hz: .* got 20\.0 Hz"):
        AttributeReader.for_signals(signals, 20.0)


def test_equal_waveforms_are_refused():
    with pytest.raises(UserError, match="3 equal rows"):
        AttributeReader.for_signals(np.ones((3, T)), 20_000.0)
