"""Users' recordings that once broke an import, and similar files, imported on the command line.

Amplitudes are those that the files were written with: `high` 1.7 uV and `low` 0.17 uV peak to peak.
"""

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest

from hcvae import cli
from hcvae.errors import UserError

edfio = pytest.importorskip("edfio")
pybv = pytest.importorskip("pybv")
pytest.importorskip("mne")

RATE = 20_000
EPOCH_S = 0.04
BURST = np.sin(2 * np.pi * 1000 * np.arange(60) / RATE) * np.hanning(60)
"""3 ms of 1 kHz, from 1 ms after the stimulus on."""
Import = Callable[..., SimpleNamespace]


@pytest.fixture
def imported(tmp_path, capsys, monkeypatch) -> Import:
    """A function that runs `hcvae import`: exit code, output, and the rows of the table."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "configuration"))

    def run(*arguments) -> SimpleNamespace:
        out = tmp_path / "o.parquet"
        out.unlink(missing_ok=True)
        try:
            code, message = cli.run(["import", *map(str, arguments), "--out", str(out)]), ""
        except UserError as error:
            code, message = 2, str(error)
        output = capsys.readouterr().out + message
        rows = pq.read_table(out).to_pylist() if out.exists() else []
        return SimpleNamespace(code=code, output=output, rows=rows)

    return run


def size_uv(row) -> float:
    return float(np.ptp(row["signal"]))


def continuous(names, sizes_uv):
    """A recording with one response to each stimulus, and the onsets."""
    onsets = 0.05 + EPOCH_S * np.arange(len(names))
    signal = np.zeros(int(np.ceil(onsets[-1] + 0.1)) * RATE)  # EDF files hold whole seconds
    for onset, name in zip(onsets, names, strict=True):
        at = round(onset * RATE) + 20
        signal[at : at + 60] += sizes_uv[name] * BURST / 2
    return signal, onsets


def write_edf(path, signal, onsets=(), names=(), *others, bdf=False):
    whole, channel = (edfio.Bdf, edfio.BdfSignal) if bdf else (edfio.Edf, edfio.EdfSignal)
    cz = channel(signal, RATE, label="Cz", physical_dimension="uV", physical_range=(-10, 10))
    marks = [edfio.EdfAnnotation(float(onset), None, name) for onset, name in zip(onsets, names, strict=True)]
    whole([cz, *others], annotations=marks or None).write(path)
    return path


def trigger(codes, onsets, length, *, idle=0, label="Status", bdf=True, samples=20):
    """A trigger channel that rests at `idle` and holds each code for 1 ms."""
    values = np.full(length, idle, float)
    for code, onset in zip(codes, onsets, strict=True):
        values[round(onset * RATE) :][:samples] = code
    kind, top = (edfio.BdfSignal, 2**23) if bdf else (edfio.EdfSignal, 2**15)
    return kind(
        values, RATE, label=label, physical_dimension="", physical_range=(-top, top - 1), digital_range=(-top, top - 1)
    )


# 06: stimuli of different names


@pytest.mark.parametrize("file", ["a.edf", "sub-01_task-abr_eeg.edf"])
def test_case_06_stimuli_of_different_names_are_not_averaged_together(cases, imported, file):
    path = cases / "06-stimuli-of-different-names-averaged" / file
    refused = imported(path, "--block-sweeps", 40)
    assert (refused.code, refused.rows) == (2, [])
    assert "stimuli of 2 names would be averaged together: 'high' (40), 'low' (40)" in refused.output
    assert "--map 'event=high'" in refused.output
    for name, uv in (("high", 1.7), ("low", 0.17)):
        found = imported(path, "--block-sweeps", 40, "--map", f"event={name}")
        assert found.code == 0
        assert [size_uv(row) for row in found.rows] == [pytest.approx(uv, rel=0.15)]
    apart = imported(path, "--block-sweeps", 40, "--map", "stimulus_type=(.*)")
    assert {row["stimulus_type"]: size_uv(row) > 1 for row in apart.rows} == {"high": True, "low": False}


NAMES = ["click 70 dB", "click 30 dB"] * 10
SIZES = {"click 70 dB": 2.0, "click 30 dB": 0.4}


def test_names_become_columns_by_regular_expressions(tmp_path, imported):
    path = write_edf(tmp_path / "a.edf", *continuous(NAMES, SIZES), NAMES)
    assert "'click 70 dB' (10), 'click 30 dB' (10)" in imported(path, "--block-sweeps", 10).output
    found = imported(path, "--block-sweeps", 10, "--map", r"stimulus_level_db=(\d+) dB")
    assert {row["stimulus_level_db"]: round(size_uv(row), 1) for row in found.rows} == {
        70: pytest.approx(2 * size_uv({"signal": BURST / 2}), rel=0.1),
        30: pytest.approx(0.4 * size_uv({"signal": BURST / 2}), rel=0.1),
    }


@pytest.mark.parametrize(
    "options",
    [
        ["--map", "ear=ear ([LR])"],  # in no name
        ["--map", r"recording_index=(\d+)"],  # averages go across it
        ["--map", r"stimulus_level_db=(\d+) dB", "--value", "stimulus_level_db=50"],  # the value stands for both
        ["--map", "event=click*"],  # a pattern that both match
    ],
)
def test_mappings_that_do_not_separate_names(tmp_path, imported, options):
    path = write_edf(tmp_path / "a.edf", *continuous(NAMES, SIZES), NAMES)
    found = imported(path, "--block-sweeps", 10, *options)
    assert (found.code, "stimuli of 2 names would be averaged together" in found.output) == (2, True)


def test_names_that_are_one_stimulus_can_be_named_together(tmp_path, imported):
    names = ["rarefaction", "condensation"] * 10
    path = write_edf(tmp_path / "a.edf", *continuous(names, dict.fromkeys(names, 1.0)), names)
    assert imported(path, "--block-sweeps", 20).code == 2
    found = imported(path, "--block-sweeps", 20, "--map", "event=rarefaction|condensation")
    assert [row["n_averages"] for row in found.rows] == [20]
    assert "note: stimuli of several names are averaged together, as the mapping of event names them" in found.output


def test_remarks_about_a_person_are_not_repeated(tmp_path, imported):
    names = [*NAMES[:-2], "Ann Lee moved", "the patient Ann Lee asked for a pause, room 7"]
    path = write_edf(tmp_path / "a.edf", *continuous(names, dict.fromkeys(names, 1.0)), names)
    output = imported(path, "--block-sweeps", 9).output
    assert "'click 70 dB' (9), 'click 30 dB' (9), 2 others" in output
    assert "Lee" not in output


def test_values_of_bids_are_codes_beside_trial_types(tmp_path, imported):
    codes = ["3", "6"] * 10
    signal, onsets = continuous(codes, {"3": 2.0, "6": 0.2})
    path = write_edf(tmp_path / "sub-07_task-abr_eeg.edf", signal)
    lines = [f"{onset:.4f}\t0\tstimulus\t{code}" for onset, code in zip(onsets, codes, strict=True)]
    (tmp_path / "sub-07_task-abr_events.tsv").write_text("\n".join(["onset\tduration\ttrial_type\tvalue", *lines]))
    assert "'stimulus, 3' (10), 'stimulus, 6' (10)" in imported(path, "--block-sweeps", 10).output
    found = imported(path, "--block-sweeps", 10, "--map", "event=3")
    assert [round(size_uv(row), 1) for row in found.rows] == [round(2 * size_uv({"signal": BURST / 2}), 1)]
    apart = imported(path, "--block-sweeps", 10, "--map", r"stimulus_level_db=(\d)$")
    assert sorted(row["stimulus_level_db"] for row in apart.rows) == [3, 6]


def test_markers_of_brainvision(tmp_path, imported):
    names = ["1", "2"] * 10
    signal, onsets = continuous(names, {"1": 2.0, "2": 0.2})
    events = [
        {"onset": round(onset * RATE), "duration": 1, "description": int(name), "type": "Stimulus"}
        for onset, name in zip(onsets, names, strict=True)
    ]
    pybv.write_brainvision(
        data=signal[None, :] * 1e-6, sfreq=RATE, ch_names=["Cz"], fname_base="b", folder_out=tmp_path, events=events
    )
    output = imported(tmp_path / "b.vhdr", "--block-sweeps", 10).output
    assert "'Stimulus/S  1' (10), 'Stimulus/S  2' (10)" in output
    assert len(imported(tmp_path / "b.vhdr", "--block-sweeps", 10, "--map", "event=Stimulus/S  1").rows) == 1


# Trigger channels


@pytest.mark.parametrize("idle", [0, 65280, 255, 2**16, 2**20 + 2**19 + 7])
def test_the_idle_value_of_biosemi_is_no_stimulus(tmp_path, imported, idle):
    """Upper bits give the state of the amplifier, and the lower 16 may rest at any value."""
    signal, onsets = continuous(["1"] * 20, {"1": 1.0})
    codes = [idle + 1] * 20
    path = write_edf(tmp_path / "a.bdf", signal, (), (), trigger(codes, onsets, len(signal), idle=idle), bdf=True)
    found = imported(path, "--block-sweeps", 20)
    assert f"note: triggers: idle value {idle & 0xFFFF}, 20 changes from it are stimuli" in found.output
    assert [row["n_averages"] for row in found.rows] == [20]
    assert size_uv(found.rows[0]) == pytest.approx(size_uv({"signal": BURST / 2}), rel=0.1)


def test_codes_of_biosemi_are_separated(tmp_path, imported):
    codes = [65283, 65286] * 10
    signal, onsets = continuous(codes, {65283: 2.0, 65286: 0.2})
    path = write_edf(tmp_path / "a.bdf", signal, (), (), trigger(codes, onsets, len(signal), idle=65280), bdf=True)
    assert "'65283' (10), '65286' (10)" in imported(path, "--block-sweeps", 10).output
    assert len(imported(path, "--block-sweeps", 10, "--map", "event=65283").rows) == 1


@pytest.mark.parametrize("label", ["TRIG", "Trigger 1", "STI 014", "Status", "Markers"])
def test_a_trigger_channel_of_edf_with_a_baseline(tmp_path, imported, label):
    signal, onsets = continuous(["1"] * 20, {"1": 1.0})
    channel = trigger([512] * 20, onsets, len(signal), idle=256, label=label, bdf=False)
    found = imported(write_edf(tmp_path / "a.edf", signal, (), (), channel), "--block-sweeps", 20)
    assert "idle value 256, 20 changes from it are stimuli" in found.output
    assert [row["n_averages"] for row in found.rows] == [20]


def test_lines_that_settle_codes_that_follow_codes_and_no_rest(tmp_path, imported):
    signal, onsets = continuous(["1"] * 20, {"1": 1.0})
    values = np.zeros(len(signal))
    for onset in onsets:
        at = round(onset * RATE)
        values[at : at + 20] = 3
        values[at] = 1  # one line switches a sample before the other
    follows = values.copy()
    follows[round(onsets[4] * RATE) + 20 :][:40] = 8  # no idle value before it
    held = np.repeat(np.arange(20) % 3 + 1, len(signal) // 20 + 1)[: len(signal)].astype(float)
    output = []
    for data in (values, follows, held):
        channel = edfio.BdfSignal(
            data, RATE, label="Status", physical_dimension="", physical_range=(-(2**23), 2**23 - 1)
        )  # fmt: skip
        path = write_edf(tmp_path / "a.bdf", signal, (), (), channel, bdf=True)
        output.append(imported(path, "--block-sweeps", 19))
    assert [row["n_averages"] for row in output[0].rows] == [19]
    assert "20 changes" in output[0].output
    assert "do not follow" not in output[0].output
    assert "1 codes do not follow the idle value 0: they are no stimuli" in output[1].output
    assert output[2].code == 2
    assert "give the idle value, as --map trigger_idle=1" in output[2].output


def test_a_trigger_channel_of_another_name_and_its_idle_value(tmp_path, imported):
    signal, onsets = continuous(["1"] * 20, {"1": 1.0})
    channel = trigger([1] * 20, onsets, len(signal), label="Parallel", bdf=False, samples=700)  # 35 of 40 ms
    path = write_edf(tmp_path / "a.edf", signal, (), (), channel)
    options = ["--block-sweeps", 20, "--map", "signal=Cz", "--map", "trigger=Parallel"]
    assert imported(path, "--block-sweeps", 20, "--map", "signal=Cz").code == 2
    refused = imported(path, *options)
    assert (refused.code, "give the idle value, as --map trigger_idle=0" in refused.output) == (2, True)
    assert [row["n_averages"] for row in imported(path, *options, "--map", "trigger_idle=0").rows] == [20]


# 21: other signals of an EDF


def test_case_21_the_unit_of_an_unused_signal(cases, imported):
    folder = cases / "21-edf-other-signals"
    found = imported(folder / "spo2.edf", "--map", "signal=Cz-A1", "--block-sweeps", 30)
    assert (found.code, len(found.rows)) == (0, 2)
    asked = imported(folder / "spo2.edf", "--map", "signal=SpO2")
    assert (asked.code, "signal 'SpO2': got the unit '%'" in asked.output) == (2, True)


def test_case_21_a_repeated_label(cases, imported):
    path = cases / "21-edf-other-signals" / "dup.edf"
    refused = imported(path, "--map", "signal=Cz", "--block-sweeps", 30)
    assert refused.code == 2
    assert "2 channels are called 'Cz'; name one as Cz-0 or Cz-1" in refused.output
    assert "2 channels are called 'Cz'" in imported(path, "--map", "signal=Cz-A1").output
    sizes = [
        [size_uv(row) for row in imported(path, "--map", f"signal={name}", "--block-sweeps", 30).rows]
        for name in ("Cz-0", "Cz-1", "Cz-0-A1")
    ]
    assert [len(found) for found in sizes] == [2, 2, 2]
    assert sizes[0] != sizes[1]


@pytest.mark.parametrize("unit", ["%", "BPM", "", "degC", "nV"])
def test_the_only_voltage_needs_no_name(tmp_path, imported, unit):
    signal, onsets = continuous(NAMES[:1] * 20, SIZES)
    other = edfio.EdfSignal(np.arange(len(signal)) % 100, RATE, label="Other", physical_dimension=unit)
    path = write_edf(tmp_path / "a.edf", signal, onsets, NAMES[:1] * 20, other)
    assert [row["n_averages"] for row in imported(path, "--block-sweeps", 20).rows] == [20]
    asked = imported(path, "--map", "signal=Other")
    assert "must be uV, mV or V" in asked.output


def test_repeated_labels_are_harmless_if_another_is_mapped(tmp_path, imported):
    signal, onsets = continuous(NAMES[:1] * 20, SIZES)
    others = [
        edfio.EdfSignal(0 * signal, RATE, label="T8-P8", physical_dimension="uV", physical_range=(-9, 9))
        for _ in range(2)
    ]
    path = write_edf(tmp_path / "a.edf", signal, onsets, NAMES[:1] * 20, *others)
    assert len(imported(path, "--block-sweeps", 20, "--map", "signal=Cz").rows) == 1
    assert "name one as T8-P8-0 or T8-P8-1" in imported(path, "--map", "signal=T8-P8").output


def test_repeated_labels_of_brainvision_are_named(tmp_path, imported):
    pybv.write_brainvision(
        data=np.ones((3, RATE)) * 1e-6, sfreq=RATE, ch_names=["Cz", "A1", "C2"], fname_base="b", folder_out=tmp_path
    )
    header = tmp_path / "b.vhdr"
    header.write_text(header.read_text().replace("C2,", "Cz,"))
    found = imported(header, "--map", "signal=A1")
    assert (found.code, "got several channels called 'Cz'; must be names that differ" in found.output) == (2, True)


# 20: EPL CFTS


def cfts(path, *, stimulus="16.00", levels="20;30;40;", header="", data=None, averages=512):
    content = f":RUN-3\tLEVEL SWEEP\tTEMP:20.4\r:SW EAR: R\tSW FREQ: {stimulus}\t# AVERAGES: {averages}\t"
    content += f"REP RATE (/sec): 40\tDRIVER: X\tSAMPLE (\u00b5sec): 40\t\r{header}:NOTES-\r:LEVELS:{levels}\r:DATA\r"
    n = len([level for level in levels.split(";") if level.strip()])
    data = np.outer(np.sin(np.arange(260) / 8), 1 + np.arange(n)) if data is None else data
    content += "\r\n".join(" ".join(f"{x:.5f}" for x in row) for row in data)
    path.write_text(content + "\r\n", "latin-1")
    return path


def analysed(path, threshold="30", latency=1.8):
    lines = [f"Threshold (dB SPL): {threshold}", "Frequency (kHz): 16.00", "NOTE: Negative latencies indicate no peak"]
    lines += ["Level\t1msec Avg\t1msec StDev\tP1 Latency\tP1 Amplitude\tN1 Latency\tN1 Amplitude\t"]
    lines += [f"{level}.00\t0.1\t0.1\t{latency}\t1.0\t2.30\t-1.0" for level in (20, 30, 40)]
    path.write_text("\n".join(lines) + "\n")


def test_case_20_a_click_has_no_frequency(cases, imported):
    found = imported(cases / "20-epl-click-rater-new-header" / "click")
    assert found.code == 0
    assert [(row["stimulus_type"], row["stimulus_frequency_hz"]) for row in found.rows] == [("click", None)] * 3
    assert [row["stimulus_level_db"] for row in found.rows] == [20, 30, 40]


def test_case_20_the_table_of_a_rater(cases, imported):
    folder = cases / "20-epl-click-rater-new-header" / "rated"
    for given in (folder / "run", folder):
        found = imported(given)
        assert found.code == 0
        assert {row["threshold_db"] for row in found.rows} == {30}
        assert {row["threshold_source"] for row in found.rows} == {"human-rated, from the analysed file"}
        assert [row["peak_latency_ms"][0] for row in found.rows] == [pytest.approx(1.8)] * 3


@pytest.mark.parametrize(
    ("stimulus", "kind"),
    [("CLICK", "click"), ("Clicks", "click"), ("clicks", "click"), ("Noise", "noise"), ("noise", "noise")],
)
def test_words_instead_of_a_frequency(tmp_path, imported, stimulus, kind):
    analysed(tmp_path / "run-click-Anna-analyzed.txt")
    rows = imported(cfts(tmp_path / "run", stimulus=stimulus)).rows
    assert {(row["stimulus_type"], row["stimulus_frequency_hz"]) for row in rows} == {(kind, None)}
    assert {row["threshold_db"] for row in rows} == {30 if kind == "click" else None}


def test_a_word_that_is_no_stimulus_is_refused_without_repeating_it(tmp_path, imported):
    output = imported(cfts(tmp_path / "run", stimulus="c:\\smith\\voice.wav")).output
    assert "header: got another text as the stimulus (SW FREQ)" in output
    assert "voice" not in output


def test_levels_averages_and_the_threshold_of_the_header(tmp_path, imported):
    header = ":Threshold: 55.3\r:Avgs: 512;480;16;\r"
    found = imported(cfts(tmp_path / "run", levels="-Inf;-5;30;", header=header))
    assert "note: a column without a stimulus (level -Inf) is left out" in found.output
    assert [(row["stimulus_level_db"], row["n_averages"]) for row in found.rows] == [(-5, 480), (30, 16)]
    assert [row["threshold_db"] for row in found.rows] == [pytest.approx(55.3)] * 2
    assert {row["threshold_source"] for row in found.rows} == {"automatic, in the header of the file"}
    few = imported(cfts(tmp_path / "run", header=":Avgs: 512;480;\r"))
    assert (few.code, "2 numbers of averages" in few.output) == (2, True)


def test_the_levels_of_a_masker_are_refused(tmp_path, imported):
    found = imported(cfts(tmp_path / "run", header=":Vary signal level: false\r"))
    assert (found.code, "levels of a masker" in found.output) == (2, True)


def test_several_raters(tmp_path, imported):
    analysed(tmp_path / "run-16.0kHz-Anna-analyzed.txt", "30", latency=1.8)
    analysed(tmp_path / "run-16.0kHz-Brad-analyzed.txt", "40", latency=1.9)
    path = cfts(tmp_path / "run")
    refused = imported(path)
    assert refused.code == 2
    assert "there are analysed tables of Anna, Brad; name one rater with --map rater=Anna" in refused.output
    rows = imported(path, "--map", "rater=Brad").rows
    assert {(row["threshold_db"], round(row["peak_latency_ms"][0], 2)) for row in rows} == {(40, 1.9)}
    assert "of Anna, Brad" in imported(path, "--map", "rater=Carl").output


def test_tables_of_other_runs_and_stimuli_are_not_read(tmp_path, imported):
    analysed(tmp_path / "run-8.0kHz-Anna-analyzed.txt")
    analysed(tmp_path / "run-2-16.0kHz-Anna-analyzed.txt")
    found = imported(cfts(tmp_path / "run"))
    assert {row["threshold_db"] for row in found.rows} == {None}
    assert "note: an analysed table of another stimulus is not read" in found.output


def test_the_header_from_version_3_on(tmp_path, imported):
    """Time, levels, then the cochlear microphonic; names and layout as in the laboratory's own reader."""
    waves = np.outer(np.sin(np.arange(260) / 8), [1, 2])
    for stimulus, kind, hz in (("Waveform=CLICK", "click", None), ("Frequency (kHz)=11.31", "tone_pip", 11310)):
        lines = ["[STANDARD ABR]", "Date=1/2/2025 10:03", f"Stimulus.{stimulus}", "Response.Fs (Hz)=25000"]
        lines += [
            "Levels=20;30;",
            "Avgs=512;480;",
            "Tries=600;600;",
            "",
            "[DATA]",
            "Time\tNeural_20\tNeural_30\tCM\tCM",
        ]
        lines += [f"{0.04 * n:.2f}\t{a:.5f}\t{b:.5f}\t9.0\t9.0" for n, (a, b) in enumerate(waves)]
        (tmp_path / "run.tsv").write_text("\r\n".join(lines) + "\r\n")
        found = imported(tmp_path / "run.tsv", "--rate-hz", "25000", "--samples", "250")
        assert found.code == 0, found.output
        assert [(r["stimulus_level_db"], r["n_averages"], r["native_rate_hz"]) for r in found.rows] == [
            (20, 512, 25000),
            (30, 480, 25000),
        ]
        assert {(r["stimulus_type"], r["stimulus_frequency_hz"]) for r in found.rows} == {(kind, hz)}
        quiet, loud = (np.array(row["signal"]) for row in found.rows)
        np.testing.assert_allclose(loud, 2 * quiet, atol=1e-4)
        assert np.corrcoef(quiet[50:200], waves[50:200, 0])[0, 1] > 0.98  # the band-pass shifts it a little


def test_the_second_half_of_real_files_is_noted(recordings, imported):
    raw = [recordings / "raw" / "epl_cfts_ABR-52-3", recordings / "raw_more" / "epl_cfts_mouse_E3_ABR-12-2"]
    if not raw[1].is_file():
        pytest.skip("no raw_more")
    for path, half_ms, rows in zip(raw, ("8.5", "8.48"), (12, 9), strict=True):
        found = imported(path)
        assert (found.code, len(found.rows)) == (0, rows)
        assert f"note: the file has two halves: from {half_ms} ms on, CFTS keeps the difference" in found.output
    published = pq.read_table(recordings / "mouse_tone_abrwaveanalyser.parquet").to_pylist()
    same = {row["stimulus_level_db"]: row["signal"] for row in published if row["stimulus_frequency_hz"] == 5600}
    for row in found.rows:
        assert min(np.abs(np.subtract(row["signal"], other)).max() for other in same.values()) < 1e-5


# 17 and 18: what inspect takes
