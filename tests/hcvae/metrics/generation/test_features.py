import time

import numpy as np
import pytest
from scipy.signal import argrelmax

from hcvae.data.normative import RecordingConditions, wave_amplitude_uv, wave_latency_ms, wave_width
from hcvae.data.synthesis import response_waveforms
from hcvae.errors import UserError
from hcvae.metrics.generation import HUMAN_CLICK_WINDOWS_MS, physiological_features

RATE_HZ = 20_000.0
TIMES_MS = np.arange(200) / 20


def read(signals, **options):
    features, names = physiological_features(signals, RATE_HZ, **options)
    return dict(zip(names, features.T, strict=True))


def bump(latency_ms, height_uv, width_ms=0.2):
    return height_uv * np.exp(-0.5 * ((TIMES_MS - latency_ms) / width_ms) ** 2)


def test_peaks_of_known_bumps():
    wave = bump(1.7, 0.3) + bump(3.9, 0.2) + bump(5.7, 0.5) - bump(6.6, 0.25) + 2.0
    found = {name: value[0] for name, value in read(wave[None]).items()}
    latencies = {"latency_I_ms": 1.7, "latency_III_ms": 3.9, "latency_V_ms": 5.7}
    intervals = {"interval_I_III_ms": 2.2, "interval_I_V_ms": 4.0, "interval_III_V_ms": 1.8}
    amplitudes = {"amplitude_I_uv": 0.3, "amplitude_III_uv": 0.2, "amplitude_V_uv": 0.75}
    assert {name: found[name] for name in (latencies | intervals)} == pytest.approx(latencies | intervals)
    assert {name: found[name] for name in amplitudes} == pytest.approx(amplitudes, abs=2e-3)
    assert found["offset_uv"] == pytest.approx(wave.mean())


def test_the_picks_are_those_of_scipy():
    signals = np.random.default_rng(0).normal(size=(50, 200)).cumsum(axis=1)
    found = read(signals)
    for wave, (start, stop) in HUMAN_CLICK_WINDOWS_MS.items():
        for row, signal in enumerate(signals):
            inside = [i for i in argrelmax(signal)[0] if start <= TIMES_MS[i] <= stop]
            highest = max(inside, key=lambda i: signal[i])
            assert found[f"latency_{wave}_ms"][row] == pytest.approx(TIMES_MS[highest])
            trough = signal[highest : highest + 31].min()  # 1.5 ms later is 30 samples later
            assert found[f"amplitude_{wave}_uv"][row] == pytest.approx(signal[highest] - trough)


def test_a_rise_without_a_maximum_gives_the_last_sample_of_the_window():
    found = read(np.stack([TIMES_MS, -TIMES_MS]))
    assert found["latency_V_ms"] == pytest.approx([8.5, 4.9])
    assert found["amplitude_V_uv"] == pytest.approx([0, 1.5])


@pytest.mark.parametrize(
    ("coefficient", "band"), [(2, "0_150"), (3, "150_300"), (6, "300_600"), (12, "600_1000"), (29, "1000_1500")]
)
def test_a_cosine_has_its_power_in_its_band(coefficient, band):
    """Cosine k of the DCT-II of 200 samples at 20 kHz is 50 k Hz; its mean square is half its squared height."""
    wave = 0.4 * np.cos(np.pi * coefficient * (np.arange(200) + 0.5) / 200) + 7
    powers = {name: np.exp(value[0]) for name, value in read(wave[None]).items() if name.startswith("log_power")}
    assert powers.pop(f"log_power_{band}_hz") == pytest.approx(0.08)
    assert list(powers.values()) == pytest.approx([1e-12] * 4)


def test_an_offset_changes_only_the_offset():
    signals = np.random.default_rng(1).normal(size=(20, 200))
    before, after = read(signals), read(signals + 5)
    after["offset_uv"] -= 5
    for name, values in before.items():
        np.testing.assert_allclose(after[name], values, atol=1e-9, err_msg=name)


def test_windows_for_another_stimulus():
    found = read(np.stack([bump(4.0, 1.0) + bump(8.2, 1.0)]), windows_ms={"I": (3.0, 5.0), "V": (7.0, 9.0)})
    assert [found["latency_I_ms"][0], found["interval_I_V_ms"][0]] == pytest.approx([4.0, 4.2])
    assert "latency_III_ms" not in found


def test_bands_that_a_short_waveform_does_not_resolve_are_left_out():
    names = physiological_features(np.eye(64), RATE_HZ, {"I": (1.0, 3.0)})[1]  # 156 Hz a coefficient
    assert "log_power_0_150_hz" not in names
    assert "log_power_150_300_hz" in names


def test_normative_responses_have_their_latencies_and_amplitudes():
    level = np.array([60.0, 70.0, 80.0])
    condition = RecordingConditions(level, np.full(3, 11.1), np.full(3, 30.0), np.zeros(3), np.ones(3, dtype=bool))
    latency, amplitude = wave_latency_ms(condition), wave_amplitude_uv(condition)
    found = read(response_waveforms(latency, amplitude, wave_width(condition)))
    for wave, index in {"I": 0, "III": 2, "V": 4}.items():
        np.testing.assert_allclose(found[f"latency_{wave}_ms"], latency[:, index], atol=0.1)
        np.testing.assert_allclose(found[f"amplitude_{wave}_uv"], amplitude[:, index], rtol=0.1)


def test_wave_v_is_where_it_is_labelled(recorded):
    error = np.abs(read(recorded.signals)["latency_V_ms"] - recorded.wave_v_ms)
    labelled = np.isfinite(error) & (recorded.level >= 70)
    assert np.median(error[labelled]) <= 0.05 + 1e-6  # one sample
    clean = labelled & (recorded.averages == 4000)
    assert np.mean(error[clean] < 0.1 + 1e-6) > 0.9
    assert clean.sum() > 100


def test_a_hundred_thousand_waveforms_take_seconds():
    signals = np.random.default_rng(0).normal(size=(20_000, 200)).astype(np.float32)
    start = time.process_time()
    physiological_features(signals, RATE_HZ)
    assert time.process_time() - start < 3  # 0.4 s on one slow thread


def test_a_window_outside_the_waveform_is_refused():
    with pytest.raises(UserError, match=r"windows_ms\['V'\]: .* 0 to 5 ms, .* got \(4\.9, 8\.5\)"):
        physiological_features(np.zeros((2, 101)), RATE_HZ)
