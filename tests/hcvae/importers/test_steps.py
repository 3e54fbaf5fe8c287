"""Processing of a recording up to the grid, against closed forms."""

import numpy as np
import pytest

from hcvae.importers.averages import Blocks, Row, with_noise_of_halves
from hcvae.importers.recording import Averaging, Recording
from hcvae.importers.steps import MARGIN_MS, Grid, RecordingSkipped, Steps, is_changed_at_the_ends, on_grid


def recording(signal_of, *, rate_hz=20_000.0, start_ms=-5.0, end_ms=20.0, **fields) -> Recording:
    times_ms = start_ms + np.arange(round((end_ms - start_ms) * rate_hz / 1e3) + 1) * 1e3 / rate_hz
    given = {"values": {"n_averages": 1}, "subject": None, "peaks": None} | fields
    return Recording(signal_uv=signal_of(times_ms), sampling_rate_hz=rate_hz, start_ms=start_ms, **given)


def sine(times_ms, hz=800.0):
    return np.sin(2 * np.pi * hz * times_ms / 1e3)


@pytest.mark.parametrize(("rate_hz", "start_ms"), [(20_000.0, 0.0), (24_414.0625, -2.2), (48_000.0, -1.013), (1e5, 0)])
def test_other_rates_and_start_times_come_onto_one_grid(rate_hz, start_ms):
    got = on_grid(recording(sine, rate_hz=rate_hz, start_ms=start_ms), Steps())
    inside = slice(20, 180)  # the low-pass of faster recordings starts up at their ends
    np.testing.assert_allclose(got[inside], sine(Grid().times_ms)[inside], atol=2e-3)


def test_the_band_pass_is_zero_phase_with_the_gain_of_the_closed_form():
    """Twice a second-order Butterworth band-pass: 1 / (1 + x^4) with x = (f^2 - f1 f2) / (f (f2 - f1)), prewarped."""
    band, hz, rate_hz = (100.0, 1500.0), 2000.0, 20_000.0
    long = recording(lambda t: np.cos(2 * np.pi * hz * t / 1e3), start_ms=-100, end_ms=120)
    got = on_grid(long, Steps(band_hz=band))
    low, high, f = np.tan(np.pi * np.array([*band, hz]) / rate_hz)
    gain = 1 / (1 + ((f**2 - low * high) / (f * (high - low))) ** 4)
    np.testing.assert_allclose(got, gain * np.cos(2 * np.pi * hz * Grid().times_ms / 1e3), atol=1e-4)


@pytest.mark.parametrize(
    ("start_ms", "end_ms", "is_changed"),
    [(-MARGIN_MS, 10 + MARGIN_MS, False), (0.0, 20.0, True), (-5.0, 10.0, True)],
)
def test_waveforms_without_a_margin_are_changed_at_their_ends(start_ms, end_ms, is_changed):
    """Filtered alone and as a part of a longer recording; noise, as a response of one period has small ends."""
    rng = np.random.default_rng(0)
    long = recording(lambda times: rng.standard_normal(len(times)), start_ms=-50.0, end_ms=60.0)
    first = round((start_ms + 50) * 20)
    cut = long.signal_uv[first : round((end_ms + 50) * 20) + 1]
    steps = Steps(band_hz=(300.0, 3000.0))
    short = recording(lambda times: cut, start_ms=start_ms, end_ms=end_ms)
    assert is_changed_at_the_ends(short, steps) == is_changed
    assert not is_changed_at_the_ends(short, Steps(band_hz=None))
    difference = np.abs(on_grid(short, steps) - on_grid(long, steps)).max()
    assert (difference > 0.3) == is_changed


def test_fast_recordings_are_not_aliased():
    got = on_grid(recording(lambda t: sine(t, 19_200.0), rate_hz=1e5), Steps())
    assert np.abs(got[20:180]).max() < 0.01  # 800 Hz at full height, if every fifth sample were taken


def test_invert_changes_the_sign():
    one = recording(sine)
    np.testing.assert_array_equal(on_grid(one, Steps(invert=True)), -on_grid(one, Steps()))


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"start_ms": 0.5}, "from 0.5 to 20 ms only"),
        ({"signal_of": lambda t: np.full(len(t), 1e306)}, "samples of more than 1e[+]09 uV"),
        ({"end_ms": 9.0}, "the grid needs 0 to 9.95"),
        ({"usual_band_hz": (100.0, 10_000.0)}, "sampled at 20000 Hz"),
        ({"usual_averaging": Averaging((4,), 0.5, None)}, "sweep of more than 0.5 uV before"),
        ({"usual_averaging": Averaging((4,), None, 0.5)}, "sweep of more than 0.5 uV after"),
    ],
)
def test_unusable_recordings_are_left_out_with_the_reason(fields, reason):
    with pytest.raises(RecordingSkipped, match=reason):
        on_grid(recording(**{"signal_of": sine, **fields}), Steps())


def test_averages_are_not_rejected_as_sweeps():
    average = recording(sine, values={"n_averages": 512}, usual_averaging=Averaging((4,), 0.5, 0.5))
    assert np.abs(on_grid(average, Steps())).max() > 0.9


def test_blocks_take_consecutive_sweeps_of_one_condition_in_turn():
    blocks, levels = Blocks(), [40, 60] * 7
    rows = [
        row
        for number, level in enumerate(levels)
        for row in blocks.add(
            Row(np.full(3, float(number)), {"stimulus_level_db": level, "n_averages": 2}, None, None), (4, 6)
        )
    ]
    names = ("stimulus_level_db", "n_averages", "recording_index")
    assert [tuple(row.values[name] for name in names) for row in rows] == [
        (40, 4, 1), (60, 4, 1), (40, 6, 2), (60, 6, 2), (40, 4, 3), (60, 4, 3),
    ]  # fmt: skip
    assert [row.signal_uv[0] for row in rows] == [1, 2, 6, 7, 11, 12]
    assert blocks.unused == 0
    # three records 4, 6 and 8: variance 4, of their mean 4/3
    assert rows[2].values["residual_noise_uv"] == pytest.approx(np.sqrt(4 / 3))


def test_residual_noise_of_halves():
    noise = np.random.default_rng(0).normal(0, 0.3, (2, 20_000))
    rows = [
        Row(np.sin(np.arange(20_000)) + noise[half - 1], {"half": half, "recording_index": 1}, "a", None)
        for half in (1, 2)
    ]
    for row in with_noise_of_halves(rows):
        assert row.values["residual_noise_uv"] == pytest.approx(0.3, rel=0.02)
