"""The simulator against published figures, against scipy, and against recordings of two humans."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import signal
from scipy.fft import dct
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import PolynomialFeatures

from hcvae.config import DataConfig
from hcvae.data.normative import RecordingConditions, wave_amplitude_uv, wave_latency_ms, wave_width
from hcvae.data.simulator import COARSE_FACTORS, FACTORS, FINE_FACTORS, TREND_SHAPE, simulate
from hcvae.data.synthesis import noise_waveforms, read_peaks, response_waveforms
from hcvae.errors import UserError

CONDITION_COLUMNS = ("stimulus_level_db", "stimulus_rate_hz", "age_years", "hearing_loss_db", "n_averages")


@pytest.fixture(scope="module")
def table() -> pa.Table:
    return simulate(40_000, seed=11)


def column(table: pa.Table, name: str) -> np.ndarray:
    return table[name].to_numpy()


def matrix(table: pa.Table, name: str) -> np.ndarray:
    values = table[name].combine_chunks()
    return values.flatten().to_numpy(zero_copy_only=False).reshape(len(table), -1)


def without_drift(table: pa.Table) -> np.ndarray:
    drift = column(table, "factor_offset_uv")[:, None] + column(table, "factor_trend_uv")[:, None] * TREND_SHAPE
    return matrix(table, "signal") - drift


def conditions(table: pa.Table) -> np.ndarray:
    women = column(table, "sex") == "F"
    return np.column_stack([*(column(table, name) for name in CONDITION_COLUMNS), women]).astype(float)


def adult(level_db: list[float], *, female: bool = True, loss_db: float = 0.0) -> RecordingConditions:
    n = len(level_db)
    return RecordingConditions(
        np.array(level_db), np.full(n, 11.1), np.full(n, 30.0), np.full(n, loss_db), np.full(n, female, dtype=bool)
    )


def effect_of(table: pa.Table, values: np.ndarray, rows: np.ndarray) -> dict[str, float]:
    """Least-squares effects of the condition on `values`, given the level (each level has a constant of its own)."""
    level, loss = column(table, "stimulus_level_db"), column(table, "hearing_loss_db")
    terms = {
        "female": column(table, "sex") == "F",
        "age": column(table, "age_years"),
        "rate": column(table, "stimulus_rate_hz"),
        "loss": np.maximum(loss - 20.0, 0.0),
    }
    design = np.column_stack([*terms.values(), *(level == step for step in np.unique(level[rows]))]).astype(float)
    return dict(zip(terms, np.linalg.lstsq(design[rows], values[rows], rcond=None)[0], strict=False))


# --- published figures -----------------------------------------------------------------------------------------------


def test_wave_5_latency_follows_the_level(table: pa.Table) -> None:
    latency, level = matrix(table, "peak_latency_ms")[:, 4], column(table, "stimulus_level_db")
    normal = (column(table, "hearing_loss_db") < 15) & (column(table, "stimulus_rate_hz") < 25)

    def mean_at(db: float) -> float:
        return float(np.nanmean(latency[normal & (level == db)]))

    assert 5.5 <= mean_at(70) <= 5.85  # Chiappa et al. 1979, Hood 1998: 5.5 to 5.7 ms at 70 to 80 dB nHL
    assert 5.35 <= mean_at(80) <= 5.7
    assert 7.2 <= mean_at(20) <= 8.0  # Hood 1998: 7.5 to 8 ms near threshold
    assert -0.045 <= (mean_at(60) - mean_at(30)) / 30 <= -0.03  # ms per dB in the mid range
    assert abs(mean_at(90) - mean_at(80)) < abs(mean_at(30) - mean_at(20))


def test_interval_from_wave_1_to_5(table: pa.Table) -> None:
    latency, level = matrix(table, "peak_latency_ms"), column(table, "stimulus_level_db")
    rows = (column(table, "hearing_loss_db") < 15) & (column(table, "stimulus_rate_hz") < 25) & (level >= 70)
    interval = latency[rows, 4] - latency[rows, 0]
    assert np.nanmean(interval) == pytest.approx(4.05, abs=0.1)  # Chiappa et al. 1979: 4.0 ms
    assert 0.15 <= np.nanstd(interval) <= 0.25
    assert np.nanmean(latency[rows, 2] - latency[rows, 0]) == pytest.approx(2.1, abs=0.15)
    assert np.nanmean(latency[rows, 0]) == pytest.approx(1.6, abs=0.15)


def test_women_have_earlier_and_larger_waves(table: pa.Table) -> None:
    latency, value = matrix(table, "peak_latency_ms")[:, 4], matrix(table, "peak_amplitude_uv")[:, 4]
    rows = np.isfinite(latency) & (column(table, "stimulus_level_db") >= 60)
    assert effect_of(table, latency, rows)["female"] == pytest.approx(-0.2, abs=0.05)  # Jerger & Hall 1980
    loud = rows & (column(table, "hearing_loss_db") < 15) & (value > 0)
    ratio = np.exp(effect_of(table, np.log(np.where(loud, value, 1.0)), loud)["female"])
    assert ratio == pytest.approx(1.25, abs=0.12)


def test_waves_come_later_and_smaller_with_age(table: pa.Table) -> None:
    latency = matrix(table, "peak_latency_ms")
    rows = np.isfinite(latency[:, 4]) & (column(table, "stimulus_level_db") >= 60)
    # Jerger & Hall 1980: 0.2 ms in 30 years; Konrad-Martin et al. 2012: 0.21 ms in 40 years, I-V unchanged.
    assert 0.1 <= 30 * effect_of(table, latency[:, 4], rows)["age"] <= 0.25
    both = rows & np.isfinite(latency[:, 0])
    assert abs(30 * effect_of(table, latency[:, 4] - latency[:, 0], both)["age"]) < 0.06
    young, old = adult([80.0]), RecordingConditions(*(np.array([x]) for x in (80.0, 11.1, 60.0, 0.0, True)))
    assert (wave_amplitude_uv(old) / wave_amplitude_uv(young))[0, 4] == pytest.approx(0.9, abs=0.01)


def test_waves_come_later_at_high_rates(table: pa.Table) -> None:
    latency = matrix(table, "peak_latency_ms")
    rows = np.isfinite(latency[:, 4]) & (column(table, "stimulus_level_db") >= 50)
    # Don, Allen & Starr 1977: about 0.5 ms from 10 to 100 clicks per second, wave I less
    assert 90 * effect_of(table, latency[:, 4], rows)["rate"] == pytest.approx(0.5, abs=0.1)
    both = rows & np.isfinite(latency[:, 0])
    assert 90 * effect_of(table, latency[:, 4] - latency[:, 0], both)["rate"] > 0.2


def test_hearing_loss_raises_the_threshold_db_for_db() -> None:
    sensation = np.array([-10.0, 0.0, 5.0, 30.0])
    normal, impaired = adult(list(10 + sensation)), adult(list(50 + sensation), loss_db=40.0)
    np.testing.assert_allclose(wave_amplitude_uv(normal)[:, 4], wave_amplitude_uv(impaired)[:, 4])
    assert wave_amplitude_uv(impaired)[:2, 4].tolist() == [0.0, 0.0]
    assert wave_amplitude_uv(impaired)[2, 4] > 0
    assert (wave_amplitude_uv(adult([25.0]))[0, :4] == 0).all()  # only wave V is left near threshold
    late = wave_latency_ms(adult([80.0], loss_db=60.0)) - wave_latency_ms(adult([80.0]))
    assert late[0, 4] == pytest.approx(0.4)  # Selters & Brackmann 1977: 0.1 ms per 10 dB


def test_absent_waves_have_no_label(table: pa.Table) -> None:
    level, loss = column(table, "stimulus_level_db"), column(table, "hearing_loss_db")
    valid = matrix(table, "peak_valid")
    absent = level <= loss + 10
    assert absent.sum() > 100
    assert not valid[absent].any()
    assert not valid[level <= loss + 25, :4].any()
    assert np.sqrt((without_drift(table)[absent] ** 2).mean()) < 0.08


def test_amplitudes_at_a_high_level() -> None:
    condition = adult([75.0, 75.0], female=True)
    latency = wave_latency_ms(condition)
    response = response_waveforms(latency, wave_amplitude_uv(condition), wave_width(condition))[0]

    def peak_to_trough(wave: int, search_ms: float) -> float:
        start = round(latency[0, wave] * 20)
        return float(response[start - 4 : start + 5].max() - response[start : start + round(20 * search_ms)].min())

    # Hood 1998, Hall 2007, Picton 2010: wave V about 0.5 uV, wave I about 0.3 uV, I smaller than V
    assert peak_to_trough(4, 1.6) == pytest.approx(0.5, abs=0.1)
    assert peak_to_trough(0, 0.9) == pytest.approx(0.3, abs=0.07)
    assert peak_to_trough(2, 0.9) == pytest.approx(0.28, abs=0.07)


# --- real recordings -------------------------------------------------------------------------------------------------


def test_wave_5_agrees_with_human_recordings(table: pa.Table, recordings: Path) -> None:
    human = pq.read_table(recordings / "human_click_shipm.parquet")
    ours = without_drift(table)
    rate = np.isclose(column(table, "stimulus_rate_hz"), 37.1)  # that of the recordings
    normal = rate & (column(table, "hearing_loss_db") < 20)

    def wave_5_ms(signals: np.ndarray) -> float:
        return (100 + signals.mean(axis=0)[100:190].argmax()) / 20

    for level, tolerance in ((60, 0.5), (50, 0.5), (40, 0.5), (30, 0.6), (20, 0.6)):
        measured = wave_5_ms(matrix(human, "signal")[column(human, "stimulus_level_db") == level])
        rows = normal & (column(table, "stimulus_level_db") == level)
        assert wave_5_ms(ours[rows]) == pytest.approx(measured, abs=tolerance), level


def test_residual_noise_is_that_of_human_recordings(table: pa.Table, recordings: Path) -> None:
    human = pq.read_table(recordings / "human_click_shipm.parquet")
    sweep = column(human, "residual_noise_uv") * np.sqrt(column(human, "n_averages"))
    half = np.diff(matrix(table, "signal").reshape(-1, 2, 200), axis=1)[:, 0] / np.sqrt(2)
    ours = np.sqrt((half**2).mean(axis=1) * column(table, "n_averages")[::2])
    assert np.percentile(sweep, 25) < np.median(ours) < np.percentile(sweep, 75)


# --- factors, halves, subjects ---------------------------------------------------------------------------------------


def test_halves_share_everything_but_the_noise(table: pa.Table) -> None:
    same = [name for name in table.column_names if name.startswith("factor_") or name in CONDITION_COLUMNS]
    for name in [*same, "subject_id", "sex", "ear", "recording_index"]:
        values = column(table, name)
        assert (values[::2] == values[1::2]).all(), name
    latency = matrix(table, "peak_latency_ms")
    first, second = latency[::2], latency[1::2]
    both = np.isfinite(first) & np.isfinite(second)
    assert (first[both] == second[both]).all()
    silent = (column(table, "stimulus_level_db") <= column(table, "hearing_loss_db") + 10)[::2]
    noise = without_drift(table).reshape(-1, 2, 200)[silent]
    correlation = (noise[:, 0] * noise[:, 1]).sum() / np.sqrt((noise[:, 0] ** 2).sum() * (noise[:, 1] ** 2).sum())
    assert abs(correlation) < 0.03


def test_noise_falls_with_the_root_of_the_averages(table: pa.Table) -> None:
    half = np.diff(matrix(table, "signal").reshape(-1, 2, 200), axis=1)[:, 0] / np.sqrt(2)
    rms = np.sqrt((half**2).mean(axis=1))
    expected = column(table, "factor_noise")[::2] / np.sqrt(column(table, "n_averages")[::2])
    ratio = rms / expected
    averages = column(table, "n_averages")[::2]
    means = [np.sqrt((ratio[averages == n] ** 2).mean()) for n in np.unique(averages)]
    np.testing.assert_allclose(means, np.mean(means), rtol=0.03)
    assert np.percentile(rms, 2) > 0.01
    assert np.percentile(rms, 98) < 0.2
    assert np.median(rms) > 0.02


def test_factors_are_independent_of_condition_and_each_other(table: pa.Table) -> None:
    factors = np.column_stack([column(table, name) for name in FACTORS])
    together = np.corrcoef(np.column_stack([factors, conditions(table)]), rowvar=False)
    with_condition = together[: len(FACTORS), len(FACTORS) :]
    among = together[: len(FACTORS), : len(FACTORS)] - np.eye(len(FACTORS))
    assert np.abs(with_condition).max() < 0.09  # 1,250 subjects: four standard errors
    assert np.abs(among).max() < 0.09


def test_half_of_each_factors_variance_is_between_subjects(table: pa.Table) -> None:
    for name, (deviation, is_log) in FACTORS.items():
        values = column(table, name)[::2].astype(float)
        values = (np.log(values) if is_log else values).reshape(-1, 16)
        assert values.std() == pytest.approx(deviation, rel=0.06), name
        within = values.var(axis=1, ddof=1).mean()
        between = values.mean(axis=1).var(ddof=1) - within / 16
        assert between / (between + within) == pytest.approx(0.5, abs=0.06), name


def test_coarse_factors_are_in_the_waveform(table: pa.Table) -> None:
    coefficients = dct(matrix(table, "signal").astype(float), norm="ortho", axis=1)
    offset, trend = column(table, "factor_offset_uv"), column(table, "factor_trend_uv")
    assert np.polyfit(offset, coefficients[:, 0] / np.sqrt(200), 1)[0] == pytest.approx(1.0, abs=0.02)
    assert np.polyfit(trend, coefficients[:, 1] / np.sqrt(100), 1)[0] == pytest.approx(1.0, abs=0.02)
    level = column(table, "stimulus_level_db")
    shape = np.sqrt((coefficients[:, 3:] ** 2).sum(axis=1))
    loud = (level >= 80) & (column(table, "hearing_loss_db") < 15) & (column(table, "n_averages") == 4000)
    slope = np.polyfit(np.log(column(table, "factor_gain")[loud]), np.log(shape[loud]), 1)[0]
    assert slope == pytest.approx(1.0, abs=0.1)


def test_attributes_are_reliable_beyond_the_condition(table: pa.Table) -> None:
    signals = matrix(table, "signal").astype(float)
    low = dct(signals, norm="ortho", axis=1)
    rest = low.copy()
    rest[:, :3] = 0.0
    rms = np.sqrt((rest**2).mean(axis=1, keepdims=True))
    design = conditions(table)
    design = PolynomialFeatures(2).fit_transform((design - design.mean(axis=0)) / design.std(axis=0))
    least = {"offset": 0.9, "trend": 0.8, "gain": 0.6, "shape": 0.3}
    attributes = {"offset": low[:, :1], "trend": low[:, 1:3], "gain": np.log(rms), "shape": rest / rms}
    for name, values in attributes.items():
        left = values - design @ np.linalg.lstsq(design, values, rcond=None)[0]
        first, second = left[::2], left[1::2]
        reliability = (first * second).sum() / np.sqrt((first**2).sum() * (second**2).sum())
        assert reliability > least[name], name
        if name in ("offset", "trend"):
            assert left.var(axis=0).sum() > 0.05 * signals.var(axis=0).sum(), name


def test_a_regressor_reads_every_coarse_and_fine_factor() -> None:
    table = simulate(18_000, seed=5)
    names = COARSE_FACTORS + FINE_FACTORS
    inputs = np.column_stack([matrix(table, "signal"), conditions(table)]).astype(float)
    inputs[:, :200] /= inputs[:, :200].std()
    inputs[:, 200:] = (inputs[:, 200:] - inputs[:, 200:].mean(axis=0)) / inputs[:, 200:].std(axis=0)
    targets = np.column_stack([column(table, name) for name in names]).astype(float)
    targets = (targets - targets.mean(axis=0)) / targets.std(axis=0)
    train, held_out = slice(0, 16_000), slice(16_000, None)  # no subject is in both: rows are in order of subjects
    model = MLPRegressor(hidden_layer_sizes=(256, 256), early_stopping=True, max_iter=30, random_state=0)
    error = model.fit(inputs[train], targets[train]).predict(inputs[held_out]) - targets[held_out]
    r2 = dict(zip(names, 1 - (error**2).mean(axis=0) / targets[held_out].var(axis=0), strict=True))
    assert min(r2.values()) > 0.3, r2


# --- waveforms and peaks against scipy -------------------------------------------------------------------------------


def test_noise_is_band_passed_pink_noise() -> None:
    rng = np.random.default_rng(0)
    n = 2**22
    spectrum = np.fft.rfft(rng.standard_normal(n))
    spectrum[1:] /= np.sqrt(np.fft.rfftfreq(n)[1:])
    spectrum[0] = 0
    sections = signal.butter(2, (100, 1500), "bandpass", fs=20_000, output="sos")
    long = signal.sosfiltfilt(sections, np.fft.irfft(spectrum))
    windows = (long / long.std())[: n // 200 * 200].reshape(-1, 200)
    ours = noise_waveforms(np.random.default_rng(1), np.full(20_000, 0.3)) / 0.3
    expected = (dct(windows, norm="ortho", axis=1) ** 2).mean(axis=0)
    power = (dct(ours, norm="ortho", axis=1) ** 2).mean(axis=0)
    np.testing.assert_allclose(power[:40], expected[:40], rtol=0.08)
    assert power.sum() == pytest.approx(200, rel=0.02)
    assert power[30:].sum() < 0.03 * power.sum()  # 1,500 Hz is coefficient 30


def test_responses_are_inside_the_band(table: pa.Table) -> None:
    loud = column(table, "stimulus_level_db") >= 80
    mean = without_drift(table)[loud].mean(axis=0)
    power = np.abs(np.fft.rfft(mean * np.hanning(200))) ** 2
    frequencies = np.fft.rfftfreq(200, 1 / 20_000)
    assert power[frequencies > 2_000].sum() < 0.005 * power.sum()
    amplitude = np.array([[0.0, 0.0, 0.3, 0.0, 0.0]])  # one wave in the middle of the window
    alone = response_waveforms(np.full((1, 5), 4.5), amplitude, np.ones(1))[0]
    assert abs(alone.sum()) < 0.05 * np.abs(alone).sum()  # a high-pass leaves no direct current


def test_peaks_are_local_maxima_of_the_noise_free_waveform() -> None:
    rng = np.random.default_rng(3)
    condition = adult(list(rng.choice(np.arange(10.0, 91.0, 10.0), 300)))
    latency = wave_latency_ms(condition) + rng.normal(0, 0.2, (300, 1))
    amplitude = wave_amplitude_uv(condition)
    responses = response_waveforms(latency, amplitude, wave_width(condition))
    marked, value, valid = read_peaks(responses, latency, amplitude)
    assert valid[:, 4].sum() > 200
    assert valid[:, 0].sum() > 100
    for row in range(300):
        maxima = signal.find_peaks(responses[row])[0]
        samples = np.round(marked[row, valid[row]] * 20).astype(int)
        assert set(samples) <= set(maxima)
        assert (np.diff(samples) > 0).all()  # in order, and no maximum is two waves
        np.testing.assert_array_equal(value[row, valid[row]], responses[row, samples])
    assert np.abs(marked - latency)[valid].max() <= 0.4 + 1e-6


def test_a_wave_after_the_window_has_no_peak() -> None:
    latency = np.array([[6.5, 7.6, 8.6, 9.8, 10.4]])
    amplitude = np.full((1, 5), 0.3)
    marked, value, valid = read_peaks(response_waveforms(latency, amplitude, np.ones(1)), latency, amplitude)
    assert valid[0, 0]
    assert not valid[0, 4]
    assert np.isnan(marked[0, 4])
    assert np.isnan(value[0, 4])


def test_a_tenth_of_the_labels_is_missing_at_random(table: pa.Table) -> None:
    latency, value, valid = (matrix(table, f"peak_{name}") for name in ("latency_ms", "amplitude_uv", "valid"))
    np.testing.assert_array_equal(np.isfinite(latency), valid)
    np.testing.assert_array_equal(np.isfinite(value), valid)
    assert (latency[valid] > 0).all()
    assert (latency[valid] < 9.95).all()
    loud = (column(table, "stimulus_level_db") >= 60) & (column(table, "hearing_loss_db") < 15)
    assert valid[loud, 4].mean() == pytest.approx(0.9, abs=0.015)
    assert np.corrcoef(valid[loud, 4][::2], valid[loud, 4][1::2])[0, 1] == pytest.approx(0, abs=0.05)


# --- the table -------------------------------------------------------------------------------------------------------


def test_schema(table: pa.Table) -> None:
    kinds = {
        "subject_id": pa.string(),
        "sex": pa.string(),
        "stimulus_level_db": pa.float32(),
        "n_averages": pa.int32(),
        "recording_index": pa.int32(),
        "half": pa.int8(),
        "signal": pa.list_(pa.float32(), 200),
        "peak_latency_ms": pa.list_(pa.float32(), 5),
        "peak_amplitude_uv": pa.list_(pa.float32(), 5),
        "peak_valid": pa.list_(pa.bool_(), 5),
    }
    for name, kind in kinds.items():
        assert table.schema.field(name).type == kind, name
    assert table.schema.metadata[b"sampling_rate_hz"] == b"20000"
    assert set(DataConfig().static) <= set(table.column_names)
    assert all(table[name].null_count == 0 for name in table.column_names)
    assert len(set(table["record_id"].to_pylist())) == len(table)
    assert np.isfinite(matrix(table, "signal")).all()


def test_recording_columns_identify_a_recording() -> None:
    table = simulate(2_001, seed=2)
    keys = list(zip(*(table[name].to_pylist() for name in DataConfig().recording_columns), strict=True))
    halves = table["half"].to_pylist()
    assert len(set(zip(keys, halves, strict=True))) == 2_001
    assert len(set(keys)) == 1_001
    assert keys[::2][:1_000] == keys[1::2]
    assert halves[-1] == 1
    assert len(set(table["subject_id"].to_pylist())) >= 40


def test_the_seed_determines_everything() -> None:
    first, second = simulate(501, seed=4), simulate(501, seed=4)
    for name in first.column_names:  # numpy, because to Arrow an absent label (NaN) is unlike itself
        flat = [table[name].combine_chunks() for table in (first, second)]
        if pa.types.is_fixed_size_list(flat[0].type):
            flat = [lists.flatten() for lists in flat]
        left, right = (values.to_numpy(zero_copy_only=False) for values in flat)
        np.testing.assert_array_equal(left, right)
    assert not simulate(501, seed=4)["signal"].equals(simulate(501, seed=5)["signal"])
    assert len(simulate(1, seed=0)) == 1


@pytest.mark.parametrize(("n", "seed", "message"), [(0, 0, "n=0"), (-3, 0, "n=-3"), (10, -1, "seed=-1")])
def test_bad_input_is_refused(n: int, seed: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        simulate(n, seed)
